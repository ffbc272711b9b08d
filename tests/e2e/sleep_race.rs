//! A request in the very moment of sleeping is slower, never lost.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::client::{post, send};
use crate::support::manifests::{Agent, Manifests};
use crate::support::reveille::Reveille;
use crate::support::setting;

/// Agents that are asked at the same time; the tries are shared among them.
const AGENTS: u64 = 20;
/// Claims that are asked at the same time.
const CLAIMS: u64 = 10;

#[tokio::test]
async fn a_request_in_the_moment_of_sleeping_is_never_refused_nor_done_twice() {
    let tries = setting("REVEILLE_TEST_RACE_TRIES", 1_000).div_ceil(AGENTS);
    let manifests = (0..AGENTS).fold(Manifests::new(), |all, number| {
        let name = format!("agent-{number}");
        all.agent(Agent::asleep(&name)).object(json!({
            "apiVersion": "reveille.dev/v1alpha1", "kind": "ScaledSandbox",
            "metadata": {"name": name, "namespace": "agents"},
            "spec": {
                "scaleTargetRef": {"kind": "Sandbox", "name": name},
                "cooldownPeriod": number % 2, "minimumUptime": 0,
            },
        }))
    });
    let (_home, reveille) = Reveille::of(&manifests).await;
    let mut clients = JoinSet::new();
    for number in 0..AGENTS {
        let listen = reveille.listen;
        clients.spawn(async move {
            let name = format!("agent-{number}");
            for done in 1..=tries {
                // Arrivals are spread over the time in which cooldown, report and drain end.
                sleep(Duration::from_millis(fastrand::u64(0..2_200))).await;
                let reply = send(listen, post(&name, "/count", &json!({})))
                    .await
                    .unwrap()
                    .ok();
                assert_eq!(reply.json()["value"], done, "{name}: {reply:?}");
            }
        });
    }
    clients.join_all().await;
    let (mut wakes, mut drains) = (0, 0);
    for number in 0..AGENTS {
        wakes += reveille
            .get(&format!("agent-{number}"), "/")
            .await
            .ok()
            .json()["wakes"]
            .as_u64()
            .unwrap();
        drains += reveille.sleeps(&format!("agent-{number}"));
    }
    println!(
        "{} requests, {wakes} wakes, {drains} sleeps",
        tries * AGENTS
    );
    assert!(wakes > AGENTS, "the agents did sleep in between: {wakes}");
}

#[tokio::test]
async fn a_request_in_the_moment_of_a_release_is_bound_again_and_never_refused() {
    let tries = setting("REVEILLE_TEST_RACE_TRIES", 1_000).div_ceil(4 * CLAIMS);
    let mould = Agent::asleep("mould").stateless();
    let manifests = (0..CLAIMS)
        .fold(Manifests::new().pool(&mould, 3), |all, number| {
            all.claim(&format!("claim-{number}"))
        })
        .policy(json!({
            "cooldownPeriod": 0, "minimumUptime": 0, "wake": {"strategy": "Bind"},
        }));
    let (_home, reveille) = Reveille::of(&manifests).await;
    let mut clients = JoinSet::new();
    for number in 0..CLAIMS {
        let listen = reveille.listen;
        clients.spawn(async move {
            let name = format!("claim-{number}");
            for _ in 0..tries {
                sleep(Duration::from_millis(fastrand::u64(0..2_200))).await;
                let reply = send(listen, post(&name, "/chat", &json!({"message": name})))
                    .await
                    .unwrap()
                    .ok();
                // Whoever answers knows nothing of other claims.
                let reply = reply.json()["reply"].as_str().unwrap().to_owned();
                assert!(
                    reply.ends_with(&name) || reply.contains("first thing"),
                    "{name}: {reply}"
                );
            }
        });
    }
    clients.join_all().await;
    let sleeps: usize = (0..CLAIMS)
        .map(|number| reveille.sleeps(&format!("claim-{number}")))
        .sum();
    println!("{} requests, {sleeps} releases", tries * CLAIMS);
    assert!(
        sleeps as u64 > CLAIMS,
        "the claims were released in between: {sleeps}"
    );
}
