//! Requests whose end two parsers might see at different places, and heads that are no heads. Either the
//! request is refused and the connection closed, or the sandbox sees one unambiguous request.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Agent, Answer, Edge, head_of, ok};

async fn edge() -> (Edge, Agent) {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    (edge, agent)
}

/// A request with this start line, these header lines and this rest, on a connection of its own; the
/// connection is expected to be closed by the other side.
async fn send(edge: &Edge, line: &str, headers: &str, rest: &str) -> (Answer, String) {
    let head = format!("{line}\r\nhost: p\r\nx-sandbox-id: alice\r\n{headers}\r\n");
    let bytes = edge.raw(format!("{head}{rest}").as_bytes()).await;
    (
        Answer::parse(&bytes),
        String::from_utf8_lossy(&bytes).into_owned(),
    )
}

#[tokio::test]
async fn a_request_with_both_lengths_is_read_as_chunked_and_its_connection_closed() {
    let (edge, agent) = edge().await;
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\n\r\n";
    for headers in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
    ] {
        let served = agent.served();
        let (answer, all) = send(&edge, "POST / HTTP/1.1", headers, smuggled).await;
        assert!(
            ok(&answer).starts_with("POST / ") && !answer.body.contains("content-length"),
            "{answer:?}"
        );
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(
            agent.served(),
            served + 1,
            "the rest of the connection was taken for a request: {all}"
        );
    }
}

#[tokio::test]
async fn ambiguous_lengths_and_codings_are_refused() {
    let (edge, agent) = edge().await;
    for headers in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 6\r\n",
        "content-length: +5\r\n",
        "content-length: -5\r\n",
        "content-length: 0x5\r\n",
        "content-length: 99999999999999999999\r\n",
        "content-length: \r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding:\x0bchunked\r\n",
        "content-length : 5\r\n",
    ] {
        let (answer, all) =
            send(&edge, "POST / HTTP/1.1", headers, "5\r\nhello\r\n0\r\n\r\n").await;
        assert!(matches!(answer.status, 400 | 501), "{headers:?} {answer:?}");
        assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{all}");
    }
    let (old, _) = send(
        &edge,
        "POST / HTTP/1.0",
        "transfer-encoding: chunked\r\n",
        "0\r\n\r\n",
    )
    .await;
    assert_eq!(old.status, 400);
    assert_eq!(agent.served(), 0, "none of them may reach the sandbox");
}

#[tokio::test]
async fn a_malformed_head_is_refused() {
    let (edge, agent) = edge().await;
    for headers in [
        "x-a: 1\r\n 2\r\n",
        "x-a: \0\r\n",
        "x-a: a\x01b\r\n",
        "x a: 1\r\n",
        ": 1\r\n",
        "x-a\r\n",
        "x-\u{e9}: 1\r\n",
        "x-a: 1\rx-b: 2\r\n",
    ] {
        let (answer, _) = send(&edge, "GET / HTTP/1.1", headers, "").await;
        assert_eq!(answer.status, 400, "{headers:?}");
    }
    for line in [
        "GET /a b HTTP/1.1",
        "GET  / HTTP/1.1",
        "G@T / HTTP/1.1",
        "GET / HTTP/2.0",
        "GET / HTTP/1.2",
        "GET / HTTPS/1.1",
        "GET",
    ] {
        let (answer, _) = send(&edge, line, "", "").await;
        assert_eq!(answer.status, 400, "{line}");
    }
    assert_eq!(agent.served(), 0);
}

#[tokio::test]
async fn a_host_that_is_missing_doubled_or_invalid_is_refused() {
    let (edge, _agent) = edge().await;
    for hosts in [
        "",
        "host: a\r\nhost: a\r\n",
        "host: a b\r\n",
        "host: a/b\r\n",
        "host: u@h\r\n",
        "host: a,b/\r\n",
    ] {
        let answer = edge
            .ask(&format!(
                "GET / HTTP/1.1\r\n{hosts}x-sandbox-id: alice\r\nconnection: close\r\n\r\n"
            ))
            .await;
        assert_eq!(answer.status, 400, "{hosts:?}");
    }
    let old = edge
        .ask("GET / HTTP/1.0\r\nx-sandbox-id: alice\r\n\r\n")
        .await;
    assert!(ok(&old).starts_with("GET / HTTP/1.1"), "{old:?}");
}

#[tokio::test]
async fn a_bad_chunk_never_looks_like_a_whole_body() {
    let (edge, _agent) = edge().await;
    for rest in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n",
        "5 \x01\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
    ] {
        let (answer, _) = send(
            &edge,
            "POST /count HTTP/1.1",
            "transfer-encoding: chunked\r\n",
            rest,
        )
        .await;
        assert!(
            answer.status != 200 || answer.body.starts_with("error"),
            "{rest:?} {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_head_past_the_limits_is_431() {
    let (edge, _agent) = edge().await;
    let (large, _) = send(
        &edge,
        "GET / HTTP/1.1",
        &format!("connection: close\r\nx-large: {}\r\n", "x".repeat(60_000)),
        "",
    )
    .await;
    let _ = ok(&large).len();
    let (too_large, _) = send(
        &edge,
        "GET / HTTP/1.1",
        &format!("x-large: {}\r\n", "x".repeat(70_000)),
        "",
    )
    .await;
    assert_eq!(too_large.status, 431);
    let (many, _) = send(&edge, "GET / HTTP/1.1", &"x-a: 1\r\n".repeat(200), "").await;
    assert_eq!(many.status, 431);
    let (absurd, _) = send(&edge, "GET / HTTP/1.1", &"x-a: 1\r\n".repeat(20_000), "").await;
    assert_eq!(absurd.status, 431);
}

#[tokio::test]
async fn connect_is_not_implemented() {
    let (edge, _agent) = edge().await;
    let answer = edge
        .ask("CONNECT example.org:443 HTTP/1.1\r\nhost: example.org:443\r\n\r\n")
        .await;
    assert_eq!(answer.status, 501);
}

#[tokio::test]
async fn a_target_is_a_path_or_an_absolute_uri() {
    let (edge, agent) = edge().await;
    for line in [
        "GET echo HTTP/1.1",
        "GET echo:80 HTTP/1.1",
        "POST p:80 HTTP/1.1",
        "GET * HTTP/1.1",
        "OPTIONS echo HTTP/1.1",
    ] {
        let (answer, _) = send(&edge, line, "connection: close\r\n", "").await;
        assert_eq!(answer.status, 400, "{line}: {answer:?}");
    }
    assert_eq!(agent.served(), 0);
    for line in ["OPTIONS * HTTP/1.1", "GET http://p/echo HTTP/1.1"] {
        let (answer, _) = send(&edge, line, "connection: close\r\n", "").await;
        assert_eq!(answer.status, 200, "{line}: {answer:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_an_address_closes_no_connection_and_wrong_framing_does() {
    let (edge, _agent) = edge().await;
    let mut shared = edge.connect().await;
    for (fields, status) in [
        ("x-sandbox-id: Not_A_Name\r\n", 400),
        ("x-sandbox-id: alice\r\nx-sandbox-id: bob\r\n", 400),
        ("x-sandbox-id: alice\r\nx-sandbox-port: 0\r\n", 400),
        ("x-sandbox-id: alice\r\nx-sandbox-namespace: a.b\r\n", 400),
        ("x-sandbox-id: nobody\r\nx-sandbox-timeout: 0.01\r\n", 404),
        ("", 400),
        ("x-sandbox-id: alice\r\n", 200),
    ] {
        let head =
            format!("POST /count HTTP/1.1\r\nhost: p\r\ncontent-length: 2\r\n{fields}\r\nhi");
        shared.write_all(head.as_bytes()).await.unwrap();
        let answer = head_of(&mut shared).await;
        assert_eq!(answer.status, status, "{fields:?} {answer:?}");
        assert_eq!(answer.header("connection"), None, "{fields:?}");
        let length = answer.header("content-length").unwrap().parse().unwrap();
        shared.read_exact(&mut vec![0; length]).await.unwrap();
    }
    let (answer, _) = send(
        &edge,
        "POST / HTTP/1.1",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "",
    )
    .await;
    assert_eq!(
        (answer.status, answer.header("connection")),
        (400, Some("close"))
    );
}

#[tokio::test]
async fn an_answer_with_both_lengths_is_read_as_chunked_and_loses_the_length() {
    let edge = Edge::start().await;
    for head in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "content-length: 500\r\nTransfer-Encoding: CHUNKED\r\n",
    ] {
        let answer =
            format!("HTTP/1.1 200 OK\r\n{head}\r\n7\r\na whole\r\n7\r\n answer\r\n0\r\n\r\n");
        let agent = Agent::canned(answer.leak()).await;
        edge.awake("alice", &agent).await;
        let (answer, _) = send(&edge, "GET / HTTP/1.1", "connection: close\r\n", "").await;
        assert_eq!(answer.header("content-length"), None, "{answer:?}");
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        assert!(answer.body.ends_with("0\r\n\r\n"), "{answer:?}");
        let text = answer.body.replace("\r\n", "");
        assert!(
            text.contains("a whole") && text.contains(" answer"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_answer_whose_coding_would_go_on_unannounced_is_none() {
    let edge = Edge::start().await;
    for head in [
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n5\r\nhello\r\n0\r\n\r\n");
        let agent = Agent::canned(answer.leak()).await;
        edge.awake("alice", &agent).await;
        let (answer, _) = send(&edge, "POST / HTTP/1.1", "connection: close\r\n", "").await;
        assert_eq!(answer.status, 502, "{head:?} {answer:?}");
    }
}
