//! The scaler that leads is killed, or stops for a while and comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::cluster::Cluster;
use crate::support::figures::Phases;
use crate::support::manifests::{Agent, policy};
use crate::support::objects::{Kind, epoch, text};
use crate::support::{size, until};

/// So many Sandboxes, asleep, and patience with them.
async fn herd_asleep(count: u64) -> (Cluster, Vec<String>) {
    let cluster = Cluster::start().await;
    let spec = json!({"cooldownPeriod": 3600, "wake": {"deadline": 300}, "park": {"maxWait": 300}});
    cluster.create(policy(spec)).await;
    let names: Vec<String> = (0..count).map(|number| format!("agent-{number}")).collect();
    let agents = names.iter().map(|name| Agent::asleep(name).stateless());
    cluster
        .create_all(agents.map(|agent| agent.sandbox()))
        .await;
    await_all_asleep(&cluster, count).await;
    (cluster, names)
}

async fn await_all_asleep(cluster: &Cluster, count: u64) {
    cluster
        .await_object("all asleep", Kind::Policy, "all", |policy| {
            policy["status"]["asleep"] == count
        })
        .await;
}

#[tokio::test]
async fn the_leader_killed_during_a_herd_of_wakes_loses_none_of_them() {
    let count = size(40, 200);
    let (mut cluster, names) = herd_asleep(count).await;
    let leader = cluster.leader().await;
    let doors = cluster.doors();
    let begin = Instant::now();
    let asked = async {
        let asked = names
            .iter()
            .zip(doors.iter().cycle())
            .map(|(name, door)| async move {
                let reply = door.get_at_last(name, "/").await;
                (reply, begin.elapsed())
            });
        join_all(asked).await
    };
    let killed = async {
        until("some wakes", || async {
            (patched(&cluster) >= 5).then_some(())
        })
        .await;
        cluster.scalers[leader].kill().await;
        (patched(&cluster), begin.elapsed())
    };
    let (replies, (before, when)) = tokio::join!(asked, killed);
    let mut longest = Duration::ZERO;
    for ((reply, took), name) in replies.into_iter().zip(&names) {
        assert_eq!(reply.ok().json()["hostname"], name.as_str());
        longest = longest.max(took);
        // A write whose answer the dead leader did not live to see counts as well.
        let sandbox = cluster.get_object(Kind::Sandbox, name).await;
        assert_eq!(epoch(&sandbox), 1, "{name}");
    }
    println!(
        "{count} wakes, leader killed after {before} of them at {when:.1?}, the last answered at {longest:.1?}"
    );
    Phases::of(&cluster).print("herd without its leader");

    // The other one leads in its turn, and it is obeyed.
    cluster.await_new_leader(leader).await;
    cluster.scalers[leader].restart().await;
    cluster
        .patch(
            Kind::Policy,
            "all",
            &json!({"spec": {"cooldownPeriod": 1, "minimumUptime": 0}}),
        )
        .await;
    await_all_asleep(&cluster, count).await;
    cluster.nobody_panicked();
}

/// Sandboxes woken so far.
fn patched(cluster: &Cluster) -> usize {
    let asked = cluster.audit.asked();
    let woken = asked.iter().filter(|asked| {
        asked.is_ours()
            && asked.verb == "patch"
            && asked.resource == "sandboxes"
            && asked.code == 200
    });
    woken.count()
}

#[tokio::test]
async fn a_leader_that_was_paused_puts_nobody_to_sleep_after_another_began() {
    let cluster = Cluster::start().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 5, "minimumUptime": 0})))
        .await;
    let names: Vec<String> = (0..6).map(|number| format!("agent-{number}")).collect();
    cluster
        .create_all(names.iter().map(|name| Agent::asleep(name).sandbox()))
        .await;
    let old = cluster.leader().await;
    for woken in join_all(names.iter().map(|name| cluster.get(name, "/"))).await {
        woken.ok();
    }
    // Everything it needs to put them to sleep is in its hands; only the time has not come.
    cluster.scalers[old].freeze(true);
    let new = cluster.await_new_leader(old).await;
    // A write that the old one sent off before it was frozen has been done by now.
    let mut before = BTreeMap::new();
    for name in &names {
        let sandbox = cluster.get_object(Kind::Sandbox, name).await;
        before.insert(sandbox_path(&sandbox), epoch(&sandbox));
    }
    for name in &names {
        cluster.await_mode(name, "Suspended").await;
    }
    for name in &names {
        cluster.get(name, "/").await.ok();
    }
    cluster.scalers[old].freeze(false);
    cluster.scalers[old]
        .log
        .event("the end of its leadership", |event| event["leads"] == false)
        .await;
    for name in &names {
        cluster.await_mode(name, "Suspended").await;
        cluster.get(name, "/").await.ok();
    }
    let slept = |number: usize| -> Vec<Value> {
        let lines = cluster.scalers[number].log.lines_with("to sleep after");
        let events = lines
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        events
            .filter(|event| event["epoch"].as_u64().unwrap() > before[&text(&event["sandbox"])])
            .collect()
    };
    assert_eq!(slept(old).len(), 0, "{:#?}", slept(old));
    assert!(slept(new).len() >= names.len(), "{:#?}", slept(new));
    let epochs: BTreeSet<String> = slept(new)
        .iter()
        .map(|event| format!("{} {}", event["sandbox"], event["epoch"]))
        .collect();
    assert_eq!(epochs.len(), slept(new).len(), "no epoch was slept twice");
    cluster.nobody_panicked();
}

/// As logs name it.
fn sandbox_path(sandbox: &Value) -> String {
    let of = |field: &str| text(&sandbox["metadata"][field]);
    format!("{}/{}", of("namespace"), of("name"))
}
