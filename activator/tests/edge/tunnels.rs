//! Upgraded connections.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Agent, Edge, head_of, soon};

const UPGRADE: &str = "GET /upgrade HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\nconnection: Upgrade\r\nupgrade: echo/1, h2c\r\n\r\n";

#[tokio::test]
async fn any_protocol_passes_both_ways_and_ends_half_by_half() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    let mut stream = edge.connect().await;
    stream.write_all(UPGRADE.as_bytes()).await.unwrap();
    let head = head_of(&mut stream).await;
    assert_eq!(
        (
            head.status,
            head.header("upgrade"),
            head.header("connection")
        ),
        (101, Some("echo/1"), Some("upgrade"))
    );
    stream.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    soon("echo", stream.read_exact(&mut echo)).await.unwrap();
    assert_eq!(&echo, b"ping");
    // The end of what the client sends reaches the sandbox, whose last words reach the client.
    stream.shutdown().await.unwrap();
    let mut rest = String::new();
    soon("farewell", stream.read_to_string(&mut rest))
        .await
        .unwrap();
    assert_eq!(rest, "bye");
}

#[tokio::test]
async fn a_websocket_works() {
    let agent = Agent::raw(|stream| async move {
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(message).await.unwrap();
            }
        }
    })
    .await;
    let edge = Edge::start().await;
    edge.awake("alice", &agent).await;
    let stream = edge.connect().await;
    let (mut socket, _) =
        tokio_tungstenite::client_async("ws://alice.default.sandbox.localhost/chat", stream)
            .await
            .unwrap();
    for text in ["one", "two"] {
        socket.send(Message::text(text)).await.unwrap();
        let echo = soon("echo", socket.next()).await.unwrap().unwrap();
        assert_eq!(echo, Message::text(text));
    }
    socket.close(None).await.unwrap();
}

#[tokio::test]
async fn an_upgrade_that_the_sandbox_declines_is_an_ordinary_answer() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    let mut stream = edge.connect().await;
    stream
        .write_all(UPGRADE.replace("/upgrade", "/").as_bytes())
        .await
        .unwrap();
    let head = head_of(&mut stream).await;
    assert_eq!((head.status, head.header("upgrade")), (200, None));
}

#[tokio::test]
async fn a_tunnel_is_cut_when_the_grace_is_over() {
    let agent = Agent::start().await;
    let mut edge = Edge::with(|config| config.grace = std::time::Duration::from_millis(200)).await;
    edge.awake("alice", &agent).await;
    let mut stream = edge.connect().await;
    stream.write_all(UPGRADE.as_bytes()).await.unwrap();
    assert_eq!(head_of(&mut stream).await.status, 101);
    edge.shutdown.cancel();
    edge.ended().await;
    let mut rest = Vec::new();
    let _ = soon("cut", stream.read_to_end(&mut rest)).await;
}
