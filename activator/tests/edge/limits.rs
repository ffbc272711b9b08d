//! How long each part of an exchange may take, and what is said when it takes longer.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::agent::read_head;
use crate::support::{Agent, Answer, Edge, head_of, ok, pod, soon};

/// Crossed by what must not end by it.
const SHORT: Duration = Duration::from_millis(300);

/// An activator whose limits are both short, or one of them.
async fn edge(idle: Duration, response: Duration) -> Edge {
    Edge::with(|config| {
        config.body_idle_timeout = idle;
        config.response_header_timeout = response;
    })
    .await
}

fn post(path: &str, more: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\nconnection: close\r\n{more}\r\n"
    )
}

async fn rest(mut stream: TcpStream) -> Answer {
    let mut all = Vec::new();
    soon("answer", stream.read_to_end(&mut all)).await.unwrap();
    Answer::parse(&all)
}

#[tokio::test]
async fn an_upload_may_take_longer_than_the_response() {
    let limit = Duration::from_secs(2);
    let (edge, agent) = (
        edge(crate::support::SOON, limit).await,
        Agent::start().await,
    );
    edge.awake("alice", &agent).await;
    let mut stream = edge.connect().await;
    let head = post("/count", "content-length: 5\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..5 {
        tokio::time::sleep(limit / 4).await;
        stream.write_all(b"x").await.unwrap();
    }
    assert_eq!(ok(&rest(stream).await), "5");
}

#[tokio::test]
async fn the_response_is_waited_for_from_the_end_of_the_request() {
    let (edge, agent) = (
        edge(crate::support::SOON, SHORT).await,
        Agent::start().await,
    );
    edge.awake("alice", &agent).await;
    let answer = edge.ask(&post("/hang", "content-length: 0\r\n")).await;
    assert_eq!(answer.status, 504);
    let text = "Timed out waiting for the backend sandbox: alice (it has had the whole request for 0.3 s and has not answered)";
    assert_eq!(answer.detail(), text);
    let with_body = post("/hang", "content-length: 2\r\n") + "hi";
    assert_eq!(edge.ask(&with_body).await.detail(), text);
}

#[tokio::test]
async fn a_client_that_stops_in_its_body_is_told_that_it_was_the_client() {
    let (edge, agent) = (
        edge(SHORT, crate::support::SOON).await,
        Agent::start().await,
    );
    edge.awake("alice", &agent).await;
    for framing in ["content-length: 10\r\n", "transfer-encoding: chunked\r\n"] {
        let mut stream = edge.connect().await;
        stream
            .write_all(post("/hang", framing).as_bytes())
            .await
            .unwrap();
        let some = if framing.starts_with('c') {
            "xx"
        } else {
            "2\r\nxx\r\n"
        };
        stream.write_all(some.as_bytes()).await.unwrap();
        let answer = rest(stream).await;
        assert_eq!(answer.status, 408, "{answer:?}");
        assert_eq!(
            answer.detail(),
            "Nothing more of the request's body came for 0.3 s."
        );
        assert_eq!(answer.header("connection"), Some("close"));
    }
}

#[tokio::test]
async fn a_sandbox_that_does_not_read_is_told_from_a_client_that_does_not_send() {
    let edge = edge(SHORT, crate::support::SOON).await;
    let agent = Agent::raw(|stream| async move {
        let _unread = stream;
        std::future::pending().await
    })
    .await;
    edge.awake("alice", &agent).await;
    let mut stream = edge.connect().await;
    let head = post("/", "content-length: 1000000000\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reads, mut writes) = stream.into_split();
    let upload = tokio::spawn(async move {
        let chunk = vec![b'x'; 1 << 16];
        while writes.write_all(&chunk).await.is_ok() {}
    });
    let mut all = vec![0; 4096];
    let read = soon("answer", reads.read(&mut all)).await.unwrap();
    let answer = Answer::parse(&all[..read]);
    assert_eq!(answer.status, 504, "{answer:?}");
    let text = "Timed out waiting for the backend sandbox: alice (it has not read on in the request's body for 0.3 s)";
    assert_eq!(answer.detail(), text);
    upload.abort();
}

#[tokio::test]
async fn the_wait_for_100_continue_counts_against_nobody() {
    let limit = Duration::from_millis(900);
    let edge = edge(limit, limit).await;
    // A server that does not know Expect: the body is let go after a second, more than either limit.
    let agent = Agent::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let mut body = [0; 2];
        stream.read_exact(&mut body).await.unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream.write_all(&body).await.unwrap();
    })
    .await;
    edge.awake("alice", &agent).await;
    let head = post("/", "content-length: 2\r\nexpect: 100-continue\r\n");
    let mut stream = edge.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(head_of(&mut stream).await.status, 100);
    stream.write_all(b"hi").await.unwrap();
    assert_eq!(ok(&rest(stream).await), "hi");
}

#[tokio::test]
async fn the_time_that_a_client_gives_bounds_each_step_up_to_the_head() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    let edge = &edge;
    let ask = |more: &'static str| async move {
        let head = post("/hang", &format!("x-sandbox-timeout: 0.25\r\n{more}"));
        edge.ask(&head).await
    };
    let of_alice = "Timed out waiting for the backend sandbox: alice";
    let answer = soon("answer", ask("content-length: 0\r\n")).await;
    assert_eq!(answer.status, 504);
    let is_told = |detail: &str, of: &str| {
        // How long that was is measured, and a busy machine is late.
        let told = detail.strip_prefix(of_alice);
        told.is_some_and(|told| told.starts_with(" (after ") && told.ends_with(of))
    };
    let of = " s: it has the request and has not answered)";
    assert!(is_told(&answer.detail(), of), "{answer:?}");
    let answer = soon("body", ask("content-length: 2\r\n")).await;
    let of = " s: the body of the request was still on its way)";
    assert!(is_told(&answer.detail(), of), "{answer:?}");

    // A port whose backlog is full takes no connection and refuses none, as a node that died.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let crowd: Vec<_> = (0..8)
        .map(|_| tokio::spawn(TcpStream::connect(address)))
        .collect();
    soon("backlog", async {
        while crowd.iter().filter(|one| one.is_finished()).count() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    edge.pod("alice", Some(pod("alice", address, false))).await;
    edge.known().await;
    let answer = soon("connection", ask("content-length: 0\r\n")).await;
    let of = " s: its pod has not taken the connection)";
    assert!(
        answer.status == 504 && is_told(&answer.detail(), of),
        "{answer:?}"
    );
    crowd.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_dial_that_is_made_once_more_is_counted() {
    let edge = Edge::start().await;
    let (_silent, address) = crate::support::silent();
    edge.pod("alice", Some(pod("alice", address, false))).await;
    edge.sandbox("alice", reveille_crds::sandbox::OperatingMode::Running)
        .await;
    edge.known().await;
    let answer = edge.ask(&post("/", "content-length: 0\r\n")).await;
    assert_eq!(answer.status, 502);
    let metrics = edge.metrics();
    let name = "sandbox_router_upstream_retries_total{sandbox_namespace=\"default\"} ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    let retries: u64 = line.unwrap().parse().unwrap();
    assert!(retries >= 3, "{retries}");
}
