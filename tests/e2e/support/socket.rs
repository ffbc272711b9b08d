//! Sockets below and above HTTP: bytes as they are, and WebSocket.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::client::host;
use crate::support::reveille::Reveille;
use crate::support::{PATIENCE, within};

/// After this long without a byte an answer that has begun is taken for whole; most connections are closed
/// behind it, and that counts at once.
const SILENCE: Duration = Duration::from_secs(5);

/// A WebSocket to a sandbox.
pub(crate) type Socket = WebSocketStream<TcpStream>;

impl Reveille {
    /// A plain connection to the proxy.
    pub(crate) async fn connect(&self) -> TcpStream {
        within("a connection", TcpStream::connect(self.listen))
            .await
            .unwrap()
    }

    /// Opens a WebSocket to a sandbox.
    pub(crate) async fn websocket(&self, name: &str, path: &str) -> Socket {
        let request = format!("ws://{}{path}", host(name))
            .into_client_request()
            .unwrap();
        let stream = self.connect().await;
        within(
            "a WebSocket",
            tokio_tungstenite::client_async(request, stream),
        )
        .await
        .unwrap()
        .0
    }

    /// Sends bytes and reads until the other side closes, or falls silent.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Bytes {
        let mut stream = self.connect().await;
        // The proxy may answer and close before it has read all.
        let _ = stream.write_all(bytes).await;
        read_all(&mut stream).await
    }
}

/// Reads until the end, or a silence after the first byte.
pub(crate) async fn read_all(stream: &mut TcpStream) -> Bytes {
    let mut read = Vec::new();
    let mut piece = [0; 16 * 1024];
    let mut patience = PATIENCE;
    while let Ok(Ok(length @ 1..)) = timeout(patience, stream.read(&mut piece)).await {
        read.extend_from_slice(&piece[..length]);
        patience = SILENCE;
    }
    read.into()
}
