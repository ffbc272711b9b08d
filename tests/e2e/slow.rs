//! Agents that take longer to start than anybody waits: they come up for a client that just asks again.

use serde_json::json;

use crate::support::manifests::{Agent, Manifests};
use crate::support::reveille::Reveille;
use crate::support::until;

/// Requests wait for 2 s, the agent listens after 6, and a cooldown passes meanwhile.
async fn comes_up(agent: Agent) {
    let agent = agent.flags(["--start-delay-ms", "6000"]);
    let policy = json!({
        "cooldownPeriod": 2, "minimumUptime": 0, "wake": {"deadline": 2}, "park": {"maxWait": 2},
    });
    let (_home, reveille) = Reveille::of(&Manifests::new().agent(agent).policy(policy)).await;
    let first = reveille.get("alice", "/count").await;
    assert_eq!(first.status, 503, "{first:?}");
    assert!(!first.header("retry-after").is_empty(), "{first:?}");
    let detail = first.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("still starting"), "{detail}");
    // As a client that heeds Retry-After, with a pause longer than the cooldown.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let answered = until("an answer", || async {
        let reply = reveille.get("alice", "/count").await;
        assert!([200, 503].contains(&reply.status.as_u16()), "{reply:?}");
        Some(reply).filter(|reply| reply.status == 200)
    })
    .await;
    assert_ne!(
        answered.header("x-reveille-wake"),
        "started",
        "{answered:?}"
    );
    let tail = reveille.log.tail();
    assert!(!tail.contains("panicked"), "{tail}");
}

#[tokio::test]
async fn an_agent_that_listens_later_than_anybody_waits_comes_up_with_a_readiness_probe() {
    comes_up(Agent::asleep("alice")).await;
}

#[tokio::test]
async fn an_agent_that_listens_later_than_anybody_waits_comes_up_without_a_readiness_probe() {
    comes_up(Agent::asleep("alice").unprobed()).await;
}
