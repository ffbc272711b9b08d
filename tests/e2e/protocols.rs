//! HTTP in its forms, on an agent that has to be woken first.

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::client::host;
use crate::support::home::Home;
use crate::support::manifests::{Agent, Manifests};
use crate::support::reveille::Reveille;
use crate::support::socket::read_all;
use crate::support::within;

#[tokio::test]
async fn a_hundred_streams_of_one_http2_connection_wait_for_one_wake() {
    let (_home, reveille) = Reveille::of(&Manifests::one(Agent::asleep("alice"), 60)).await;
    let stream = TokioIo::new(reveille.connect().await);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let uri = format!("http://{}/count", host("alice"));
    let streams = (0..100).map(|_| {
        let mut sender = sender.clone();
        let request = Request::builder()
            .method(Method::POST)
            .uri(&uri)
            .body(Empty::<Bytes>::new())
            .unwrap();
        async move {
            let response = within("a response", sender.send_request(request))
                .await
                .unwrap();
            assert_eq!(response.status(), 200);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            serde_json::from_slice::<Value>(&body).unwrap()["value"]
                .as_u64()
                .unwrap()
        }
    });
    let mut values = join_all(streams).await;
    values.sort_unstable();
    assert_eq!(values, (1..=100).collect::<Vec<_>>());
    assert_eq!(reveille.get("alice", "/").await.ok().json()["wakes"], 1);
    connection.abort();
    assert!(connection.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn a_client_that_expects_a_100_gets_it_from_the_woken_agent_and_not_before() {
    let home = Home::with(&Manifests::one(Agent::asleep("alice").gated(), 60));
    let reveille = Reveille::start(&home).await;
    let mut stream = reveille.connect().await;
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
        host("alice")
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    reveille.await_parked(1).await;
    let nothing = stream.try_read(&mut [0; 64]).unwrap_err();
    assert_eq!(
        nothing.kind(),
        std::io::ErrorKind::WouldBlock,
        "the body stays unread while parked"
    );
    home.open_gate();
    let mut interim = [0; 25];
    within("100 Continue", stream.read_exact(&mut interim))
        .await
        .unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let answer = String::from_utf8(read_all(&mut stream).await.to_vec()).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"bytes\":5"),
        "{answer}"
    );
}

#[tokio::test]
async fn pipelined_requests_to_a_sleeping_agent_are_answered_in_order() {
    let (_home, reveille) = Reveille::of(&Manifests::one(Agent::asleep("alice"), 60)).await;
    let one = |number: u32, last: &str| {
        format!(
            "GET /echo?{number} HTTP/1.1\r\nHost: {}\r\n{last}\r\n",
            host("alice")
        )
    };
    let pipelined = (1..20).map(|number| one(number, "")).collect::<String>()
        + &one(20, "Connection: close\r\n");
    let answer = String::from_utf8(reveille.raw(pipelined.as_bytes()).await.to_vec()).unwrap();
    let queries: Vec<u32> = answer
        .split("\"query\":\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next()?.parse().ok())
        .collect();
    assert_eq!(queries, (1..=20).collect::<Vec<_>>(), "{answer}");
}

#[tokio::test]
async fn head_and_every_method_reach_the_agent() {
    let (_home, reveille) = Reveille::of(&Manifests::one(Agent::asleep("alice"), 60)).await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
        let request = Request::builder()
            .method(method)
            .uri("/echo")
            .header("host", host("alice"))
            .body(Empty::<Bytes>::new())
            .unwrap();
        assert_eq!(
            reveille.send(request).await.unwrap().ok().json()["method"],
            method
        );
    }
    let head = format!(
        "HEAD /echo HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        host("alice")
    );
    let answer = String::from_utf8(reveille.raw(head.as_bytes()).await.to_vec()).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}
