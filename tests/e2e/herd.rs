//! Many at once.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::client::{post, send};
use crate::support::home::Home;
use crate::support::manifests::{Agent, Manifests};
use crate::support::process::agents;
use crate::support::reveille::Reveille;
use crate::support::until;

#[tokio::test]
async fn five_hundred_requests_cost_one_wake_and_are_executed_once_each() {
    let (home, reveille) = Reveille::of(&Manifests::one(Agent::asleep("alice").gated(), 60)).await;
    let mut requests = JoinSet::new();
    for _ in 0..500 {
        requests.spawn(send(reveille.listen, post("alice", "/count", &json!({}))));
    }
    reveille.await_parked(500).await;
    home.open_gate();
    let replies = requests.join_all().await;
    let values: BTreeSet<u64> = replies
        .into_iter()
        .map(|reply| reply.unwrap().ok().json()["value"].as_u64().unwrap())
        .collect();
    assert_eq!(values, (1..=500).collect());
    let about = reveille.get("alice", "/").await.ok().json();
    assert_eq!(about["wakes"], 1);
    assert_eq!(
        reveille.get("alice", "/count").await.ok().json()["value"],
        500
    );
    assert_eq!(reveille.log.count("woke agents/alice"), 1);
    reveille.await_parked(0).await;
}

#[tokio::test]
async fn requests_are_delivered_in_the_order_of_their_arrival() {
    let manifests = Manifests::new()
        .agent(Agent::asleep("alice").gated())
        .policy(json!({"cooldownPeriod": 60, "park": {"releaseConcurrency": 1}}));
    let (home, reveille) = Reveille::of(&manifests).await;
    let mut requests = Vec::new();
    for number in 1..=100_u32 {
        requests.push(tokio::spawn(send(
            reveille.listen,
            post("alice", "/count", &json!({})),
        )));
        reveille.await_parked(number).await;
    }
    home.open_gate();
    let orders: Vec<u64> = join_all(requests)
        .await
        .into_iter()
        .map(|reply| {
            reply.unwrap().unwrap().ok().json()["order"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert_eq!(orders, (1..=100).collect::<Vec<_>>());
}

#[tokio::test]
async fn fifty_agents_are_woken_at_once() {
    let names: Vec<String> = (1..=50).map(|n| format!("agent-{n:02}")).collect();
    let manifests = names
        .iter()
        .fold(Manifests::new(), |all, name| all.agent(Agent::asleep(name)));
    let manifests = manifests.policy(patient(60));
    let (_home, reveille) = Reveille::of(&manifests).await;
    let replies = join_all(names.iter().map(|name| reveille.get(name, "/"))).await;
    for (name, reply) in names.iter().zip(replies) {
        let about = reply.ok().json();
        assert_eq!((&about["name"], &about["wakes"]), (&json!(name), &json!(1)));
    }
}

#[tokio::test]
async fn fifty_claims_are_bound_from_a_pool_of_five_and_the_rest_cold() {
    let names: Vec<String> = (1..=50).map(|n| format!("claim-{n:02}")).collect();
    let mould = Agent::asleep("mould").stateless();
    let manifests = names
        .iter()
        .fold(Manifests::new().pool(&mould, 5), |all, name| {
            all.claim(name)
        });
    let mut spec = patient(0);
    spec["wake"]["strategy"] = "Bind".into();
    let manifests = manifests.policy(spec);
    let (home, reveille) = Reveille::of(&manifests).await;
    asleep(&reveille, &names).await;
    until("a full pool", || async {
        (agents(&home.marker()).len() == 5).then_some(())
    })
    .await;

    let replies = join_all(names.iter().map(|name| reveille.get(name, "/"))).await;
    let abouts: Vec<Value> = replies.into_iter().map(|reply| reply.ok().json()).collect();
    let homes: BTreeSet<&str> = abouts
        .iter()
        .map(|about| about["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        homes.len(),
        50,
        "each claim has a sandbox of its own: {homes:?}"
    );
    let from_pool = homes
        .iter()
        .filter(|name| name.starts_with("pool-"))
        .count();
    assert!(from_pool > 0, "{homes:?}");
    assert!(
        abouts.iter().all(|about| about["wakes"] == 1),
        "nobody gets what another has used"
    );
}

/// So many seconds quiet, and patience with fifty starts at once.
fn patient(cooldown: u32) -> Value {
    json!({
        "cooldownPeriod": cooldown, "minimumUptime": 0,
        "wake": {"deadline": 170}, "park": {"maxWait": 170},
    })
}

/// Waits until all of them sleep.
async fn asleep(reveille: &Reveille, names: &[String]) {
    for name in names {
        reveille.await_state(name, "asleep").await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_parked_is_not_delivered_and_the_wake_goes_on() {
    let home = Home::with(&Manifests::one(Agent::asleep("alice").gated(), 60));
    let reveille = Reveille::start(&home).await;
    let leaver = tokio::spawn(send(reveille.listen, post("alice", "/count", &json!({}))));
    reveille.await_parked(1).await;
    leaver.abort();
    reveille.await_parked(0).await;
    home.open_gate();
    reveille.await_state("alice", "awake").await;
    let count = reveille.get("alice", "/count").await.ok();
    assert_eq!(count.json()["value"], 0);
    assert_eq!(reveille.get("alice", "/").await.ok().json()["wakes"], 1);
}
