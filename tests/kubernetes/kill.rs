//! Killed under load, each in its turn: an activator, the leading scaler, NATS, the API server.

mod api_server;
mod leader;

use std::time::Duration;

use serde_json::json;

use crate::support::cluster::Cluster;
use crate::support::load::{Load, Tally};
use crate::support::manifests::{Agent, policy};
use crate::support::objects::Kind;
use crate::support::until;

/// Agents under load: the first is always warm, the others have time to sleep.
async fn agents(cluster: &Cluster, count: usize) -> Vec<String> {
    cluster
        .create(policy(json!({"cooldownPeriod": 1, "minimumUptime": 0})))
        .await;
    let names: Vec<String> = (0..count).map(|number| format!("agent-{number}")).collect();
    cluster
        .create_all(names.iter().map(|name| Agent::asleep(name).sandbox()))
        .await;
    for name in &names {
        cluster.get(name, "/").await.ok();
    }
    names
}

/// Requests without end: one client that keeps its agent warm, and some that let theirs sleep.
fn load(cluster: &Cluster, names: &[String]) -> [Load; 2] {
    let warm = Load::on(cluster, &names[..1], Duration::from_millis(100));
    [warm, Load::on(cluster, &names[1..], Duration::from_secs(4))]
}

/// Only the dead activator's clients may have noticed.
fn only_through(tally: &Tally, door: usize) {
    assert!(
        tally.failures.iter().all(|(through, _)| *through == door),
        "{:?}",
        tally.failures
    );
    assert!(tally.refusals.is_empty(), "{:?}", tally.refusals);
}

#[tokio::test]
async fn an_activator_killed_under_load_costs_only_its_own_requests() {
    let mut cluster = Cluster::start().await;
    let names = agents(&cluster, 5).await;
    let [warm, cold] = load(&cluster, &names);
    warm.answers(30).await;
    cluster.activators[1].kill().await;
    warm.answers(60).await;
    cold.answers(5).await;
    // A member that says nothing may have requests in flight: nobody is put to sleep.
    cluster.await_word(&names[1..], "ActivatorsUnheard").await;
    let sleeps = cluster.said("to sleep after");
    cluster.activators[1].restart().await;
    cluster.activators[1].ready().await;
    warm.answers(60).await;
    cold.answers(5).await;
    until("sleeps again", || async {
        (cluster.said("to sleep after") > sleeps).then_some(())
    })
    .await;
    for tally in [warm.end().await, cold.end().await] {
        only_through(&tally, 1);
        tally.agrees_with(&cluster).await;
        let (sent, answered) = tally.sum();
        println!(
            "{sent} sent, {answered} answered, {} failed through the dead activator",
            tally.failures.len()
        );
    }
    cluster.nobody_panicked();
}

#[tokio::test]
async fn nats_killed_under_load_stops_sleeps_and_nothing_else() {
    let mut cluster = Cluster::start().await;
    let names = agents(&cluster, 5).await;
    cluster.create(Agent::asleep("late").sandbox()).await;
    let [warm, cold] = load(&cluster, &names);
    cold.answers(10).await;
    cluster.nats.kill().await;
    for scaler in &cluster.scalers {
        scaler.log.says("lost the connection to nats").await;
    }
    // A sleep to which the activators had agreed before may still be under way.
    for name in &names {
        until("the end of the last sleep", || async {
            let sandbox = cluster.sandbox(name).await?;
            (sandbox["state"] != "draining").then_some(())
        })
        .await;
    }
    let sleeps = cluster.said("to sleep after");
    // Warm traffic goes on, and a wake goes by the scalers' own API.
    warm.answers(60).await;
    let woken = cluster.door(1).get("late", "/").await.ok();
    assert_eq!(woken.header("x-reveille-wake"), "started");
    cold.answers(10).await;
    assert_eq!(cluster.said("to sleep after"), sleeps);
    cluster.nats.restart().await;
    cluster.await_mode("late", "Suspended").await;
    warm.answers(30).await;
    for tally in [warm.end().await, cold.end().await] {
        assert!(
            tally.failures.is_empty() && tally.refusals.is_empty(),
            "{tally:?}"
        );
        tally.agrees_with(&cluster).await;
    }
    for name in &names {
        cluster.await_mode(name, "Suspended").await;
    }
    assert!(cluster.said("to sleep after") > sleeps);
    let pods = cluster.list(Kind::Pod).await;
    assert!(pods.len() <= names.len(), "{pods:#?}");
    cluster.nobody_panicked();
}
