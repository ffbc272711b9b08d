//! Bodies both ways: streamed, bounded, complete or visibly not.

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::agent::read_head;
use crate::support::{Agent, Answer, Edge, head_of, ok, soon};

async fn alice() -> (Edge, Agent) {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    (edge, agent)
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\nconnection: close\r\n{headers}\r\n{body}"
    )
}

#[tokio::test]
async fn bodies_of_both_framings_arrive_whole() {
    let (edge, _agent) = alice().await;
    let sized = edge
        .ask(&request("POST", "/echo", "content-length: 5\r\n", "hello"))
        .await;
    assert_eq!(ok(&sized), "hello");
    let chunked = "transfer-encoding: chunked\r\n";
    let chunked = edge
        .ask(&request(
            "POST",
            "/count",
            chunked,
            "5;ext=1\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n",
        ))
        .await;
    assert_eq!(ok(&chunked), "8");
    let nothing = edge.ask(&request("GET", "/nothing", "", "")).await;
    assert_eq!(
        (nothing.status, nothing.header("content-length")),
        (204, None)
    );
}

#[tokio::test]
async fn trailers_travel_both_ways() {
    let (edge, _agent) = alice().await;
    let headers = "te: trailers\r\ntrailer: x-check\r\ntransfer-encoding: chunked\r\n";
    let answer = edge
        .ask(&request(
            "POST",
            "/trailers",
            headers,
            "2\r\nhi\r\n0\r\nx-check: seen\r\n\r\n",
        ))
        .await;
    assert!(
        ok(&answer).ends_with("0\r\nx-answer: seen\r\n\r\n"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn events_pass_one_by_one() {
    let (edge, agent) = alice().await;
    let mut stream = edge.connect().await;
    stream
        .write_all(request("GET", "/sse", "", "").as_bytes())
        .await
        .unwrap();
    let head = head_of(&mut stream).await;
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    // It must not wait for the second, which does not come before this.
    let mut first = Vec::new();
    soon("first event", async {
        while !String::from_utf8_lossy(&first).contains("data: one") {
            assert!(stream.read_buf(&mut first).await.unwrap() > 0);
        }
    })
    .await;
    agent.second_event.notify_one();
    let mut rest = String::new();
    soon("second event", stream.read_to_string(&mut rest))
        .await
        .unwrap();
    assert!(
        rest.contains("data: two") && rest.ends_with("0\r\n\r\n"),
        "{rest:?}"
    );
}

#[tokio::test]
async fn a_large_upload_arrives_whole_and_comes_back_whole() {
    let (edge, _agent) = alice().await;
    let stream = edge.connect().await;
    let (mut reads, mut writes) = stream.into_split();
    let block: Vec<u8> = (0..1 << 20).map(|at: u32| (at % 251) as u8).collect();
    let blocks = 64;
    let head = request(
        "POST",
        "/echo",
        &format!("content-length: {}\r\n", block.len() * blocks),
        "",
    );
    let sent = block.clone();
    let upload = tokio::spawn(async move {
        writes.write_all(head.as_bytes()).await.unwrap();
        let mut hash = Sha256::new();
        for _ in 0..blocks {
            writes.write_all(&sent).await.unwrap();
            hash.update(&sent);
        }
        // Dropped only later: a closed sending side is a client that has left.
        (hash.finalize(), writes)
    });
    let mut received = Vec::new();
    soon("echo", reads.read_to_end(&mut received))
        .await
        .unwrap();
    let body = received
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    assert_eq!(received.len() - body, block.len() * blocks);
    assert_eq!(Sha256::digest(&received[body..]), upload.await.unwrap().0);
}

#[tokio::test]
async fn the_sandbox_decides_about_continue() {
    let agent = Agent::raw(|mut stream| async move {
        let head = read_head(&mut stream).await;
        let answer = if head.contains("/yes") {
            "HTTP/1.1 100 Continue\r\n\r\n"
        } else {
            "HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno"
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
        if head.contains("/yes") {
            let mut body = [0; 5];
            stream.read_exact(&mut body).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
                .await
                .unwrap();
            stream.write_all(&body).await.unwrap();
        }
    })
    .await;
    let edge = Edge::start().await;
    edge.awake("alice", &agent).await;
    let expect = "expect: 100-continue\r\ncontent-length: 5\r\n";
    let mut stream = edge.connect().await;
    stream
        .write_all(request("PUT", "/yes", expect, "").as_bytes())
        .await
        .unwrap();
    assert_eq!(head_of(&mut stream).await.status, 100);
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(head_of(&mut stream).await.status, 200);
    let refused = edge.ask(&request("PUT", "/no", expect, "")).await;
    assert_eq!((refused.status, refused.body.as_str()), (417, "no"));
}

#[tokio::test]
async fn a_sandbox_that_never_says_continue_gets_the_body_anyway() {
    let agent = Agent::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let mut body = [0; 5];
        stream.read_exact(&mut body).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await
            .unwrap();
    })
    .await;
    let edge = Edge::start().await;
    edge.awake("alice", &agent).await;
    let mut stream = edge.connect().await;
    let head = request(
        "PUT",
        "/",
        "expect: 100-continue\r\ncontent-length: 5\r\n",
        "",
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(head_of(&mut stream).await.status, 100);
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(head_of(&mut stream).await.status, 200);
}

#[tokio::test]
async fn half_an_answer_never_looks_whole() {
    for canned in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ] {
        let (edge, agent) = (Edge::start().await, Agent::canned(canned).await);
        edge.awake("alice", &agent).await;
        let answer = edge.ask(&request("GET", "/", "", "")).await;
        assert_eq!(answer.status, 200);
        assert!(
            !answer.body.contains("0\r\n\r\n") && answer.body.len() < 100,
            "{answer:?}"
        );
    }
    let (edge, agent) = (
        Edge::start().await,
        Agent::canned("HTTP/1.1 200 OK\r\n\r\nuntil the end").await,
    );
    edge.awake("alice", &agent).await;
    let answer = edge.ask(&request("GET", "/", "", "")).await;
    assert!(ok(&answer).contains("until the end"));
}

#[tokio::test]
async fn a_folded_field_of_an_answer_goes_on_as_one_line() {
    let canned = "HTTP/1.1 200 OK\r\nx-a: 1\r\n folded\r\ncontent-length: 0\r\n\r\n";
    let (edge, agent) = (Edge::start().await, Agent::canned(canned).await);
    edge.awake("alice", &agent).await;
    let answer = edge.ask(&request("GET", "/", "", "")).await;
    let words: Option<Vec<&str>> = answer
        .header("x-a")
        .map(|it| it.split_whitespace().collect());
    assert_eq!(words, Some(vec!["1", "folded"]), "{answer:?}");
}

#[tokio::test]
async fn what_a_sandbox_says_ahead_of_its_answer_goes_on_to_who_understands_it() {
    let canned = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\nconnection: x\r\n\r\n\
        HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (edge, agent) = (Edge::start().await, Agent::canned(canned).await);
    edge.awake("alice", &agent).await;
    let mut stream = edge.connect().await;
    stream
        .write_all(request("GET", "/", "", "").as_bytes())
        .await
        .unwrap();
    let hint = head_of(&mut stream).await;
    assert_eq!(
        (hint.status, hint.header("link")),
        (103, Some("</a>; rel=preload"))
    );
    assert_eq!(hint.header("connection"), None);
    assert_eq!(head_of(&mut stream).await.status, 200);
    let old = request("GET", "/", "", "").replace("HTTP/1.1", "HTTP/1.0");
    let answer = edge.ask(&old).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn nonsense_from_the_sandbox_is_502() {
    for canned in [
        "nonsense\r\n\r\n",
        "",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ] {
        let (edge, agent) = (Edge::start().await, Agent::canned(canned).await);
        edge.awake("alice", &agent).await;
        let answer = edge
            .ask(&request("POST", "/", "content-length: 0\r\n", ""))
            .await;
        assert_eq!(answer.status, 502, "{canned:?} {answer:?}");
    }
}

#[tokio::test]
async fn a_refusal_of_an_upload_reaches_a_client_that_is_still_sending() {
    let edge = Edge::start().await;
    let mut stream = edge.connect().await;
    let head =
        "POST / HTTP/1.1\r\nhost: p\r\nx-sandbox-id: nobody\r\ncontent-length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let _ = stream.write_all(&vec![b'x'; 1_000_000]).await;
    let mut all = Vec::new();
    soon("refusal", stream.read_to_end(&mut all)).await.unwrap();
    assert_eq!(Answer::parse(&all).status, 404);
}
