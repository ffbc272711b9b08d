//! Web pages of other sites, where nobody authenticates.

use reveille_activator::config::Pages;
use reveille_crds::message::ToScaler;

use crate::support::{Agent, Edge, ok};

const HOST: &str = "alice.default.sandbox.localhost:8080";

async fn checked(origins: &[&str]) -> Edge {
    let origins = origins.iter().map(|origin| origin.parse().unwrap());
    let origins = origins.collect();
    Edge::with(|config| config.pages = Pages::Of(origins)).await
}

fn get(host: &str, fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{fields}\r\n")
}

#[tokio::test]
async fn a_page_of_another_site_wakes_nothing() {
    let mut edge = checked(&[]).await;
    edge.asleep("alice").await;
    let websocket = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    for fields in [
        "origin: https://evil.example\r\n".to_owned(),
        "origin: null\r\n".to_owned(),
        "origin: http://bob.default.sandbox.localhost:8080\r\n".to_owned(),
        "sec-fetch-site: cross-site\r\nsec-fetch-mode: no-cors\r\nsec-fetch-dest: image\r\n"
            .to_owned(),
        "sec-fetch-site: same-site\r\nsec-fetch-mode: cors\r\nsec-fetch-dest: empty\r\n".to_owned(),
        format!("{websocket}origin: https://evil.example\r\n"),
        format!("{websocket}sec-fetch-site: cross-site\r\nsec-fetch-mode: websocket\r\n"),
    ] {
        let answer = edge.ask(&get(HOST, &fields)).await;
        assert_eq!(answer.status, 403, "{fields} {answer:?}");
        assert!(answer.detail().contains("--allow-origin"), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    // What is refused leaves the sandbox out, whichever it is: nobody learns which there are.
    let nobody = get(
        "nobody.default.sandbox.localhost",
        "origin: https://evil.example\r\n",
    );
    assert_eq!(edge.ask(&nobody).await.status, 403);
    let alices =
        |said: &ToScaler| matches!(said, ToScaler::Wake(wake) if wake.key.name() == "alice");
    while let Ok(said) = edge.said.try_recv() {
        assert!(!alices(&said), "{said:?}");
    }
}

#[tokio::test]
async fn programs_and_people_and_a_sandboxs_own_pages_are_let_in() {
    let (edge, agent) = (checked(&[]).await, Agent::start().await);
    edge.awake("alice", &agent).await;
    for (host, fields) in [
        (HOST, ""),
        ("router.example.com", "x-sandbox-id: alice\r\n"),
        (
            HOST,
            "origin: http://alice.default.sandbox.localhost:8080\r\n",
        ),
        (
            HOST,
            "sec-fetch-site: same-origin\r\nsec-fetch-mode: cors\r\n",
        ),
        (
            HOST,
            "sec-fetch-site: none\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n",
        ),
        (
            HOST,
            "sec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n",
        ),
    ] {
        ok(&edge.ask(&get(host, fields)).await);
    }
}

#[tokio::test]
async fn a_page_that_may_read_is_told_why() {
    let edge = checked(&["https://app.example.com"]).await;
    edge.asleep("alice").await;
    let fields = "origin: https://app.example.com\r\nx-sandbox-timeout: 0.05\r\n";
    let answer = edge.ask(&get(HOST, fields)).await;
    assert_eq!(answer.status, 504, "{answer:?}");
    let own = "https://app.example.com";
    assert_eq!(answer.header("access-control-allow-origin"), Some(own));
    assert_eq!(answer.header("vary"), Some("origin"));
    let exposed = answer.header("access-control-expose-headers").unwrap();
    for name in ["retry-after", "x-reveille-wake", "server-timing"] {
        assert!(exposed.contains(name), "{exposed}");
    }
    // Names its sandbox in a header, which a preflight cannot.
    let preflight = "OPTIONS /x HTTP/1.1\r\nhost: 127.0.0.1:8080\r\nconnection: close\r\norigin: https://app.example.com\r\naccess-control-request-method: POST\r\naccess-control-request-headers: x-sandbox-id\r\n\r\n";
    let answer = edge.ask(preflight).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(
        answer.header("access-control-allow-headers"),
        Some("x-sandbox-id")
    );
}

#[tokio::test]
async fn a_preflight_for_a_sandbox_is_the_sandboxs_to_answer() {
    let (edge, agent) = (
        checked(&["https://app.example.com"]).await,
        Agent::start().await,
    );
    edge.awake("alice", &agent).await;
    let preflight = |origin: &str| {
        format!(
            "OPTIONS / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\norigin: {origin}\r\naccess-control-request-method: POST\r\naccess-control-request-headers: x-sandbox-id\r\n\r\n"
        )
    };
    let answer = edge.ask(&preflight("https://app.example.com")).await;
    assert!(ok(&answer).starts_with("OPTIONS / HTTP/1.1"), "{answer:?}");
    assert_eq!(
        edge.ask(&preflight("https://evil.example")).await.status,
        403
    );
}

#[tokio::test]
async fn where_pages_are_not_checked_all_is_as_ever() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    let answer = edge
        .ask(&get(
            HOST,
            "origin: https://evil.example\r\nsec-fetch-site: cross-site\r\n",
        ))
        .await;
    ok(&answer);
    assert_eq!(answer.header("access-control-allow-origin"), None);
}
