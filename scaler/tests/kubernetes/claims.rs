//! Claims that sleep under Bind: released, bound anew, and what is left of them.

use super::*;

#[tokio::test]
async fn a_claim_is_released_woken_out_of_its_pool_and_a_crash_in_between_is_cleaned_up() {
    let cluster = Cluster::new("bind").await;
    cluster.claim("desk").await;
    let spec = json!({"cooldownPeriod": 2, "wake": {"strategy": "Bind"}});
    cluster.policy(spec).await;
    let config = Config {
        write_timeout: Duration::from_secs(2),
        ..Config::default()
    };
    let mut scaler = Scaler::start(cluster.client.clone(), &cluster.namespace, config).await;
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
    let gone = async {
        while records.get_opt("desk").await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(cluster::PATIENCE, gone)
        .await
        .expect("it was collected");
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
    let config = Config {
        write_timeout: Duration::from_secs(2),
        ..Config::default()
    };
    let scaler = Scaler::start(cluster.client.clone(), &cluster.namespace, config).await;
    cluster.apply(record("late", "DeleteForeground")).await;
    let records = cluster.all("reveille.dev", "v1alpha1", "ReleasedClaim");
    for name in ["early", "late"] {
        let gone = async {
            while records.get_opt(name).await.unwrap().is_some() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(cluster::PATIENCE, gone)
            .await
            .unwrap_or_else(|_| panic!("{name} was not removed"));
    }
    assert!(records.get_opt("kept").await.unwrap().is_some());
    scaler
        .until(&cluster.key("kept"), |it| it["state"] == "asleep")
        .await;
    scaler.stop().await;
}
