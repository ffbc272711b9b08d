//! What goes wrong is told at once, to whoever waits and in the log, and leaves nothing behind.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Empty;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::support::client::{Reply, post, request, send};
use crate::support::home::Home;
use crate::support::manifests::{Agent, Manifests};
use crate::support::process::{descriptors, fill_disk, kill_agents};
use crate::support::reveille::{Reveille, refused};
use crate::support::until;

/// A policy under which a request waits this many seconds for a wake.
fn patient(agent: Agent, deadline: u32) -> Manifests {
    Manifests::new().agent(agent).policy(
        json!({"cooldownPeriod": 60, "wake": {"deadline": deadline}, "park": {"maxWait": 50}}),
    )
}

/// The refusal of a wake: status, body in the router's form, and what it says.
#[track_caller]
fn told(reply: &Reply, words: &[&str]) {
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(!reply.header("retry-after").is_empty(), "{reply:?}");
    let detail = reply.json()["detail"].as_str().unwrap().to_lowercase();
    assert!(
        words.iter().any(|word| detail.contains(word)),
        "none of {words:?} in {detail:?}"
    );
}

#[tokio::test]
async fn an_agent_that_never_becomes_ready_is_reported_at_the_wake_deadline() {
    let (_home, reveille) =
        Reveille::of(&patient(Agent::asleep("alice").flags(["--never-ready"]), 2)).await;
    told(&reveille.get("alice", "/").await, &["ready", "deadline"]);
    leaves_nothing(&reveille).await;
}

#[tokio::test]
async fn an_agent_that_exits_at_once_is_reported_before_the_wake_deadline() {
    let agent = Agent::asleep("alice").flags(["--crash-on-start", "always"]);
    let (_home, reveille) = Reveille::of(&patient(agent, 600)).await;
    told(&reveille.get("alice", "/").await, &["ends again and again"]);
    // The next client is told at once and with the same reason: failing wakes are backed off.
    told(&reveille.get("alice", "/").await, &["ends again and again"]);
    leaves_nothing(&reveille).await;
}

#[tokio::test]
async fn an_agent_that_crashes_on_its_first_start_is_served_after_its_restart() {
    let agent = Agent::asleep("alice").flags(["--crash-on-start", "1"]);
    let (_home, reveille) = Reveille::of(&patient(agent, 600)).await;
    until("an answer", || async {
        Some(reveille.get("alice", "/").await).filter(|reply| reply.status == 200)
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_refuses_its_port_is_reported_at_the_wake_deadline() {
    let agent = Agent::asleep("alice").unprobed().flags(["--refuse-port"]);
    let (_home, reveille) = Reveille::of(&patient(agent, 2)).await;
    told(
        &reveille.get("alice", "/").await,
        &["port", "answer", "connect"],
    );
    leaves_nothing(&reveille).await;
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_named() {
    let agent = Agent::asleep("alice").command(["no-such-program"]);
    let (_home, reveille) = Reveille::of(&patient(agent, 600)).await;
    told(&reveille.get("alice", "/").await, &["cannot be started"]);
    // Which it is, is for whoever runs it to read.
    until("a line that names it", || async {
        let lines = reveille.log.lines_with("no-such-program");
        (!lines.is_empty()).then_some(())
    })
    .await;
    leaves_nothing(&reveille).await;
}

#[tokio::test]
async fn an_agent_killed_in_the_middle_of_a_request_is_a_502_and_comes_back() {
    let (home, reveille) = Reveille::of(&patient(Agent::asleep("alice"), 60)).await;
    reveille
        .post("alice", "/chat", &json!({"message": "my name is Ada"}))
        .await
        .ok();
    let slow = request(
        http::Method::POST,
        "alice",
        "/slow?ms=600000",
        Empty::<Bytes>::new(),
    );
    let slow = tokio::spawn(send(reveille.listen, slow));
    reveille.await_in_flight("alice", 1).await;
    kill_agents(&home.marker());
    let reply = slow.await.unwrap().unwrap();
    assert_eq!(reply.status, 502, "{reply:?}");
    assert_eq!(reveille.get("alice", "/crash").await.status, 502);
    // The container comes back as the kubelet would bring it back, with what it knew.
    until("an answer", || async {
        let reply = reveille
            .post("alice", "/chat", &json!({"message": "what is my name?"}))
            .await;
        (reply.status == 200 && reply.json()["reply"] == "Your name is Ada.").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_full_lot_a_late_wake_and_an_impatient_client_are_told_apart() {
    let manifests = Manifests::new()
        .agent(Agent::asleep("alice").gated())
        .policy(json!({"cooldownPeriod": 60, "park": {"maxRequests": 2, "maxWait": 10}}));
    let (home, reveille) = Reveille::of(&manifests).await;
    let mut parked = tokio::task::JoinSet::new();
    for _ in 0..2 {
        parked.spawn(send(reveille.listen, post("alice", "/count", &json!({}))));
    }
    reveille.await_parked(2).await;
    let full = reveille.get("alice", "/").await;
    told(&full, &["full", "many", "parked"]);
    for reply in parked.join_all().await {
        let reply = reply.unwrap();
        told(&reply, &["still starting"]);
    }
    let mut impatient = request(http::Method::GET, "alice", "/", Empty::<Bytes>::new());
    impatient
        .headers_mut()
        .insert("x-sandbox-timeout", http::HeaderValue::from_static("0.2"));
    let begin = Instant::now();
    assert_eq!(reveille.send(impatient).await.unwrap().status, 504);
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
    home.open_gate();
    let count = until("the wake", || async {
        Some(reveille.get("alice", "/count").await).filter(|reply| reply.status == 200)
    })
    .await;
    assert_eq!(count.json()["value"], 0, "what expired was not delivered");
}

#[tokio::test]
async fn an_unknown_sandbox_is_a_404_and_a_port_it_does_not_have_is_named_at_once() {
    let (_home, reveille) = Reveille::of(&patient(Agent::asleep("alice"), 60)).await;
    assert_eq!(reveille.get("bob", "/").await.status, 404);
    let mut wrong = request(http::Method::GET, "alice", "/", Empty::<Bytes>::new());
    wrong.headers_mut().insert(
        "host",
        http::HeaderValue::from_static("9999--alice.agents.sandbox.localhost"),
    );
    let reply = reveille.send(wrong).await.unwrap();
    assert_eq!(reply.status, 404, "{reply:?}");
    assert_eq!(reply.json()["reason"], "PortNotDeclared");
    let told = reply.json()["detail"].as_str().unwrap().to_owned();
    assert!(told.contains("no port 9999; it declares 8888"), "{told}");
    assert_eq!(reveille.sandbox("alice").await["state"], "asleep");
    reveille.get("alice", "/").await.ok();
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let home = Home::with(&patient(Agent::asleep("alice"), 60));
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--admin"] {
        let (status, text) = refused(&home, &[flag, &address]).await;
        assert!(!status.success());
        assert!(text.contains(&address), "{text}");
        assert!(text.contains(flag), "{text}");
    }
}

#[tokio::test]
async fn a_full_disk_is_told_to_the_client_and_heals_when_there_is_room() {
    let (_home, reveille) = Reveille::of(&patient(Agent::asleep("alice"), 60)).await;
    reveille
        .post("alice", "/chat", &json!({"message": "my name is Ada"}))
        .await
        .ok();
    reveille.put_to_sleep("alice").await;
    fill_disk(reveille.pid(), true);
    let reply = reveille.get("alice", "/").await;
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(!reply.header("retry-after").is_empty(), "{reply:?}");
    fill_disk(reveille.pid(), false);
    until("an answer", || async {
        let reply = reveille
            .post("alice", "/chat", &json!({"message": "what is my name?"}))
            .await;
        (reply.status == 200 && reply.json()["reply"] == "Your name is Ada.").then_some(())
    })
    .await;
}

/// After refusals: no ticket is left, nothing panicked, and refusing more opens nothing for good.
async fn leaves_nothing(reveille: &Reveille) {
    reveille.await_parked(0).await;
    assert!(
        !reveille.log.tail().contains("panicked"),
        "{}",
        reveille.log.tail()
    );
    let before = descriptors(reveille.pid());
    // Backed off they are told at once; where the pod is up and its port refuses, after a short try.
    for reply in join_all((0..20).map(|_| reveille.get("alice", "/"))).await {
        assert!([502, 503].contains(&reply.status.as_u16()), "{reply:?}");
    }
    until("closed descriptors", || async {
        (descriptors(reveille.pid()) <= before + 4).then_some(())
    })
    .await;
    reveille.await_parked(0).await;
}
