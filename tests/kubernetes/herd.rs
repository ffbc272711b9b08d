//! Many at once, and many at rest.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::support::audit::Asked;
use crate::support::cluster::Cluster;
use crate::support::figures::Phases;
use crate::support::manifests::{Agent, policy};
use crate::support::objects::{Kind, epoch};
use crate::support::{size, until};

/// Objects that the test creates at a time.
const AT_ONCE: usize = 16;

/// `agent-0`, `agent-1`, …, all created.
async fn fleet(cluster: &Cluster, count: u64, agent: impl Fn(&str) -> Agent) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|number| format!("agent-{number}")).collect();
    stream::iter(&names)
        .for_each_concurrent(AT_ONCE, |name| {
            let sandbox = agent(name).sandbox();
            async move {
                cluster.try_create(sandbox).await.unwrap();
            }
        })
        .await;
    cluster.known().await;
    names
}

/// Waits until the policy counts so many asleep.
async fn all_asleep(cluster: &Cluster, count: u64) {
    cluster
        .await_object("all asleep", Kind::Policy, "all", |policy| {
            policy["status"]["asleep"] == count
        })
        .await;
}

#[tokio::test]
async fn a_fleet_woken_at_once_through_both_activators_costs_one_effective_patch_each() {
    let count = size(40, 200);
    let cluster = Cluster::start().await;
    cluster
        .create(policy(
            json!({"cooldownPeriod": 3600, "wake": {"deadline": 300}, "park": {"maxWait": 300}}),
        ))
        .await;
    let names = fleet(&cluster, count, |name| Agent::asleep(name).stateless()).await;
    all_asleep(&cluster, count).await;
    let doors = cluster.doors();
    let begin = Instant::now();
    // Each sandbox is asked for through both at the same moment.
    let asked = names
        .iter()
        .flat_map(|name| doors.iter().map(move |door| door.get_at_last(name, "/")));
    let replies = futures_util::future::join_all(asked).await;
    let took = begin.elapsed();
    for (place, reply) in replies.into_iter().enumerate() {
        let name = &names[place / doors.len()];
        assert_eq!(reply.ok().json()["hostname"], name.as_str());
    }
    let mut patches: BTreeMap<String, u32> = BTreeMap::new();
    let mut refused = 0;
    for asked in cluster.audit.asked() {
        if asked.is_ours() && asked.verb == "patch" && asked.resource == "sandboxes" {
            if asked.code == 200 {
                *patches.entry(asked.name).or_default() += 1;
            } else {
                refused += 1;
            }
        }
    }
    assert!(
        patches.values().all(|&patches| patches == 1),
        "{patches:#?}"
    );
    for sandbox in cluster.list(Kind::Sandbox).await {
        // The log has no success where the answer came too late for a write that was done.
        assert_eq!(epoch(&sandbox), 1, "{sandbox}");
        let text = sandbox["status"]["conditions"].to_string();
        assert!(!text.contains("MultiplePods"), "{sandbox}");
    }
    println!(
        "{count} sandboxes through {} activators in {took:.1?}; {refused} patches refused by their fence",
        doors.len()
    );
    Phases::of(&cluster).print("herd");
    cluster.nobody_panicked();
}

#[tokio::test]
async fn a_fleet_at_rest_costs_no_call_but_watches_lease_and_heartbeats() {
    let (count, seconds) = (size(200, 1_000), size(10, 20));
    let cluster = Cluster::start().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 1, "minimumUptime": 0})))
        .await;
    let names = fleet(&cluster, count, |name| Agent::asleep(name).stateless()).await;
    all_asleep(&cluster, count).await;
    // One that has just gone to sleep is at rest like the others.
    cluster.get(&names[0], "/").await.ok();
    cluster.await_mode(&names[0], "Suspended").await;
    all_asleep(&cluster, count).await;
    until("a fleet at rest", || calls_within(&cluster, seconds)).await;
    cluster.nobody_panicked();
}

/// Nothing, if in so many seconds there was no call but watches and the lease's. What happened before may
/// still be written down in the first of them: status, Events.
async fn calls_within(cluster: &Cluster, seconds: u64) -> Option<()> {
    let rest = cluster.audit.since_now();
    sleep(Duration::from_secs(seconds)).await;
    let mut calls: BTreeMap<(String, String), u32> = BTreeMap::new();
    for asked in rest.asked().into_iter().filter(Asked::is_ours) {
        // A watch that begins anew is still a watch.
        if asked.verb != "watch" {
            *calls.entry((asked.verb, asked.resource)).or_default() += 1;
        }
    }
    println!("asleep for {seconds} s: {calls:?}");
    calls.retain(|(_, resource), _| resource != "leases");
    calls.is_empty().then_some(())
}
