//! Connections of the node to the API server, which listens on loopback only.

use std::io;
use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Where the node finds the API server: `NODE_HOST` of `real/node.sh`, an address that nothing but the
/// node's own network reaches, and the port that API servers have.
pub(super) const ADDRESS: &str = "10.231.1.1:6443";

/// Binds [`ADDRESS`].
pub(super) async fn listen() -> io::Result<TcpListener> {
    TcpListener::bind(ADDRESS).await
}

/// Copies bytes until `shutdown`. A connection ends when either side ends it, or the API server is away.
pub(super) async fn run(listener: TcpListener, to: SocketAddr, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        // In any order: accepting cannot starve the end, which stays true.
        tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => if let Ok((from_node, _)) = accepted {
                connections.spawn(carry(from_node, to));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(mut from_node: TcpStream, to: SocketAddr) {
    let Ok(mut api_server) = TcpStream::connect(to).await else {
        return;
    };
    // Small frames of many watches: none waits for the next.
    let _ = from_node.set_nodelay(true);
    let _ = api_server.set_nodelay(true);
    // How it ended matters to the two ends only.
    let _ = copy_bidirectional(&mut from_node, &mut api_server).await;
}
