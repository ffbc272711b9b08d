//! Claims that sleep under Bind: released, bound anew, and what is left of them.

use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, DynamicObject};

use super::*;

/// Waits until there is no record of this name.
async fn until_removed(records: &Api<DynamicObject>, name: &str) {
    let gone = async {
        while records.get_opt(name).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(cluster::PATIENCE, gone)
        .await
        .unwrap_or_else(|_| panic!("{name} was not removed"));
}

/// With a short time for a write, three of which a record is left alone.
fn quick() -> Config {
    Config {
        write_timeout: Duration::from_secs(2),
        ..Config::default()
    }
}

#[tokio::test]
async fn a_claim_is_released_woken_out_of_its_pool_and_a_crash_in_between_is_cleaned_up() {
    let cluster = Cluster::new("bind").await;
    cluster.claim("desk").await;
    let spec = json!({"cooldownPeriod": 2, "wake": {"strategy": "Bind"}});
    cluster.policy(spec).await;
    let mut scaler = Scaler::start(cluster.client.clone(), &cluster.namespace, quick()).await;
    let key = cluster.key("desk");
    let records = cluster.all("reveille.dev", "v1alpha1", "ReleasedClaim");
    let record = cluster.until(&records, "desk", |_| true).await;
    scaler.until(&key, |it| it["state"] == "asleep").await;
    cluster
        .patch(
            &cluster.policies(),
            "fleet",
            json!({"spec": {"cooldownPeriod": 600}}),
        )
        .await;
    scaler
        .wake_until(&key, |outcome| {
            matches!(outcome, OutcomeKind::Waking { .. })
        })
        .await;
    scaler.until(&key, |it| it["state"] == "awake").await;
    let claims = cluster.all("extensions.agents.x-k8s.io", "v1beta1", "SandboxClaim");
    let claim = cluster.until(&claims, "desk", |_| true).await;
    assert_ne!(claim["metadata"]["uid"], record["spec"]["claimUid"]);
    // A release that crashed after its first step.
    cluster.apply(json!({
        "apiVersion": "reveille.dev/v1alpha1", "kind": "ReleasedClaim",
        "metadata": {"name": "desk", "annotations": {"reveille.dev/epoch": "9"}},
        "spec": {"claimUid": claim["metadata"]["uid"], "claim": {"apiVersion": claim["apiVersion"], "spec": claim["spec"]}},
    })).await;
    let kept = cluster
        .until(&claims, "desk", |it| {
            it["metadata"]["annotations"]["reveille.dev/epoch"] == "9"
        })
        .await;
    assert_eq!(kept["metadata"]["uid"], claim["metadata"]["uid"]);
    until_removed(&records, "desk").await;
    scaler.until(&key, |it| it["state"] == "awake").await;
    scaler.stop().await;
}

#[tokio::test]
async fn of_claims_that_sleep_beyond_their_shutdown_time_the_leader_removes_those_that_were_to_be_deleted()
 {
    let cluster = Cluster::new("ended").await;
    let record = |name: &str, policy: &str| {
        json!({
            "apiVersion": "reveille.dev/v1alpha1", "kind": "ReleasedClaim",
            "metadata": {"name": name, "annotations": {"reveille.dev/epoch": "2"}},
            "spec": {"claimUid": format!("of-{name}"), "claim": {
                "apiVersion": "extensions.agents.x-k8s.io/v1beta1",
                "spec": {
                    "warmPoolRef": {"name": "pool"},
                    "lifecycle": {"shutdownTime": "2020-01-01T00:00:00Z", "shutdownPolicy": policy},
                },
            }},
        })
    };
    cluster.apply(record("kept", "Retain")).await;
    cluster.apply(record("early", "Delete")).await;
    let scaler = Scaler::start(cluster.client.clone(), &cluster.namespace, quick()).await;
    cluster.apply(record("late", "DeleteForeground")).await;
    let records = cluster.all("reveille.dev", "v1alpha1", "ReleasedClaim");
    for name in ["early", "late"] {
        until_removed(&records, name).await;
    }
    assert!(records.get_opt("kept").await.unwrap().is_some());
    scaler
        .until(&cluster.key("kept"), |it| it["state"] == "asleep")
        .await;
    scaler.stop().await;
}

#[tokio::test]
async fn a_claim_that_nobody_asks_for_is_forgotten_at_its_removal_time_which_is_told_a_day_ahead() {
    let cluster = Cluster::new("lapsed").await;
    let now = Timestamp::now();
    let record = |name: &str, hours: i64| {
        let removal = now + SignedDuration::from_hours(hours) + SignedDuration::from_secs(5);
        json!({
            "apiVersion": "reveille.dev/v1alpha1", "kind": "ReleasedClaim",
            "metadata": {"name": name, "annotations": {"reveille.dev/epoch": "2"}},
            "spec": {
                "claimUid": format!("of-{name}"), "removalTime": removal.to_string(),
                "claim": {
                    "apiVersion": "extensions.agents.x-k8s.io/v1beta1",
                    "spec": {"warmPoolRef": {"name": "pool"}},
                },
            },
        })
    };
    for (name, hours) in [("overdue", -1), ("last-day", 12), ("due", 24)] {
        cluster.apply(record(name, hours)).await;
    }
    let scaler = Scaler::start(cluster.client.clone(), &cluster.namespace, quick()).await;
    let records = cluster.all("reveille.dev", "v1alpha1", "ReleasedClaim");
    let (note, about) = cluster.event("RemovalDue").await;
    assert_eq!(
        (&about["kind"], &about["name"]),
        (&json!("ReleasedClaim"), &json!("due"))
    );
    let uid = records.get("due").await.unwrap().metadata.uid.unwrap();
    assert_eq!(about["uid"], uid.as_str());
    for part in [
        "is removed",
        "answers 404",
        "write a later spec.removalTime",
    ] {
        assert!(note.contains(part), "{part}: {note}");
    }
    until_removed(&records, "overdue").await;
    for name in ["last-day", "due"] {
        assert!(records.get_opt(name).await.unwrap().is_some(), "{name}");
    }
    let removal = json!({"spec": {"removalTime": Timestamp::now().to_string()}});
    cluster.patch(&records, "due", removal).await;
    until_removed(&records, "due").await;
    scaler.stop().await;
}

#[tokio::test]
async fn a_claim_that_a_tool_makes_again_after_its_release_stays_bound_for_later_leaders_too() {
    let cluster = Cluster::new("again").await;
    cluster.claim("desk").await;
    let cooldown = |seconds: u32| json!({"spec": {"cooldownPeriod": seconds}});
    cluster.policy(json!({"wake": {"strategy": "Bind"}})).await;
    let scaler = Scaler::start(cluster.client.clone(), &cluster.namespace, quick()).await;
    let records = cluster.all("reveille.dev", "v1alpha1", "ReleasedClaim");
    let record = cluster.until(&records, "desk", |_| true).await;
    let key = cluster.key("desk");
    scaler.until(&key, |it| it["state"] == "asleep").await;
    let policies = cluster.policies();
    cluster.patch(&policies, "fleet", cooldown(600)).await;
    // The tool finds it missing.
    cluster.claim("desk").await;
    let claims = cluster.all("extensions.agents.x-k8s.io", "v1beta1", "SandboxClaim");
    let marked = |claim: &Value| {
        let name = claim["status"]["sandbox"]["name"].as_str();
        let since = claim["metadata"]["annotations"]["reveille.dev/stays-bound"].as_str();
        since.is_some() && name.is_some_and(|name| !name.is_empty())
    };
    let claim = cluster.until(&claims, "desk", marked).await;
    assert_ne!(claim["metadata"]["uid"], record["spec"]["claimUid"]);
    let (note, _) = cluster.event("ClaimMadeAgain").await;
    assert!(note.contains("write strategy: Restore"), "{note}");
    scaler.stop().await;

    cluster.patch(&policies, "fleet", cooldown(1)).await;
    let scaler = Scaler::start(cluster.client.clone(), &cluster.namespace, quick()).await;
    let sandbox = claim["status"]["sandbox"]["name"].as_str().unwrap();
    let asleep = cluster
        .until(&cluster.sandboxes(), sandbox, |it| {
            it["spec"]["operatingMode"] == "Suspended"
        })
        .await;
    let releasing = &asleep["metadata"]["annotations"]["reveille.dev/releasing"];
    assert!(releasing.is_null(), "it is released: {releasing}");
    let living = claims.get("desk").await.unwrap();
    assert_eq!(
        living.metadata.uid.as_deref(),
        claim["metadata"]["uid"].as_str()
    );
    scaler.stop().await;
}
