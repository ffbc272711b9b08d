//! A wire between the watches and the API server that can be cut.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The wire. Dropping it ends it.
pub(crate) struct Relay {
    address: SocketAddr,
    whole: Arc<watch::Sender<bool>>,
}

impl Relay {
    pub(crate) async fn to(api: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let whole = Arc::new(watch::Sender::new(true));
        let state = whole.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, api, state.clone()));
            }
        });
        Self { address, whole }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every connection dies, and new ones do as soon as they are made.
    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn carry(mut near: TcpStream, api: SocketAddr, mut whole: watch::Receiver<bool>) {
    let carried = async {
        if let Ok(mut far) = TcpStream::connect(api).await {
            // Either side may leave at any time.
            let _ = copy_bidirectional(&mut near, &mut far).await;
        }
    };
    tokio::select! {
        biased;
        _ = whole.wait_for(|whole| !whole) => {}
        () = carried => {}
    }
}
