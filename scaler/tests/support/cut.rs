//! A way to the API server that can be cut: what a partition looks like from the scaler.

use std::net::SocketAddr;
use std::path::PathBuf;

use reveille_testbed::{Testbed, Who};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// They lead to the API server.
    Open,
    /// They are taken and never answered; what was open breaks.
    Hanging,
    /// They are closed at once; what was open breaks.
    Closed,
}

/// A forwarder in front of the API server.
pub(crate) struct Cut {
    pub(crate) way: watch::Sender<Way>,
    pub(crate) kubeconfig: PathBuf,
    _folder: tempfile::TempDir,
    _tasks: JoinSet<()>,
}

impl Cut {
    pub(crate) async fn new(testbed: &Testbed) -> Self {
        let path = testbed.kubeconfig(Who::Admin).await.unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let at = text.find("https://").unwrap() + "https://".len();
        let server: String = text[at..]
            .chars()
            .take_while(|letter| letter.is_ascii_digit() || ".:".contains(*letter))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, text.replace(&server, &here.to_string())).unwrap();
        let (way, seen) = watch::channel(Way::Open);
        let mut tasks = JoinSet::new();
        tasks.spawn(forward(listener, server.parse().unwrap(), seen));
        Self {
            way,
            kubeconfig,
            _folder: folder,
            _tasks: tasks,
        }
    }
}

async fn forward(listener: TcpListener, server: SocketAddr, way: watch::Receiver<Way>) {
    let mut connections = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        let mut way = way.clone();
        connections.spawn(async move {
            let first = *way.borrow_and_update();
            let passing = async {
                match first {
                    Way::Closed => {}
                    Way::Hanging => std::future::pending().await,
                    Way::Open => {
                        if let Ok(mut far) = TcpStream::connect(server).await {
                            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                        }
                    }
                }
            };
            tokio::select! {
                () = passing => {}
                _ = way.changed() => {}
            }
        });
    }
}
