//! A busy lease is asked for at one scaler and obeyed by all, also by those that lead later.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::http::send;
use crate::support::manifests::{Agent, policy};
use crate::support::objects::{Kind, text};
use crate::support::until;

/// Until when it is busy.
const LEASE: &str = "reveille.dev/busy-until";

/// Wakes a sandbox and asks this scaler for a lease on it, again if it fell asleep in between.
async fn lease(cluster: &Cluster, name: &str, scaler: usize, seconds: u64) {
    let path = format!("/v1/sandboxes/{}/{name}/busy", cluster.namespace);
    let body = json!({"seconds": seconds}).to_string();
    until(&format!("a lease on {name}"), || async {
        cluster.get(name, "/").await.ok();
        let request = Request::post(&path)
            .header("host", "reveille")
            .header("content-type", "application/json")
            .body(Full::<Bytes>::from(body.clone()))
            .unwrap();
        let reply = send(cluster.scalers[scaler].admin, request).await.unwrap();
        // 503: the API server took longer than a write may.
        assert!(
            [200, 409, 503].contains(&reply.status.as_u16()),
            "{reply:?}"
        );
        (reply.status == 200).then_some(())
    })
    .await;
}

/// Another sandbox, which nobody calls busy, is used and sleeps: the cooldowns of all have passed since.
async fn a_cooldown_passes(cluster: &Cluster) {
    cluster.get("bob", "/").await.ok();
    cluster.await_mode("bob", "Suspended").await;
}

#[tokio::test]
async fn a_lease_asked_for_at_the_scaler_that_follows_outlives_the_one_that_leads() {
    let cluster = Cluster::start().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 1, "minimumUptime": 0})))
        .await;
    for name in ["alice", "bob"] {
        cluster.create(Agent::asleep(name).sandbox()).await;
    }
    let old = cluster.leader().await;
    lease(&cluster, "alice", 1 - old, 3600).await;
    let leased = cluster.get_object(Kind::Sandbox, "alice").await;
    a_cooldown_passes(&cluster).await;
    a_cooldown_passes(&cluster).await;

    cluster.scalers[old].kill().await;
    cluster.await_new_leader(old).await;
    a_cooldown_passes(&cluster).await;
    cluster.await_word(&["alice".to_owned()], "Busy").await;
    let still = cluster.get_object(Kind::Sandbox, "alice").await;
    assert_eq!(still["spec"]["operatingMode"], "Running");
    let epoch = |alice: &Value| alice["metadata"]["annotations"]["reveille.dev/epoch"].clone();
    assert_eq!(epoch(&still), epoch(&leased), "it never slept");

    let end = Timestamp::now() + SignedDuration::from_secs(3);
    let annotation = end.to_string();
    cluster
        .annotate(Kind::Sandbox, "alice", LEASE, Some(&annotation))
        .await;
    let asleep = cluster.await_mode("alice", "Suspended").await;
    let annotations = &asleep["metadata"]["annotations"];
    let slept: Timestamp = text(&annotations["reveille.dev/last-sleep"])
        .parse()
        .unwrap();
    assert!(slept >= end, "slept at {slept}, busy until {end}");
    assert!(annotations[LEASE].is_null(), "it ends with its epoch");
}
