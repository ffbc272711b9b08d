//! Asleep, asked for, awake, quiet, asleep: the loop itself.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::cluster::{Cluster, Door};
use crate::support::figures::Phases;
use crate::support::http::Reply;
use crate::support::instances::{Instances, answered_by};
use crate::support::manifests::{Agent, policy};
use crate::support::objects::{Kind, uid_of};
use crate::support::{size, until};

#[tokio::test]
async fn a_request_through_either_activator_wakes_a_sandbox_that_remembers() {
    let cycles = size(6, 40);
    let cluster = Cluster::start().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 1, "minimumUptime": 0})))
        .await;
    let alice = cluster.create(Agent::asleep("alice").sandbox()).await;
    let instances = Instances::of(&cluster);
    let mut pods = Vec::new();
    for cycle in 0..cycles {
        let door = cluster.door(usize::try_from(cycle % 2).unwrap());
        let message = json!({"message": format!("thing {cycle}")});
        let woken = door.post("alice", "/chat", &message).await.ok();
        assert_eq!(woken.header("x-reveille-wake"), "started", "{woken:?}");
        let timing = woken.header("server-timing");
        assert!(
            timing.contains("park;dur=") && timing.contains("wake;dur="),
            "{timing}"
        );
        assert_eq!(woken.json()["turn"], cycle + 1);
        let about = door.get("alice", "/").await.ok();
        let pod = answered_by(&about);
        let about: Value = about.json();
        assert_eq!(about["hostname"], "alice");
        // A second without a request, which a busy machine may need between two, is a reason to sleep:
        // more pods than cycles there may be, but each starts its agent once.
        instances.pods().await_pod(&pod).await;
        let started = instances.pods().of("alice");
        assert_eq!(about["wakes"], started, "{:#?}", instances.pods());
        pods.push(pod);
        let asleep = cluster.await_mode("alice", "Suspended").await;
        assert_eq!(uid_of(&asleep), uid_of(&alice));
    }
    pods.dedup();
    assert_eq!(
        pods.len() as u64,
        cycles,
        "every wake has a pod of its own: {pods:?}"
    );
    let annotations = &cluster.get_object(Kind::Sandbox, "alice").await["metadata"]["annotations"];
    assert_eq!(annotations["reveille.dev/wake-reason"], "http");
    // Two writes a pod, unless one got no answer in time and was made again.
    let (writes, pods) = (cluster.writes("alice").await, instances.pods());
    let most = usize::try_from(writes / 2).unwrap();
    assert!(pods.of("alice") <= most, "{annotations}: {pods:#?}");
    Phases::of(&cluster).print("one sandbox on the node agent");
    cluster.nobody_panicked();
}

#[tokio::test]
async fn requests_through_both_activators_cost_one_wake() {
    let cluster = Cluster::start().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 3600})))
        .await;
    cluster
        .create(
            Agent::asleep("alice")
                .flags(["--ready-delay-ms", "500"])
                .sandbox(),
        )
        .await;
    cluster.await_state("alice", "asleep").await;
    let doors = cluster.doors();
    let requests = (0..100).map(|number| doors[number % doors.len()].count("alice"));
    let replies = join_all(requests).await;
    let mut values: Vec<u64> = replies
        .into_iter()
        .map(|reply| reply.ok().json()["value"].as_u64().unwrap())
        .collect();
    values.sort_unstable();
    assert_eq!(values, (1..=100).collect::<Vec<_>>());
    assert_eq!(cluster.writes("alice").await, 1);
    let about = cluster.get("alice", "/").await.ok().json();
    assert_eq!(about["wakes"], 1);
}

#[tokio::test]
async fn a_wake_by_hand_and_a_sleep_by_hand_are_understood() {
    let cluster = Cluster::start().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 3600})))
        .await;
    cluster.create(Agent::asleep("alice").sandbox()).await;
    for _ in 0..2 {
        cluster.set_mode("alice", "Running").await;
        let woken = answer(&cluster.door(0)).await;
        cluster.await_mode("alice", "Running").await;
        cluster.set_mode("alice", "Suspended").await;
        cluster.await_mode("alice", "Suspended").await;
        let again = answer(&cluster.door(1)).await;
        assert_ne!(answered_by(&again), answered_by(&woken));
        cluster.set_mode("alice", "Suspended").await;
        cluster.await_mode("alice", "Suspended").await;
    }
}

#[tokio::test]
async fn a_pod_that_is_deleted_under_traffic_is_replaced_without_a_wake() {
    let cluster = Cluster::start().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 3600})))
        .await;
    cluster.create(Agent::awake("alice").sandbox()).await;
    let first = answered_by(&cluster.get("alice", "/").await.ok());
    cluster.delete(Kind::Pod, "alice").await;
    cluster
        .await_object("another", Kind::Pod, "alice", |pod| uid_of(pod) != first)
        .await;
    let reply = answer(&cluster.door(0)).await;
    assert_ne!(answered_by(&reply), first);
    assert_eq!(cluster.writes("alice").await, 0);
}

/// Alice's answer, once the activator has heard what was done to her by hand: until then it may dial a pod
/// that is gone, and says so.
async fn answer(door: &Door) -> Reply {
    until("an answer of alice", || async {
        Some(door.get("alice", "/").await).filter(|reply| reply.status != 502)
    })
    .await
    .ok()
}
