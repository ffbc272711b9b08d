//! Upstream's router contract: headers, host names, texts, what the sandbox sees.

use reveille_crds::message::ToScaler;
use reveille_crds::sandbox::OperatingMode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::support::{Agent, Answer, Edge, ok, pod, silent, soon};

fn get(headers: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\n{headers}\r\n")
}

#[tokio::test]
async fn bad_headers_are_refused_in_upstreams_words() {
    let edge = Edge::start().await;
    let long = format!("X-Sandbox-ID: {}\r\n", "x".repeat(64));
    let alice = "X-Sandbox-ID: alice\r\n";
    let cases: Vec<(String, &str)> = vec![
        (
            "X-Sandbox-Port: 1\r\n".into(),
            "X-Sandbox-ID header is required.",
        ),
        (
            "X-Sandbox-ID: Alice\r\n".into(),
            "Invalid sandbox ID format.",
        ),
        (long, "Invalid sandbox ID format."),
        ("X-Sandbox-ID: a.b\r\n".into(), "Invalid sandbox ID format."),
        (
            format!("{alice}X-Sandbox-Namespace: A\r\n"),
            "Invalid namespace format.",
        ),
        (
            format!("{alice}X-Sandbox-Port: 0\r\n"),
            "Invalid port format.",
        ),
        (
            format!("{alice}X-Sandbox-Port: 65536\r\n"),
            "Invalid port format.",
        ),
        (
            format!("{alice}X-Sandbox-Port: abc\r\n"),
            "Invalid port format.",
        ),
        (
            format!("{alice}X-Sandbox-Pod-IP: 169.254.169.254\r\n"),
            "Invalid target IP address.",
        ),
        (
            format!("{alice}X-Sandbox-Pod-IP: 127.0.0.1\r\n"),
            "Invalid target IP address.",
        ),
        (
            format!("{alice}X-Sandbox-Pod-IP: 0.0.0.0\r\n"),
            "Invalid target IP address.",
        ),
        (
            format!("{alice}X-Sandbox-Pod-IP: ff02::1\r\n"),
            "Invalid target IP address.",
        ),
        (format!("{alice}{alice}"), "Invalid sandbox ID format."),
    ];
    for (headers, detail) in cases {
        let answer = edge.ask(&get(&headers)).await;
        assert_eq!(
            (answer.status, answer.detail().as_str()),
            (400, detail),
            "{headers}"
        );
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    let missing = edge
        .ask(&get(
            "X-Sandbox-ID: nobody\r\nX-Sandbox-Pod-IP: 2001:db8::1\r\n",
        ))
        .await;
    assert_eq!(
        (missing.status, missing.detail().as_str()),
        (404, "Sandbox not found: nobody")
    );
}

#[tokio::test]
async fn a_sandbox_is_reached_by_header_by_host_and_by_absolute_form() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    for request in [
        get("X-Sandbox-ID: alice\r\n"),
        get("X-Sandbox-ID: alice\r\nX-Sandbox-Port: 8888\r\nX-Sandbox-Pod-IP: 10.9.9.9\r\nX-Sandbox-UID: sandbox-alice\r\n"),
        "GET / HTTP/1.1\r\nhost: alice.default.sandbox.localhost:8080\r\nconnection: close\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nhost: 8888--ALICE.default.sandbox.localhost\r\nconnection: close\r\n\r\n".into(),
        "GET http://alice.default.sandbox.localhost/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".into(),
    ] {
        let answer = edge.ask(&request).await;
        assert!(ok(&answer).starts_with("GET / HTTP/1.1\n"), "{request}");
        assert_eq!(answer.header("x-reveille-wake"), Some("none"));
    }
    let other_life = edge
        .ask(&get("X-Sandbox-ID: alice\r\nX-Sandbox-UID: another\r\n"))
        .await;
    assert_eq!(other_life.status, 404);
    let health = edge
        .ask("GET /healthz HTTP/1.1\r\nhost: p\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(ok(&health).trim_end(), r#"{"status":"ok"}"#);
}

#[tokio::test]
async fn every_method_and_every_raw_path_reaches_the_sandbox_unchanged() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    for method in [
        "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "TRACE",
    ] {
        for path in [
            "/a%2Fb//c/../d;x?q=%20&r=a%2fb",
            "//double",
            "/?",
            "/%00%ff",
        ] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\nconnection: close\r\n\r\n"
            );
            let answer = edge.ask(&request).await;
            let expected = format!("{method} {path} HTTP/1.1\n");
            assert!(ok(&answer).starts_with(&expected), "{expected} {answer:?}");
        }
    }
    let head = edge
        .ask("HEAD / HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(
        head.header("content-length")
            .is_some_and(|length| length != "0"),
        "{head:?}"
    );
    let star = edge
        .ask("OPTIONS * HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\nconnection: close\r\n\r\n")
        .await;
    assert!(ok(&star).starts_with("OPTIONS * HTTP/1.1"), "{star:?}");
}

#[tokio::test]
async fn the_sandbox_sees_what_it_may_see() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    let answer = edge
        .ask(&get(concat!(
            "x-sandbox-id: alice\r\nx-sandbox-timeout: 5\r\nauthorization: Bearer x\r\nx-forwarded-for: 6.6.6.6\r\n",
            "origin: https://a\r\ntraceparent: 00-aa-bb-01\r\nkeep-alive: 1\r\nte: trailers\r\nx-own: 1\r\n",
        )))
        .await;
    let mut lines: Vec<&str> = ok(&answer).lines().skip(1).collect();
    lines.sort_unstable();
    let host = format!("host: {}", agent.address);
    let expected = [
        "authorization: Bearer x",
        "connection: te",
        &host,
        "origin: https://a",
        "te: trailers",
        "traceparent: 00-aa-bb-01",
        "via: 1.1 reveille",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: proxy",
        "x-forwarded-proto: http",
        "x-own: 1",
        "x-sandbox-id: alice",
    ];
    assert_eq!(lines, expected);
}

/// Makes `alice` awake at a port that refuses.
async fn refusing(edge: &Edge) -> TcpSocket {
    let (socket, address) = silent();
    edge.pod("alice", Some(pod("alice", address, false))).await;
    edge.sandbox("alice", OperatingMode::Running).await;
    edge.known().await;
    socket
}

#[tokio::test]
async fn a_port_nobody_listens_on_is_502_in_upstreams_words() {
    let edge = Edge::start().await;
    let _silent = refusing(&edge).await;
    let answer = edge.ask(&get("x-sandbox-id: alice\r\n")).await;
    assert_eq!(
        (answer.status, answer.detail().as_str()),
        (502, "Could not connect to the backend sandbox: alice")
    );
    let undeclared = edge
        .ask(&get("x-sandbox-id: alice\r\nx-sandbox-port: 9999\r\n"))
        .await;
    // A port that it cannot have is not dialled.
    assert_eq!(undeclared.status, 404, "{undeclared:?}");
}

#[tokio::test]
async fn a_dial_that_is_refused_goes_on_until_the_agent_listens() {
    let edge = Edge::start().await;
    let socket = refusing(&edge).await;
    let request = get("x-sandbox-id: alice\r\n");
    let asking = edge.ask(&request);
    let listening = async {
        let again = "sandbox_router_upstream_retries_total{sandbox_namespace=\"default\"} ";
        edge.counts(again).await;
        Agent::on(socket.listen(16).unwrap(), false)
    };
    let (answer, _agent) = tokio::join!(asking, listening);
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_short_timeout_of_the_client_ends_the_wait() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.asleep("bob").await;
    let parked = edge
        .ask(&get("x-sandbox-id: bob\r\nx-sandbox-timeout: 0.1\r\n"))
        .await;
    assert_eq!(parked.status, 504, "{parked:?}");
    assert!(
        parked
            .detail()
            .starts_with("Timed out waiting for the backend sandbox: bob")
    );
    edge.awake("alice", &agent).await;
    let slow = "GET /hang HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\nx-sandbox-timeout: 0.1\r\nconnection: close\r\n\r\n";
    let slow = edge.ask(slow).await;
    let text = "Timed out waiting for the backend sandbox: alice (after ";
    assert!(
        slow.status == 504 && slow.detail().starts_with(text),
        "{slow:?}"
    );
}

#[tokio::test]
async fn the_agents_busy_header_goes_to_the_scaler_and_no_further() {
    let (mut edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    let request =
        "GET /busy HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\nconnection: close\r\n\r\n";
    let answer = edge.ask(request).await;
    assert_eq!(
        (ok(&answer), answer.header("x-reveille-busy-for")),
        ("busy", None)
    );
    soon("report", async {
        loop {
            if let Some(ToScaler::Activity(activity)) = edge.said.recv().await
                && activity.sandboxes.iter().any(|seen| {
                    seen.busy
                        .as_ref()
                        .is_some_and(|lease| lease.for_ms > 50_000)
                })
            {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_whose_pod_dies_before_it_is_sent_parks_and_goes_to_the_next_pod() {
    let (mut edge, second) = (Edge::start().await, Agent::start().await);
    let _silent = refusing(&edge).await;
    let mut stream = edge.connect().await;
    let request = concat!(
        "POST /count HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\n",
        "connection: close\r\ncontent-length: 2\r\n\r\nhi"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    // Its port refuses; then the watch says that it sleeps, and the request asks for a wake.
    edge.pod("alice", None).await;
    edge.sandbox("alice", OperatingMode::Suspended).await;
    edge.heard_wake("alice").await;
    edge.awake("alice", &second).await;
    let mut all = Vec::new();
    soon("answer", stream.read_to_end(&mut all)).await.unwrap();
    let answer = Answer::parse(&all);
    assert_eq!((ok(&answer), second.served()), ("2", 1));
    assert_eq!(answer.header("x-reveille-wake"), Some("started"));
    assert!(
        answer
            .header("server-timing")
            .is_some_and(|timing| timing.starts_with("park;dur="))
    );
}
