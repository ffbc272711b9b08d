//! A name outlives what it stands for: a Sandbox made again, a claim that gets another Sandbox.

use std::sync::Arc;

use reveille_crds::change::{Change, ClaimFacts, PodFacts, SandboxFacts};
use reveille_crds::sandbox::OperatingMode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Agent, Answer, Edge, facts, head_of, key, ok, pod, sandbox_uid, soon};

/// The claim `carol`, bound to that Sandbox.
fn carol(sandbox: &str) -> Change {
    let claim = ClaimFacts {
        uid: "claim-carol".into(),
        sandbox: Some(sandbox.into()),
        ..ClaimFacts::default()
    };
    Change::Claim(key("carol"), Some(Arc::new(claim)))
}

/// A Sandbox of that claim.
fn of_carol(name: &str, mode: OperatingMode) -> Change {
    let sandbox = SandboxFacts {
        claim: Some("carol".into()),
        claim_uid: Some("claim-carol".into()),
        ..facts(name, mode)
    };
    Change::Sandbox(key(name), Some(Arc::new(sandbox)))
}

#[tokio::test]
async fn a_request_for_a_sandbox_never_reaches_the_next_one_of_its_claim() {
    let (mut edge, agent) = (Edge::start().await, Agent::start().await);
    edge.change(carol("warm-1")).await;
    edge.change(of_carol("warm-1", OperatingMode::Suspended))
        .await;
    edge.known().await;
    let head = |name: &str| {
        format!(
            "POST /count HTTP/1.1\r\nhost: p\r\nx-sandbox-id: {name}\r\nconnection: close\r\n\
             content-length: 2\r\n\r\nhi"
        )
    };
    let mut by_own_name = edge.connect().await;
    by_own_name
        .write_all(head("warm-1").as_bytes())
        .await
        .unwrap();
    edge.heard_wake("carol").await;
    let mut by_claim = edge.connect().await;
    by_claim.write_all(head("carol").as_bytes()).await.unwrap();
    // Its Sandbox is deleted, and the claim gets another: the same claim, an empty disk.
    edge.change(Change::Sandbox(key("warm-1"), None)).await;
    edge.change(carol("warm-2")).await;
    edge.change(of_carol("warm-2", OperatingMode::Running))
        .await;
    edge.pod("warm-2", Some(pod("warm-2", agent.address, false)))
        .await;
    let mut all = Vec::new();
    soon("answer", by_own_name.read_to_end(&mut all))
        .await
        .unwrap();
    assert_eq!(Answer::parse(&all).status, 404);
    let mut all = Vec::new();
    soon("answer", by_claim.read_to_end(&mut all))
        .await
        .unwrap();
    assert_eq!(ok(&Answer::parse(&all)), "2");
    assert_eq!(agent.served(), 1);
}

#[tokio::test]
async fn a_request_for_one_life_of_a_sandbox_never_reaches_the_next() {
    let (mut edge, agent) = (Edge::start().await, Agent::start().await);
    edge.asleep("alice").await;
    let mut stream = edge.connect().await;
    let request = format!(
        "POST /count HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\nx-sandbox-uid: {}\r\n\
         connection: close\r\ncontent-length: 2\r\n\r\nhi",
        sandbox_uid("alice")
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    edge.heard_wake("alice").await;
    // The same claim, or the same name made again: another Sandbox with another disk.
    let next = SandboxFacts {
        uid: "next-life".into(),
        ..facts("alice", OperatingMode::Running)
    };
    let pod = PodFacts {
        sandbox_uid: "next-life".into(),
        ..pod("alice", agent.address, false)
    };
    edge.change(Change::Sandbox(key("alice"), Some(Arc::new(next))))
        .await;
    edge.pod("alice", Some(pod)).await;
    let mut all = Vec::new();
    soon("answer", stream.read_to_end(&mut all)).await.unwrap();
    assert_eq!((Answer::parse(&all).status, agent.served()), (404, 0));
    let answer = edge
        .ask("GET / HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(answer.status, 200, "whoever names the name alone is served");
}

#[tokio::test]
async fn a_pod_that_is_gone_for_longer_than_its_grace_pins_no_exchange() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    let other = Agent::start().await;
    edge.awake("alice", &agent).await;
    edge.awake("bob", &other).await;
    let head = |name: &str, path: &str, more: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: p\r\nx-sandbox-id: {name}\r\n{more}\r\n")
    };
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    let mut events = edge.connect().await;
    events
        .write_all(head("alice", "/sse", "connection: close\r\n").as_bytes())
        .await
        .unwrap();
    assert_eq!(head_of(&mut events).await.status, 200);
    let mut tunnel = edge.connect().await;
    tunnel
        .write_all(head("alice", "/upgrade", upgrade).as_bytes())
        .await
        .unwrap();
    assert_eq!(head_of(&mut tunnel).await.status, 101);
    // What may be sent twice would wait for the next pod.
    let mut waiting = edge.connect().await;
    let post = head(
        "alice",
        "/hang",
        "connection: close\r\ncontent-length: 0\r\n",
    );
    waiting
        .write_all(post.replacen("GET", "POST", 1).as_bytes())
        .await
        .unwrap();
    let mut of_bob = edge.connect().await;
    of_bob
        .write_all(head("bob", "/upgrade", upgrade).as_bytes())
        .await
        .unwrap();
    assert_eq!(head_of(&mut of_bob).await.status, 101);
    soon("request", async {
        while agent.served() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Its node has died: the pod is being deleted, without grace, and its connections say nothing.
    let terminating = PodFacts {
        terminating: true,
        ..pod("alice", agent.address, false)
    };
    edge.pod("alice", Some(terminating)).await;
    let mut all = Vec::new();
    soon("answer", waiting.read_to_end(&mut all)).await.unwrap();
    let answer = Answer::parse(&all);
    assert_eq!(answer.status, 502, "{answer:?}");
    all.clear();
    soon("end of the events", events.read_to_end(&mut all))
        .await
        .unwrap();
    assert!(all.ends_with(b"0\r\n\r\n"), "a stream of events ends whole");
    soon("end of the tunnel", tunnel.read_to_end(&mut all))
        .await
        .ok();
    of_bob.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    soon("echo", of_bob.read_exact(&mut echo)).await.unwrap();
    assert_eq!(&echo, b"ping", "another pod's");
}
