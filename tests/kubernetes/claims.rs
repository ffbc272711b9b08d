//! Claims: found by two names, followed when their Sandbox is replaced, released and bound again.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::cluster::{Cluster, Door};
use crate::support::http::Reply;
use crate::support::instances::{Instances, Pods, answered_by};
use crate::support::manifests::{Agent, claim, policy, pool};
use crate::support::objects::{Kind, name_of, uid_of};
use crate::support::until;

async fn with_pool(members: u32, spec: Value) -> Cluster {
    let cluster = Cluster::start().await;
    cluster.create(policy(spec)).await;
    cluster.create_all(pool(&Agent::mould(), members)).await;
    cluster
        .await_object("filled", Kind::WarmPool, "pool", |pool| {
            pool["status"]["readyReplicas"] == members
        })
        .await;
    cluster
}

#[tokio::test]
async fn a_claimed_sandbox_sleeps_and_is_woken_by_the_claims_name_and_by_its_own() {
    let spec = json!({"cooldownPeriod": 1, "minimumUptime": 0});
    let cluster = with_pool(1, spec).await;
    cluster.create(claim("alice", json!({}))).await;
    let sandbox = cluster.bound("alice").await;
    let own = name_of(&sandbox);
    assert_ne!(own, "alice");
    for name in ["alice", &own, "alice", &own] {
        cluster.await_mode(&own, "Suspended").await;
        let woken = cluster.get(name, "/").await.ok();
        assert_eq!(woken.json()["hostname"], own.as_str());
        assert_eq!(woken.header("x-reveille-wake"), "started");
    }
    let same = cluster.bound("alice").await;
    assert_eq!(uid_of(&same), uid_of(&sandbox));
    // A member that nobody has claimed is nobody's to reach.
    let member = until("another member", || async {
        let members = cluster.list(Kind::Sandbox).await;
        let other = |other: &Value| uid_of(other) != uid_of(&sandbox);
        members.into_iter().find(other)
    })
    .await;
    assert_eq!(cluster.get(&name_of(&member), "/").await.status, 404);
}

/// R7: the name stays, all else is new.
#[tokio::test]
async fn a_claim_whose_sandbox_is_deleted_under_traffic_is_answered_for_by_the_new_one_alone() {
    let spec = json!({"cooldownPeriod": 3600});
    let cluster = with_pool(2, spec).await;
    let instances = Instances::of(&cluster);
    cluster.create(claim("alice", json!({}))).await;
    let mut sandbox = cluster.bound("alice").await;
    for round in 0..3 {
        let first = until("an answer", || async {
            Some(cluster.get("alice", "/").await).filter(|reply| reply.status == 200)
        })
        .await;
        let old = answered_by(&first);
        let traffic = tokio::spawn(until_another(
            cluster.door(round % 2),
            instances.pods(),
            old.clone(),
        ));
        cluster.delete_this(Kind::Sandbox, &sandbox).await;
        let (reply, dropped) = traffic.await.unwrap();
        let new = instances.pods().await_pod(&answered_by(&reply)).await;
        assert_ne!(new.sandbox_uid, uid_of(&sandbox));
        // One at most was under way when the old pod was killed.
        assert!(dropped <= 1, "{dropped} requests were dropped");
        sandbox = cluster.bound_to("alice", &new.sandbox_uid).await;
        assert_eq!(
            cluster.get(&name_of(&sandbox), "/").await.ok().json()["name"],
            reply.json()["name"]
        );
    }
    cluster.nobody_panicked();
}

/// Asks until another pod than `old` answers; no request goes to a pod that was known to be dying when
/// it was sent. Gives that answer, and how many requests died with the old pod.
async fn until_another(door: Door, pods: Pods, old: String) -> (Reply, u32) {
    let mut dropped = 0;
    loop {
        let dying = pods.dying();
        let reply = door.get("alice", "/").await;
        match reply.status.as_u16() {
            200 => {
                let by = answered_by(&reply);
                // What the test's own watch knows, the activator's may learn a moment later.
                sleep(Duration::from_millis(20)).await;
                assert!(!dying.contains(&by) || by == old, "{by} was gone");
                if by != old {
                    return (reply, dropped);
                }
            }
            502 => dropped += 1,
            // Between the deletion of one and the binding of the next.
            404 | 503 => sleep(Duration::from_millis(20)).await,
            _ => panic!("{reply:?}"),
        }
    }
}

#[tokio::test]
async fn a_claim_is_released_when_quiet_and_bound_again_when_asked_for() {
    let cluster = with_pool(2, bind(1)).await;
    let made = claim(
        "worker",
        json!({"additionalPodMetadata": {"annotations": {"example.com/a": "b"}}}),
    );
    let made = cluster.create(made).await;
    let mut sandboxes = Vec::new();
    for cycle in 0_usize..3 {
        // Busy, so that it is not released while the test looks at it.
        let door = cluster.door(cycle % 2);
        let busy = door.post("worker", "/work", &work(3_600)).await;
        assert_eq!(busy.status, 202, "{busy:?}");
        let reply = door.get("worker", "/").await.ok();
        let living = cluster.get_object(Kind::Claim, "worker").await;
        // Upstream's controller writes down its defaults whenever it writes a claim.
        for (field, value) in made["spec"].as_object().unwrap() {
            assert_eq!(living["spec"][field], *value, "{field}");
        }
        assert_eq!(living["metadata"]["labels"], made["metadata"]["labels"]);
        let sandbox = cluster.bound("worker").await;
        assert_eq!(reply.json()["hostname"], sandbox["metadata"]["name"]);
        sandboxes.push(uid_of(&sandbox));
        door.post("worker", "/work", &work(0)).await;
        let released = |released: &Value| released["spec"]["claimUid"] == living["metadata"]["uid"];
        cluster
            .await_object("released", Kind::Released, "worker", released)
            .await;
        cluster.await_gone(Kind::Claim, "worker").await;
        cluster.await_gone(Kind::Sandbox, &name_of(&sandbox)).await;
        assert_eq!(
            cluster.await_state("worker", "asleep").await["name"],
            "worker"
        );
    }
    sandboxes.dedup();
    assert_eq!(sandboxes.len(), 3, "every binding takes a fresh replica");
    cluster.get("worker", "/").await.ok();
    cluster.await_gone(Kind::Released, "worker").await;
    cluster.nobody_panicked();
}

/// Sleeps by release after so many seconds.
fn bind(cooldown: u32) -> Value {
    json!({"cooldownPeriod": cooldown, "minimumUptime": 0, "wake": {"strategy": "Bind"}})
}

/// Tells the agent to be busy for so many seconds, and not to wait for it.
fn work(seconds: u32) -> Value {
    json!({"seconds": seconds, "background": true})
}

#[tokio::test]
async fn a_released_claim_that_a_user_deletes_is_forgotten() {
    let cluster = with_pool(1, bind(1)).await;
    cluster.create(claim("worker", json!({}))).await;
    cluster.get("worker", "/").await.ok();
    cluster
        .await_object("released", Kind::Released, "worker", |_| true)
        .await;
    cluster.await_gone(Kind::Claim, "worker").await;
    cluster.delete(Kind::Released, "worker").await;
    // Whoever has not heard of it yet would wake it.
    cluster.known().await;
    assert_eq!(cluster.get("worker", "/").await.status, 404);
    assert!(cluster.find(Kind::Claim, "worker").await.is_none());
}

#[tokio::test]
async fn twenty_claims_on_a_pool_of_three_are_all_answered_and_released() {
    let mut spec = bind(2);
    spec["wake"]["deadline"] = 300.into();
    spec["park"] = json!({"maxWait": 300});
    let cluster = with_pool(3, spec).await;
    let names: Vec<String> = (0..20)
        .map(|number| format!("worker-{number:02}"))
        .collect();
    cluster
        .create_all(names.iter().map(|name| claim(name, json!({}))))
        .await;
    let doors = cluster.doors();
    let asked = names
        .iter()
        .zip(doors.iter().cycle())
        .map(|(name, door)| door.get_at_last(name, "/"));
    let mut pods: Vec<String> = futures_util::future::join_all(asked)
        .await
        .into_iter()
        .map(|reply| answered_by(&reply.ok()))
        .collect();
    pods.sort();
    pods.dedup();
    assert_eq!(
        pods.len(),
        names.len(),
        "two claims were answered by one pod"
    );
    for name in &names {
        cluster.await_gone(Kind::Claim, name).await;
        cluster
            .await_object("released", Kind::Released, name, |_| true)
            .await;
    }
}
