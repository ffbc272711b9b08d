//! Trap R1: a Sandbox that is resumed while its old pod still terminates is published as ready with that
//! pod's address ([`crate::upstream`]). No request may go there.

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::stage;
use crate::support::instances::answered_by;
use crate::support::manifests::{Agent, policy};
use crate::support::objects::{Kind, uid_of};
use crate::support::size;
use crate::timeline::Timeline;
use crate::upstream::about;

/// Requests at once through each activator.
const CROWD: usize = 8;

#[tokio::test]
async fn no_request_reaches_the_dying_pod_of_a_sandbox_that_is_resumed() {
    let rounds = size(4, 20);
    let cluster = stage::cluster().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 3600})))
        .await;
    let agent = Agent::awake("alice").flags(["--ignore-term"]).grace(4);
    cluster.create(agent.sandbox()).await;
    let mut falsely_ready = 0;
    for round in 0..rounds {
        let before = answered_by(&cluster.get("alice", "/").await.ok());
        let timeline = Timeline::of(&cluster, "alice");
        let began = Instant::now();
        cluster.set_mode("alice", "Suspended").await;
        let deleted = timeline
            .first("the pod being deleted", began, |seen| {
                seen.pods.contains_key(&before) && seen.living().is_none()
            })
            .await;
        let ip = deleted.seen.pods[&before].ip.clone().unwrap();
        assert_eq!(
            about(&ip).await["name"],
            before,
            "it answers on, or it is no trap"
        );
        if round % 2 == 0 {
            // A user resumes it; otherwise the requests do.
            cluster.set_mode("alice", "Running").await;
        }
        let mut crowd = JoinSet::new();
        for door in cluster.doors() {
            for _ in 0..CROWD {
                let door = door.clone();
                crowd.spawn(async move { answered_by(&door.get("alice", "/").await.ok()) });
            }
        }
        for by in crowd.join_all().await {
            assert_ne!(by, before, "answered by the pod that was dying");
        }
        let moments = timeline.since(began);
        falsely_ready += u64::from(moments.iter().any(|moment| moment.seen.is_falsely_ready()));
        let now = cluster.get_object(Kind::Pod, "alice").await;
        assert_ne!(uid_of(&now), before);
    }
    println!(
        "{} requests in {rounds} rounds, none to the dying pod; falsely published as ready in {falsely_ready} of them",
        rounds * 2 * CROWD as u64,
    );
    assert!(falsely_ready > 0, "the trap was never set");
    // A pod that is killed is Failed for a moment before it is gone: no reason to sleep.
    assert_eq!(cluster.said("to sleep after"), 0);
    cluster.nobody_panicked();
}
