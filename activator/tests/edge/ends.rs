//! What is in flight when a shutdown's grace is over ends in a way that its client can tell from completion.

use std::io::ErrorKind;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use reveille_crds::scaled_sandbox::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::streams::{HOUR, LINES, SECOND, chunk, heard, listening, rest, speaking};
use crate::support::frames::{DATA, Frames, GOAWAY, HEADERS, RST_STREAM};
use crate::support::{Agent, Answer, Edge, head_of, paused, soon};

/// INTERNAL_ERROR (RFC 9113 §7).
const INTERNAL_ERROR: [u8; 4] = [0, 0, 0, 2];

async fn graceful() -> Edge {
    Edge::with(|config| config.grace = 25 * SECOND).await
}

#[test]
fn a_stream_that_is_cut_lacks_its_last_chunk() {
    paused(async {
        let (edge, (agent, say)) = (graceful().await, speaking(LINES).await);
        edge.awake("alice", &agent).await;
        let mut client = listening(&edge).await;
        edge.shutdown.cancel();
        let since = Instant::now();
        tokio::time::sleep(20 * SECOND).await;
        let line = chunk("{}\n");
        say.send(line.clone()).await.unwrap();
        heard(&mut client, &line).await;
        assert_eq!(rest(&mut client).await, "");
        assert!((23 * SECOND..=25 * SECOND).contains(&since.elapsed()));
    });
}

#[test]
fn a_client_that_takes_the_end_of_the_connection_for_that_of_the_answer_gets_a_reset() {
    paused(async {
        for is_shutdown in [true, false] {
            let (edge, (agent, say)) = (graceful().await, speaking(LINES).await);
            edge.awake("alice", &agent).await;
            let mut client = edge.connect().await;
            let get = "GET / HTTP/1.0\r\nhost: p\r\nx-sandbox-id: alice\r\n\r\n";
            client.write_all(get.as_bytes()).await.unwrap();
            assert_eq!(head_of(&mut client).await.header("transfer-encoding"), None);
            say.send(chunk("half")).await.unwrap();
            heard(&mut client, "half").await;
            if is_shutdown {
                edge.shutdown.cancel();
            } else {
                // The sandbox breaks off by itself.
                drop(say);
            }
            let end = soon("reset", client.read_u8()).await;
            assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn a_stream_of_h2_is_reset_after_the_connection_was_said_to_go_away() {
    paused(async {
        let (edge, (agent, say)) = (graceful().await, speaking(LINES).await);
        edge.awake("alice", &agent).await;
        let mut frames = Frames::connect(&edge).await;
        frames.get(1, "/", &[]).await;
        say.send(chunk("{}\n")).await.unwrap();
        let kinds = [HEADERS, DATA].map(Some);
        for kind in kinds {
            let frame = frames.next_within(HOUR).await.unwrap();
            assert_eq!(frame.map(|frame| frame.kind), kind);
        }
        edge.shutdown.cancel();
        let mut seen = Vec::new();
        while let Some(frame) = frames.next_within(HOUR).await.unwrap() {
            assert!(!frame.is_last(), "it is not complete");
            if frame.kind == RST_STREAM {
                assert_eq!((frame.stream, &frame.payload[..]), (1, &INTERNAL_ERROR[..]));
            }
            seen.push(frame.kind);
        }
        seen.dedup();
        assert_eq!(seen, [GOAWAY, RST_STREAM]);
    });
}

#[test]
fn a_request_that_has_no_answer_yet_gets_one() {
    paused(async {
        let (mut edge, agent) = (graceful().await, Agent::start().await);
        edge.awake("alice", &agent).await;
        let mut client = edge.connect().await;
        let post =
            "POST /hang HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\ncontent-length: 0\r\n\r\n";
        client.write_all(post.as_bytes()).await.unwrap();
        // The agent speaks HTTP/1.1 only, and so does the call for once.
        edge.policy(|spec| spec.http.protocol = Protocol::Http1)
            .await;
        let io = TokioIo::new(edge.connect().await);
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let call = http::Request::post("http://alice.default.sandbox.localhost/hang")
            .header("content-type", "application/grpc")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let call = tokio::spawn(sender.send_request(call));
        soon("requests", async {
            while agent.served() < 2 {
                tokio::time::sleep(SECOND / 100).await;
            }
        })
        .await;
        edge.shutdown.cancel();
        let answer = Answer::parse(rest(&mut client).await.as_bytes());
        assert_eq!((answer.status, answer.header("retry-after")), (503, None));
        assert!(answer.body.contains("ShuttingDown"), "{answer:?}");
        let refused = call.await.unwrap().unwrap();
        assert_eq!(refused.headers()["grpc-status"], "14");
        edge.ended().await;
    });
}
