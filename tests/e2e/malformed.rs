//! Whatever bytes a stranger sends: a prompt refusal, nothing smuggled, nothing kept.

use bytes::Bytes;
use http_body_util::Empty;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::manifests::{Agent, Manifests};
use crate::support::process::resident_kib;
use crate::support::reveille::Reveille;
use crate::support::{setting, within};

/// An agent that is awake, and would count whatever is smuggled to it.
async fn counting() -> (crate::support::home::Home, Reveille) {
    let (home, reveille) = Reveille::of(&Manifests::one(Agent::awake("alice"), 3600)).await;
    reveille.get("alice", "/").await.ok();
    (home, reveille)
}

/// Sends bytes (`HOST` stands for the agent's host) and expects one of these statuses, or, where 0 is
/// among them, a closed connection; never a second response, and never a count.
async fn refuses(reveille: &Reveille, bytes: &str, statuses: &[u16]) {
    let bytes = bytes.replace("HOST", "alice.agents.sandbox.localhost");
    let answer = reveille.raw(bytes.as_bytes()).await;
    let text = String::from_utf8_lossy(&answer);
    let shown: String = bytes.chars().take(300).collect();
    let status = text
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .map_or(0, |code| code.parse().unwrap());
    assert!(statuses.contains(&status), "{status} for {shown:?}: {text}");
    assert!(
        text.matches("HTTP/1.1 ").count() <= 1,
        "two answers for {shown:?}: {text}"
    );
    let count = reveille.get("alice", "/count").await.ok().json();
    assert_eq!(count["value"], 0, "smuggled by {shown:?}");
}

const SMUGGLED: &str = "POST /count HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn ambiguous_lengths_smuggle_nothing() {
    let (_home, reveille) = counting().await;
    let post = "POST /echo HTTP/1.1\r\nHost: HOST\r\n";
    let chunked = format!("0\r\n\r\n{SMUGGLED}");
    let length = chunked.len();
    for (headers, body, statuses) in [
        // Both lengths: refused, or read as chunked and closed after (RFC 9112 §6.1).
        (
            format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
            &*chunked,
            &[400, 200][..],
        ),
        (
            format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
            &chunked,
            &[400, 200],
        ),
        (
            "Content-Length: 0\r\nContent-Length: 5\r\n".to_owned(),
            SMUGGLED,
            &[400],
        ),
        ("Content-Length: 0, 5\r\n".to_owned(), SMUGGLED, &[400]),
        ("Content-Length: +0\r\n".to_owned(), SMUGGLED, &[400]),
        ("Content-Length: 0x0\r\n".to_owned(), SMUGGLED, &[400]),
        ("Content-Length: -1\r\n".to_owned(), SMUGGLED, &[400]),
        (
            "Content-Length: 99999999999999999999\r\n".to_owned(),
            SMUGGLED,
            &[400],
        ),
        (
            "Transfer-Encoding: xchunked\r\n".to_owned(),
            &chunked,
            &[400, 501],
        ),
        (
            "Transfer-Encoding: chunked, identity\r\n".to_owned(),
            &chunked,
            &[400, 501],
        ),
        (
            "Transfer-Encoding : chunked\r\n".to_owned(),
            &chunked,
            &[400],
        ),
        (
            "Transfer-Encoding: \u{b}chunked\r\n".to_owned(),
            &chunked,
            &[400, 501],
        ),
        (
            "Transfer-Encoding:\r\n chunked\r\n".to_owned(),
            &chunked,
            &[400],
        ),
    ] {
        refuses(&reveille, &format!("{post}{headers}\r\n{body}"), statuses).await;
    }
}

#[tokio::test]
async fn a_bad_chunk_ends_the_request_and_its_connection() {
    let (_home, reveille) = counting().await;
    for chunk in [
        "zz\r\n",
        "-1\r\n",
        "fffffffffffffffff\r\n",
        "5\r\nhelloXX",
        "\r\n",
    ] {
        let text = format!(
            "POST /upload HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n{SMUGGLED}"
        );
        refuses(&reveille, &text, &[400, 502, 0]).await;
    }
}

#[tokio::test]
async fn heads_that_are_not_http_are_refused() {
    let (_home, reveille) = counting().await;
    for head in [
        "GET / HTTP/1.1\r\nHost: HOST\r\nX-Folded: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nX-Nul: a\u{0}b\r\n\r\n",
        "GET /\u{0} HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nX Space: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\n: empty\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nno-colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nX-Cr: a\rb\r\n\r\n",
        "GET /two words HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: HOST\r\n\r\n",
        "G\u{1}T / HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}",
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ] {
        refuses(&reveille, head, &[400, 505, 0]).await;
    }
}

#[tokio::test]
async fn a_missing_doubled_or_impossible_host_is_refused() {
    let (_home, reveille) = counting().await;
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nHost: bob.agents.sandbox.localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST, HOST\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@HOST\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST/path\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST:99999\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: \r\n\r\n",
    ] {
        refuses(&reveille, head, &[400]).await;
    }
}

#[tokio::test]
async fn absurd_heads_are_refused_with_431_or_414() {
    let (_home, reveille) = counting().await;
    let many: String = (0..10_000)
        .map(|number| format!("X-{number}: a\r\n"))
        .collect();
    refuses(
        &reveille,
        &format!("GET / HTTP/1.1\r\nHost: HOST\r\n{many}\r\n"),
        &[431],
    )
    .await;
    let large = "a".repeat(4 << 20);
    refuses(
        &reveille,
        &format!("GET / HTTP/1.1\r\nHost: HOST\r\nX-Large: {large}\r\n\r\n"),
        &[431],
    )
    .await;
    refuses(
        &reveille,
        &format!("GET /{large} HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        &[414, 431],
    )
    .await;
}

#[tokio::test]
async fn router_headers_are_checked_with_the_routers_words() {
    let (_home, reveille) = counting().await;
    let long = "a".repeat(64);
    for (headers, detail) in [
        (
            vec![("x-sandbox-port", "8888")],
            "X-Sandbox-ID header is required.",
        ),
        (vec![("x-sandbox-id", "a.b")], "Invalid sandbox ID format."),
        (
            vec![("x-sandbox-id", "Alice")],
            "Invalid sandbox ID format.",
        ),
        (vec![("x-sandbox-id", &*long)], "Invalid sandbox ID format."),
        (
            vec![("x-sandbox-id", "../etc"), ("x-sandbox-namespace", "A")],
            "Invalid sandbox ID format.",
        ),
        (
            vec![("x-sandbox-id", "alice"), ("x-sandbox-namespace", "a_b")],
            "Invalid namespace format.",
        ),
        (
            vec![("x-sandbox-id", "alice"), ("x-sandbox-port", "0")],
            "Invalid port format.",
        ),
        (
            vec![("x-sandbox-id", "alice"), ("x-sandbox-port", "65536")],
            "Invalid port format.",
        ),
        (
            vec![("x-sandbox-id", "alice"), ("x-sandbox-port", "http")],
            "Invalid port format.",
        ),
        (
            vec![("x-sandbox-id", "alice"), ("x-sandbox-pod-ip", "nowhere")],
            "Invalid target IP address.",
        ),
        (
            vec![("x-sandbox-id", "alice"), ("x-sandbox-pod-ip", "127.0.0.1")],
            "Invalid target IP address.",
        ),
    ] {
        let mut request = http::Request::get("/x").header("host", "router.example");
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        let reply = reveille
            .send(request.body(Empty::<Bytes>::new()).unwrap())
            .await
            .unwrap();
        assert_eq!(reply.status, 400, "{headers:?}: {reply:?}");
        assert_eq!(reply.json()["detail"], detail, "{headers:?}");
    }
}

#[tokio::test]
async fn random_host_names_leave_memory_flat() {
    let (_home, reveille) = counting().await;
    let rounds = setting("REVEILLE_TEST_HOSTS", 100_000) / 1_000;
    strangers(&reveille, 5).await;
    let before = resident_kib(reveille.pid());
    strangers(&reveille, rounds).await;
    let after = resident_kib(reveille.pid());
    println!(
        "{before} KiB before, {after} KiB after {} hosts",
        rounds * 1_000
    );
    assert!(
        after < before + 16 * 1024,
        "{before} KiB before, {after} KiB after"
    );
    reveille.get("alice", "/").await.ok();
}

/// So many thousand requests for hosts that nobody has heard of, pipelined by hundreds; none of them waits
/// for a sandbox that may just have been made.
async fn strangers(reveille: &Reveille, rounds: u64) {
    let mut stream = reveille.connect().await;
    for _ in 0..rounds * 10 {
        let batch: String = (0..100)
            .map(|_| {
                let (name, namespace) = (fastrand::u64(..), fastrand::u64(..));
                format!(
                    "GET / HTTP/1.1\r\nHost: x{name:x}.n{namespace:x}.sandbox.localhost\r\nX-Sandbox-Timeout: 0.0000001\r\n\r\n"
                )
            })
            .collect();
        stream.write_all(batch.as_bytes()).await.unwrap();
        within("a hundred answers", answers(&mut stream, 100)).await;
    }
}

/// Reads so many 404s.
async fn answers(stream: &mut TcpStream, count: usize) {
    let (mut text, mut piece) = (Vec::new(), [0; 16 * 1024]);
    let seen = |text: &[u8]| {
        text.windows(13)
            .filter(|window| window == b"HTTP/1.1 404 ")
            .count()
    };
    // Every response ends with its line of JSON.
    while seen(&text) < count || !text.ends_with(b"}\n") {
        let length = stream.read(&mut piece).await.unwrap();
        assert!(
            length > 0,
            "closed after {} answers: {}",
            seen(&text),
            String::from_utf8_lossy(&text)
        );
        text.extend_from_slice(&piece[..length]);
    }
}
