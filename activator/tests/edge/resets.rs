//! A connection that breaks is broken at the other end of the tunnel too, and does not end there as if all had
//! been said.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::streams::{HOUR, SECOND};
use crate::support::agent::read_head;
use crate::support::frames::{DATA, Frames, RST_STREAM};
use crate::support::{Agent, Edge, head_of, paused, soon};

/// CANCEL (RFC 9113 §7).
const CANCEL: [u8; 4] = [0, 0, 0, 8];
const END_STREAM: u8 = 1;

/// An agent that hands over each tunnel that it has opened.
async fn opening() -> (Agent, mpsc::Receiver<TcpStream>) {
    let (opened, tunnels) = mpsc::channel(4);
    let agent = Agent::raw(move |mut stream| {
        let opened = opened.clone();
        async move {
            read_head(&mut stream).await;
            let head = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
            stream.write_all(head).await.unwrap();
            opened.send(stream).await.unwrap();
        }
    })
    .await;
    (agent, tunnels)
}

#[test]
fn a_client_that_breaks_off_is_broken_off_at_the_sandbox() {
    paused(async {
        let (edge, (agent, mut tunnels)) = (Edge::start().await, opening().await);
        edge.awake("alice", &agent).await;
        // Over h2 a stream that is reset, and one that has said all.
        let mut frames = Frames::connect(&edge).await;
        frames.open_websocket(1, "/").await;
        let mut sandbox = tunnels.recv().await.unwrap();
        frames.send(DATA, 0, 1, b"\x81\x80abcd").await.unwrap();
        let mut ping = [0; 6];
        soon("frame", sandbox.read_exact(&mut ping)).await.unwrap();
        frames.send(RST_STREAM, 0, 1, &CANCEL).await.unwrap();
        let end = soon("end", sandbox.read_u8()).await.unwrap_err();
        assert_eq!(end.kind(), ErrorKind::ConnectionReset);

        frames.open_websocket(3, "/").await;
        let mut sandbox = tunnels.recv().await.unwrap();
        frames.send(DATA, END_STREAM, 3, b"").await.unwrap();
        let end = soon("end", sandbox.read_u8()).await.unwrap_err();
        assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
        sandbox.write_all(b"\x81\x01x").await.unwrap();
        let heard = frames.next_within(HOUR).await.unwrap().unwrap();
        assert_eq!(heard.payload, b"\x81\x01x", "it may still be told");

        // Over HTTP/1.1.
        let mut client = edge.connect().await;
        let upgrade = "GET / HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        client.write_all(upgrade.as_bytes()).await.unwrap();
        assert_eq!(head_of(&mut client).await.status, 101);
        let mut sandbox = tunnels.recv().await.unwrap();
        client.set_zero_linger().unwrap();
        drop(client);
        let end = soon("end", sandbox.read_u8()).await.unwrap_err();
        assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_sandbox_that_breaks_off_in_a_frame_is_broken_off_at_the_client() {
    paused(async {
        let (edge, (agent, mut tunnels)) = (Edge::start().await, opening().await);
        edge.awake("alice", &agent).await;
        let mut frames = Frames::connect(&edge).await;
        for (stream, said, is_whole) in [(1, &b"\x81\x05he"[..], false), (3, b"\x81\x02he", true)] {
            frames.open_websocket(stream, "/").await;
            let mut sandbox = tunnels.recv().await.unwrap();
            sandbox.write_all(said).await.unwrap();
            let heard = frames.next_within(HOUR).await.unwrap().unwrap();
            assert_eq!(heard.payload, said);
            sandbox.set_zero_linger().unwrap();
            drop(sandbox);
            let last = frames.next_within(10 * SECOND).await.unwrap().unwrap();
            if is_whole {
                assert_eq!((last.kind, last.payload[0]), (DATA, 0x88), "a close frame");
            } else {
                assert_eq!((last.kind, &last.payload[..]), (RST_STREAM, &CANCEL[..]));
            }
        }
    });
}
