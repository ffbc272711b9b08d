//! Asleep, asked for, awake, quiet, asleep: the loop itself, in containers.

use serde_json::json;

use crate::stage;
use crate::support::figures::Phases;
use crate::support::instances::answered_by;
use crate::support::manifests::{Agent, policy};
use crate::support::objects::{Kind, uid_of};
use crate::support::size;

#[tokio::test]
async fn a_request_wakes_a_container_that_remembers_and_goes_back_to_sleep() {
    let cycles = size(6, 40);
    let cluster = stage::cluster().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 1, "minimumUptime": 0})))
        .await;
    let alice = cluster.create(Agent::asleep("alice").sandbox()).await;
    let claim = cluster
        .await_object("there", Kind::Volume, "memory-alice", |_| true)
        .await;
    let mut pods = Vec::new();
    for cycle in 0..cycles {
        let door = cluster.door(usize::try_from(cycle % 2).unwrap());
        let message = json!({"message": format!("thing {cycle}")});
        let woken = door.post("alice", "/chat", &message).await.ok();
        println!(
            "wake {cycle} through {}: {}",
            cycle % 2,
            woken.header("server-timing")
        );
        assert_eq!(woken.header("x-reveille-wake"), "started", "{woken:?}");
        assert_eq!(
            woken.json()["turn"],
            cycle + 1,
            "what was said before is kept"
        );
        let about = door.get("alice", "/").await.ok();
        assert_eq!(about.json()["wakes"], cycle + 1);
        pods.push(answered_by(&about));
        // Nobody asks any more: it goes to sleep by itself.
        let asleep = cluster.await_mode("alice", "Suspended").await;
        assert_eq!(uid_of(&asleep), uid_of(&alice));
    }
    pods.dedup();
    assert_eq!(pods.len() as u64, cycles, "every wake has a pod of its own");
    let volume = cluster.get_object(Kind::Volume, "memory-alice").await;
    assert_eq!(uid_of(&volume), uid_of(&claim), "the claim is the same");
    Phases::of(&cluster).print("one sandbox on the real node");
    cluster.nobody_panicked();
}
