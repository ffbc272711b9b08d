//! Connections on both sides: kept, pooled, limited, retried, and ended in an orderly way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reveille_crds::change::PodFacts;
use reveille_crds::message::ToScaler;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};

use crate::support::agent::read_head;
use crate::support::{Agent, Answer, Edge, head_of, ok, pod, soon};

const GET: &str = "GET /count HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\n\r\n";
const LAST: &str =
    "GET /count HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn requests_of_one_connection_share_one_to_the_sandbox() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    let mut stream = edge.connect().await;
    for _ in 0..20 {
        stream.write_all(GET.as_bytes()).await.unwrap();
        assert_eq!(head_of(&mut stream).await.status, 200);
        let mut body = [0; 1];
        stream.read_exact(&mut body).await.unwrap();
    }
    assert_eq!((agent.accepted(), agent.served()), (1, 20));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    let paths = ["/one", "/two", "/three"];
    let mut all: String = paths
        .iter()
        .map(|path| GET.replace("/count", path))
        .collect();
    all += &LAST.replace("/count", "/last");
    let bytes = edge.raw(all.as_bytes()).await;
    let text = String::from_utf8_lossy(&bytes);
    let order: Vec<usize> = ["GET /one", "GET /two", "GET /three", "GET /last"]
        .iter()
        .map(|line| text.find(line).unwrap())
        .collect();
    assert!(order.is_sorted(), "{text}");
}

/// Answers each connection's first request, then closes it without having said so.
async fn forgetful(count: Arc<AtomicUsize>) -> Agent {
    Agent::raw(move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            let head = read_head(&mut stream).await;
            if head.starts_with("POST") {
                let mut body = [0; 2];
                stream.read_exact(&mut body).await.unwrap();
            }
            count.fetch_add(1, Ordering::SeqCst);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await
                .unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn a_stale_pooled_connection_costs_no_request() {
    let count = Arc::new(AtomicUsize::new(0));
    let (edge, agent) = (Edge::start().await, forgetful(Arc::clone(&count)).await);
    edge.awake("alice", &agent).await;
    for round in 1..=10 {
        let post = "POST / HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
        let answer = edge.ask(if round % 2 == 0 { post } else { LAST }).await;
        assert_eq!(ok(&answer), "ok", "round {round}");
        // The close is what makes the pooled connection stale.
        edge.counts("reveille_activator_upstream_connections 0\n")
            .await;
    }
    assert_eq!(count.load(Ordering::SeqCst), 10);
}

#[tokio::test]
async fn only_what_may_be_repeated_is_sent_twice() {
    let heads = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&heads);
    let agent = Agent::raw(move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            read_head(&mut stream).await;
            // Dies after it has read the first one.
            if counter.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await
                    .unwrap();
            }
        }
    })
    .await;
    let edge = Edge::start().await;
    edge.awake("alice", &agent).await;
    assert_eq!(ok(&edge.ask(LAST).await), "ok");
    assert_eq!(heads.swap(0, Ordering::SeqCst), 2);
    let post = "POST / HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let answer = edge.ask(post).await;
    assert_eq!(
        (answer.status, heads.load(Ordering::SeqCst)),
        (502, 1),
        "{answer:?}"
    );
}

#[tokio::test]
async fn connections_past_the_limit_are_told_so() {
    let agent = Agent::start().await;
    let edge = Edge::with(|config| config.connections = 2).await;
    edge.awake("alice", &agent).await;
    let mut first = edge.connect().await;
    first.write_all(GET.as_bytes()).await.unwrap();
    head_of(&mut first).await;
    let mut second = edge.connect().await;
    second.write_all(GET.as_bytes()).await.unwrap();
    head_of(&mut second).await;
    let third = edge.ask(GET).await;
    assert_eq!(
        (third.status, third.header("retry-after")),
        (503, Some("1")),
        "{third:?}"
    );
    drop(first);
    soon("a free place", async {
        while edge.ask(LAST).await.status != 200 {}
    })
    .await;
}

#[tokio::test]
async fn a_head_that_takes_too_long_ends_the_connection_and_an_idle_connection_stays() {
    let agent = Agent::start().await;
    let edge = Edge::with(|config| config.header_read_timeout = Duration::from_millis(300)).await;
    edge.awake("alice", &agent).await;
    let mut silent = edge.connect().await;
    let mut slow = edge.connect().await;
    slow.write_all(b"GET / HTTP/1.1\r\nhost").await.unwrap();
    let mut idle = edge.connect().await;
    idle.write_all(GET.as_bytes()).await.unwrap();
    head_of(&mut idle).await;
    let mut rest = Vec::new();
    soon("end of the silent one", silent.read_to_end(&mut rest))
        .await
        .ok();
    soon("end of the slow one", slow.read_to_end(&mut rest))
        .await
        .ok();
    idle.write_all(GET.as_bytes()).await.unwrap();
    let mut body = [0; 1];
    idle.read_exact(&mut body).await.unwrap();
    assert_eq!(head_of(&mut idle).await.status, 200);
}

#[tokio::test]
async fn shutdown_finishes_what_is_in_flight_and_refuses_what_waits() {
    let agent = Agent::start().await;
    let mut edge = Edge::start().await;
    edge.awake("alice", &agent).await;
    edge.asleep("bob").await;
    let mut streaming = edge.connect().await;
    streaming
        .write_all(GET.replace("/count", "/sse").as_bytes())
        .await
        .unwrap();
    head_of(&mut streaming).await;
    let mut idle = edge.connect().await;
    idle.write_all(GET.as_bytes()).await.unwrap();
    head_of(&mut idle).await;
    let mut parked = edge.connect().await;
    parked
        .write_all(GET.replace("alice", "bob").as_bytes())
        .await
        .unwrap();
    soon("wake", async {
        while !matches!(
            edge.said.recv().await,
            Some(ToScaler::Wake(wake)) if wake.key.name() == "bob"
        ) {}
    })
    .await;
    edge.shutdown.cancel();
    agent.second_event.notify_one();
    let mut all = Vec::new();
    soon("refusal", parked.read_to_end(&mut all)).await.unwrap();
    let refused = Answer::parse(&all);
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1")),
        "{refused:?}"
    );
    let mut rest = String::new();
    soon("stream", streaming.read_to_string(&mut rest))
        .await
        .unwrap();
    assert!(
        rest.contains("data: two") && rest.ends_with("0\r\n\r\n"),
        "{rest:?}"
    );
    soon("idle", idle.read_to_end(&mut all)).await.unwrap();
    edge.ended().await;
    assert!(tokio::net::TcpStream::connect(edge.address).await.is_err());
}

/// Answers requests as soon as it is let, and tells of each connection that the other side closes.
async fn watchful(go: watch::Receiver<bool>, closed: mpsc::Sender<()>) -> Agent {
    Agent::raw(move |mut stream| {
        let (mut go, closed) = (go.clone(), closed.clone());
        async move {
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                go.wait_for(|go| *go).await.unwrap();
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(head).await.unwrap();
            }
            closed.send(()).await.unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn idle_connections_end_when_their_pod_begins_to() {
    let (closed, mut closes) = mpsc::channel(8);
    let (_go, go) = watch::channel(true);
    let (edge, agent) = (Edge::start().await, watchful(go, closed).await);
    edge.awake("alice", &agent).await;
    assert_eq!(ok(&edge.ask(LAST).await), "ok");
    edge.pod("alice", Some(leaving("alice", &agent))).await;
    soon("close", closes.recv()).await.unwrap();
    assert_eq!(agent.accepted(), 1);
}

#[tokio::test]
async fn what_is_in_flight_when_a_pod_begins_to_go_is_answered_and_its_connection_closed() {
    let (closed, mut closes) = mpsc::channel(8);
    let (go, may) = watch::channel(false);
    let (edge, agent) = (Edge::start().await, watchful(may, closed).await);
    edge.awake("alice", &agent).await;
    let asked = edge.ask(LAST);
    let told = async {
        soon("the request", async {
            while agent.accepted() == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        edge.pod("alice", Some(leaving("alice", &agent))).await;
        edge.asleep("another").await;
        go.send_replace(true);
    };
    let (answer, ()) = tokio::join!(asked, told);
    assert_eq!(ok(&answer), "ok");
    soon("close", closes.recv()).await.unwrap();
}

/// That pod, being deleted.
fn leaving(name: &str, agent: &Agent) -> PodFacts {
    PodFacts {
        terminating: true,
        ..pod(name, agent.address, false)
    }
}
