//! A busy lease keeps an agent awake though nobody is calling it, in each of the three ways.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::manifests::{Agent, Manifests};
use crate::support::reveille::Reveille;
use crate::support::until;

/// An agent that sleeps as soon as it is quiet.
async fn restless(more: Value) -> (crate::support::home::Home, Reveille) {
    let mut policy = json!({"cooldownPeriod": 0, "minimumUptime": 0});
    if let (Value::Object(policy), Value::Object(more)) = (&mut policy, more) {
        policy.extend(more);
    }
    // A second agent without a lease is the clock: it sleeps when sleeping is possible.
    let manifests = Manifests::new()
        .agent(Agent::asleep("alice"))
        .agent(Agent::asleep("clock"))
        .policy(policy);
    Reveille::of(&manifests).await
}

/// Lets an idle agent sleep three times, while the busy one is seen awake.
async fn busy_while_another_sleeps(reveille: &Reveille) {
    for _ in 0..3 {
        reveille.get("clock", "/").await.ok();
        reveille.await_state("clock", "asleep").await;
        assert_eq!(reveille.sandbox("alice").await["state"], "awake");
    }
    assert_eq!(reveille.sleeps("alice"), 0);
}

#[tokio::test]
async fn an_answer_with_the_busy_header_keeps_the_agent_awake_until_it_is_ended() {
    let (_home, reveille) = restless(json!({})).await;
    let reply = reveille
        .post(
            "alice",
            "/work",
            &json!({"seconds": 600, "background": true}),
        )
        .await;
    assert_eq!(reply.status, 202, "{reply:?}");
    assert_eq!(
        reply.header("x-reveille-busy-for"),
        "",
        "the header goes no further"
    );
    busy_while_another_sleeps(&reveille).await;
    reveille
        .post("alice", "/work", &json!({"seconds": 0, "background": true}))
        .await;
    reveille.await_state("alice", "asleep").await;
}

#[tokio::test]
async fn an_agent_that_says_so_when_asked_stays_awake() {
    let (_home, reveille) = restless(json!({"busy": {"path": "/busy", "period": 1}})).await;
    reveille
        .post("alice", "/busy", &json!({"seconds": 600}))
        .await
        .ok();
    busy_while_another_sleeps(&reveille).await;
    reveille
        .post("alice", "/busy", &json!({"seconds": 0}))
        .await
        .ok();
    reveille.await_state("alice", "asleep").await;
}

#[tokio::test]
async fn a_lease_set_through_the_api_keeps_the_agent_awake_and_expires() {
    let (_home, reveille) = restless(json!({})).await;
    reveille.get("alice", "/").await.ok();
    // The agent may have fallen asleep since; a lease belongs to one that is awake.
    let begin = until("a lease", || async {
        let begin = Instant::now();
        let reply = reveille
            .order("alice", "busy", &json!({"seconds": 8}))
            .await;
        let awake = reply.status.is_success() && reveille.get("alice", "/").await.status == 200;
        (awake
            && reveille
                .order("alice", "busy", &json!({"seconds": 8}))
                .await
                .status
                .is_success())
        .then_some(begin)
    })
    .await;
    reveille.await_state("alice", "asleep").await;
    // It ends on a whole second.
    assert!(begin.elapsed() > Duration::from_secs(6), "{begin:?}");
}

#[tokio::test]
async fn a_busy_header_counts_in_every_life_of_an_agent() {
    let (_home, reveille) = restless(json!({})).await;
    for life in 1..=3 {
        let reply = reveille
            .post(
                "alice",
                "/work",
                &json!({"seconds": 600, "background": true}),
            )
            .await;
        assert_eq!(reply.status, 202, "{reply:?}");
        for _ in 0..2 {
            reveille.get("clock", "/").await.ok();
            reveille.await_state("clock", "asleep").await;
            let alice = reveille.sandbox("alice").await;
            assert_eq!(
                (&alice["state"], &alice["reason"]),
                (&json!("awake"), &json!("Busy")),
                "life {life}: {alice}"
            );
        }
        assert_eq!(reveille.sleeps("alice"), life - 1);
        reveille
            .post("alice", "/work", &json!({"seconds": 0, "background": true}))
            .await;
        reveille.await_state("alice", "asleep").await;
    }
}
