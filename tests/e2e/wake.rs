//! One agent sleeps, is asked, and is the same agent.

use serde_json::json;

use crate::support::manifests::{Agent, Manifests};
use crate::support::process::agents;
use crate::support::reveille::Reveille;
use crate::support::until;

#[tokio::test]
async fn twenty_sleeps_and_wakes_lose_nothing() {
    let (_home, reveille) = Reveille::of(&Manifests::one(Agent::asleep("alice"), 0)).await;
    reveille
        .post("alice", "/chat", &json!({"message": "my name is Ada"}))
        .await
        .ok();
    for cycle in 1..=20 {
        reveille.await_state("alice", "asleep").await;
        let recalled = reveille
            .post("alice", "/chat", &json!({"message": "what is my name?"}))
            .await
            .ok();
        assert_eq!(recalled.json()["reply"], "Your name is Ada.");
        assert_eq!(recalled.json()["turn"], cycle + 1);
        assert_eq!(recalled.header("x-reveille-wake"), "started");
        let about = reveille.get("alice", "/").await.ok().json();
        assert_eq!(about["name"], "alice");
        assert_eq!(about["hostname"], "alice");
        assert_eq!(about["remembered"], cycle + 1);
    }
    let about = reveille.get("alice", "/").await.ok().json();
    assert!(about["wakes"].as_u64().unwrap() >= 20, "{about}");
}

#[tokio::test]
async fn a_wake_says_what_it_cost_and_a_warm_request_that_it_cost_nothing() {
    let (_home, reveille) = Reveille::of(&Manifests::one(Agent::asleep("alice"), 60)).await;
    let cold = reveille.get("alice", "/").await.ok();
    assert_eq!(cold.header("x-reveille-wake"), "started");
    let timing = cold.header("server-timing");
    assert!(
        timing.contains("park;dur=") && timing.contains("wake;dur="),
        "{timing}"
    );
    let warm = reveille.get("alice", "/").await.ok();
    assert_eq!(warm.header("x-reveille-wake"), "none");
    assert_eq!(warm.json()["pid"], cold.json()["pid"]);
    let woke = reveille.says("woke agents/alice").await;
    let text = woke["message"].as_str().unwrap();
    assert!(
        text.starts_with("woke agents/alice for a request in "),
        "{woke}"
    );
    assert_eq!(
        (&woke["event"], &woke["cause"]),
        (&json!("woke"), &json!("http"))
    );
}

#[tokio::test]
async fn a_quiet_agent_sleeps_after_its_cooldown_and_the_log_says_so() {
    let (home, reveille) = Reveille::of(&Manifests::one(Agent::asleep("alice"), 1)).await;
    reveille.get("alice", "/").await.ok();
    reveille.says("put agents/alice to sleep").await;
    reveille.await_state("alice", "asleep").await;
    until("the end of its process", || async {
        agents(&home.marker()).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_router_headers_of_the_sdks_reach_the_agent() {
    let (_home, reveille) = Reveille::of(&Manifests::one(Agent::asleep("alice"), 60)).await;
    let request = http::Request::get("/echo/a%2Fb//c?x=1&y")
        .header("host", "anything.example")
        .header("x-sandbox-id", "alice")
        .header("x-sandbox-namespace", "agents")
        .header("x-sandbox-port", "8888")
        .header("x-sandbox-timeout", "60")
        .header("authorization", "Bearer secret")
        .header("x-kept", "yes")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let seen = reveille.send(request).await.unwrap().ok().json();
    assert_eq!(
        (&seen["path"], &seen["query"]),
        (&json!("/echo/a%2Fb//c"), &json!("x=1&y"))
    );
    let names: Vec<&str> = seen["headers"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|h| h[0].as_str())
        .collect();
    assert!(
        [
            "x-kept",
            "x-forwarded-for",
            "authorization",
            "x-sandbox-id",
            "x-sandbox-namespace"
        ]
        .iter()
        .all(|name| names.contains(name)),
        "{names:?}"
    );
    assert!(
        !names
            .iter()
            .any(|name| ["x-sandbox-timeout", "x-sandbox-pod-ip"].contains(name)),
        "{names:?}"
    );
}

#[tokio::test]
async fn an_operator_wakes_puts_to_sleep_and_holds() {
    let (_home, reveille) = Reveille::of(&Manifests::one(Agent::asleep("alice"), 3600)).await;
    reveille.obeys("alice", "wake", &json!({})).await;
    reveille.await_state("alice", "awake").await;
    reveille.put_to_sleep("alice").await;
    reveille
        .obeys("alice", "hold", &json!({"mode": "asleep"}))
        .await;
    // The proxy hears of it a moment later; what it let through until then is put to sleep again.
    let answers = |status: u16| {
        let reveille = &reveille;
        until("the hold to be heard of", move || async move {
            Some(reveille.get("alice", "/").await).filter(|reply| reply.status == status)
        })
    };
    assert_eq!(answers(503).await.json()["reason"], "HeldAsleep");
    reveille.await_state("alice", "asleep").await;
    reveille.obeys("alice", "release", &json!({})).await;
    answers(200).await;
}

#[tokio::test]
async fn a_sandbox_without_a_policy_is_woken_and_never_put_to_sleep() {
    let (_home, reveille) = Reveille::of(&Manifests::new().agent(Agent::asleep("alice"))).await;
    reveille.get("alice", "/").await.ok();
    let sandbox = reveille.await_state("alice", "awake").await;
    assert!(sandbox["nextSleepInSeconds"].is_null(), "{sandbox}");
}
