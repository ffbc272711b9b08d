//! A request in the very moment of sleeping is slower, never lost, never sent to a pod that dies.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::cluster::{Cluster, Door};
use crate::support::figures::Phases;
use crate::support::instances::{Instances, Pods, answered_by};
use crate::support::manifests::{Agent, policy};
use crate::support::objects::uid_of;
use crate::support::size;

/// Sandboxes that are asked at the same time; the tries are shared among them.
const AGENTS: u64 = 10;

#[tokio::test]
async fn a_request_in_the_moment_of_sleeping_is_answered_once_and_by_no_dying_pod() {
    let tries = size(120, 1_000).div_ceil(AGENTS);
    let cluster = Cluster::start().await;
    let instances = Instances::of(&cluster);
    cluster
        .create(policy(json!({"cooldownPeriod": 1, "minimumUptime": 0})))
        .await;
    let mut clients = JoinSet::new();
    for number in 0..AGENTS {
        let name = format!("agent-{number}");
        // Some go on answering while they die, until they are killed.
        let agent = if number % 3 == 0 {
            Agent::asleep(&name).flags(["--ignore-term"]).grace(1)
        } else {
            Agent::asleep(&name)
        };
        let sandbox = cluster.create(agent.sandbox()).await;
        clients.spawn(one(cluster.doors(), instances.pods(), sandbox, tries));
    }
    let moments: u64 = clients.join_all().await.iter().sum();
    let sleeps = cluster.said("to sleep after");
    println!(
        "{} requests, {moments} of them on the heels of a sleep, {sleeps} sleeps",
        tries * AGENTS
    );
    Phases::of(&cluster).print("race");
    assert!(
        moments > tries,
        "few were asked for while they went to sleep: {moments}"
    );
    cluster.nobody_panicked();
}

/// Asks one sandbox again and again, half of the time the moment it is told to sleep, else whenever.
/// Gives how often the former was the case.
async fn one(doors: Vec<Door>, pods: Pods, sandbox: Value, tries: u64) -> u64 {
    let name = sandbox["metadata"]["name"].as_str().unwrap().to_owned();
    let uid = uid_of(&sandbox);
    let (mut counted, mut moments) = (0, 0);
    for attempt in 0..tries {
        let door = &doors[fastrand::usize(..doors.len())];
        if attempt > 0 && fastrand::bool() {
            pods.told_to_sleep(&uid).await;
            moments += 1;
        } else {
            // Spread over the time in which cooldown, report and drain end.
            sleep(Duration::from_millis(fastrand::u64(0..2_500))).await;
        }
        if fastrand::bool() {
            let reply = door.count(&name).await.ok();
            counted += 1;
            assert_eq!(reply.json()["value"], counted, "{name}: {reply:?}");
        } else {
            let dying = pods.dying();
            let reply = door.get(&name, "/").await.ok();
            let by = answered_by(&reply);
            assert!(
                !dying.contains(&by),
                "{name} was answered for by a dying pod: {reply:?}"
            );
        }
    }
    moments
}
