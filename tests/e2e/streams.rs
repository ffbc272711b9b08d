//! Bodies and connections that last: WebSocket, server-sent events, uploads and downloads.

use std::convert::Infallible;
use std::fmt::Write as _;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http::{Method, Response};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::{open, request};
use crate::support::manifests::{Agent, Manifests};
use crate::support::process::resident_kib;
use crate::support::reveille::Reveille;
use crate::support::socket::Socket;
use crate::support::{setting, within};

/// What Reveille's memory may grow by while a body of any size passes: socket and body buffers,
/// and what the allocator keeps.
const FLAT_KIB: u64 = 48 * 1024;

#[tokio::test]
async fn a_websocket_opened_on_a_sleeping_agent_works_through_the_wake() {
    let (_home, reveille) = Reveille::of(&Manifests::one(Agent::asleep("alice"), 60)).await;
    let mut socket = reveille.websocket("alice", "/ws").await;
    for text in ["hello", "again"] {
        socket.send(Message::text(text)).await.unwrap();
        assert_eq!(receive(&mut socket).await, Some(Message::text(text)));
    }
    socket.close(None).await.unwrap();
}

#[tokio::test]
async fn an_active_socket_keeps_awake_and_a_silent_one_does_not() {
    let manifests = Manifests::new()
        .agent(Agent::asleep("alice"))
        .policy(json!({"cooldownPeriod": 0, "minimumUptime": 0, "websocketIdle": 3}));
    let (_home, reveille) = Reveille::of(&manifests).await;
    let mut socket = reveille.websocket("alice", "/ws?tick_ms=100").await;
    for number in 1..=60 {
        assert_eq!(
            receive(&mut socket).await,
            Some(Message::text(format!("tick {number}")))
        );
    }
    assert_eq!(reveille.sleeps("alice"), 0);
    drop(socket);
    reveille.await_state("alice", "asleep").await;

    let mut silent = reveille.websocket("alice", "/ws").await;
    silent.send(Message::text("hello")).await.unwrap();
    receive(&mut silent).await;
    reveille.await_state("alice", "asleep").await;
    let Some(Message::Close(Some(last))) = receive(&mut silent).await else {
        panic!("the socket ends with the agent, and says so");
    };
    assert_eq!(u16::from(last.code), 1012, "{}", last.reason);
}

#[tokio::test]
async fn a_silent_stream_lets_its_agent_sleep_and_ends_whole_and_the_next_call_wakes_it() {
    let manifests = Manifests::new()
        .agent(Agent::asleep("alice"))
        .policy(json!({"cooldownPeriod": 0, "minimumUptime": 0, "streamIdle": 1}));
    let (_home, reveille) = Reveille::of(&manifests).await;
    for wake in 1..=2 {
        let path = "/events?n=2&interval_ms=3600000";
        let get = request(Method::GET, "alice", path, Empty::<Bytes>::new());
        let mut events = within("the head", open(reveille.listen, get))
            .await
            .unwrap();
        assert_eq!(events.status(), 200);
        reveille.await_state("alice", "asleep").await;
        assert_eq!(reveille.sleeps("alice"), wake);
        let rest = within("the end", async {
            while let Some(frame) = events.body_mut().frame().await {
                frame?;
            }
            Ok::<_, hyper::Error>(())
        });
        rest.await.expect("a stream of events ends whole");
    }
}

#[tokio::test]
async fn events_arrive_one_by_one_through_the_wake_and_keep_the_agent_awake() {
    let (_home, reveille) = Reveille::of(&Manifests::one(Agent::asleep("alice"), 0)).await;
    let get = request(
        Method::GET,
        "alice",
        "/events?n=100000&interval_ms=50",
        Empty::<Bytes>::new(),
    );
    let mut events = within("the head", open(reveille.listen, get))
        .await
        .unwrap();
    let mut read = Vec::new();
    for number in 1..=60 {
        let event = format!("id: {number}\ndata: alice {number}\n\n");
        while read.len() < event.len() {
            read.extend(data(&mut events).await.unwrap());
        }
        let rest = read.split_off(event.len());
        assert_eq!(String::from_utf8(read).unwrap(), event);
        read = rest;
    }
    assert_eq!(reveille.sleeps("alice"), 0);
    drop(events);
    reveille.await_state("alice", "asleep").await;
}

#[tokio::test]
async fn a_large_upload_to_a_sleeping_agent_arrives_whole_in_constant_memory() {
    let (_home, reveille) = Reveille::of(&Manifests::one(Agent::asleep("alice"), 60)).await;
    let mebibytes = setting("REVEILLE_TEST_UPLOAD_MIB", 1_024);
    let before = resident_kib(reveille.pid());
    let pid = reveille.pid();
    let (most, mut watched) = (
        std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0)),
        Sha256::new(),
    );
    let piece = Bytes::from_iter((0..1_048_576_u32).map(|n| (n % 251) as u8));
    (0..mebibytes).for_each(|_| watched.update(&piece));
    let peak = std::sync::Arc::clone(&most);
    let pieces = stream::iter(0..mebibytes).map(move |_| {
        peak.fetch_max(resident_kib(pid), std::sync::atomic::Ordering::Relaxed);
        Ok::<_, Infallible>(Frame::data(piece.clone()))
    });
    let upload = request(Method::POST, "alice", "/upload", StreamBody::new(pieces));
    let response = open(reveille.listen, upload).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        answer,
        json!({"bytes": mebibytes * 1_048_576, "sha256": hex(&watched.finalize())})
    );
    let peak = most.load(std::sync::atomic::Ordering::Relaxed);
    println!("{mebibytes} MiB through {before} KiB, at most {peak} KiB");
    assert!(
        peak < before + FLAT_KIB,
        "{before} KiB before, {peak} KiB while {mebibytes} MiB passed"
    );
}

#[tokio::test]
async fn a_reader_that_stops_reading_costs_no_memory() {
    let (_home, reveille) = Reveille::of(&Manifests::one(Agent::asleep("alice"), 60)).await;
    reveille.get("alice", "/").await.ok();
    let before = resident_kib(reveille.pid());
    let path = "/download?bytes=1000000000000";
    let mut downloads = Vec::new();
    for _ in 0..8 {
        let get = request(Method::GET, "alice", path, Empty::<Bytes>::new());
        let mut download = within("the head", open(reveille.listen, get))
            .await
            .unwrap();
        data(&mut download).await.unwrap();
        downloads.push(download);
    }
    // Another client's round trips show that the proxy had the time to read on, had it wanted to.
    for _ in 0..50 {
        reveille.get("alice", "/slow?ms=10").await.ok();
    }
    let after = resident_kib(reveille.pid());
    assert!(
        after < before + FLAT_KIB,
        "{before} KiB before, {after} KiB after"
    );
}

/// The next message; `None` where the socket has ended.
async fn receive(socket: &mut Socket) -> Option<Message> {
    within("a message", socket.next()).await?.ok()
}

/// The next piece of a body.
async fn data(response: &mut Response<Incoming>) -> Option<Bytes> {
    within("a piece of the body", response.frame())
        .await?
        .unwrap()
        .into_data()
        .ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
