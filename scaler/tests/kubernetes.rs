//! The scaler over a real API server, with upstream's controller and pods that replay a script.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "kubernetes/claims.rs"]
mod claims;
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/cut.rs"]
mod cut;
#[path = "kubernetes/mistakes.rs"]
mod mistakes;
#[path = "support/scaler.rs"]
mod scaler;

use std::sync::Arc;
use std::time::Duration;

use cluster::{Cluster, client};
use cut::{Cut, Way};
use kube::api::{Patch, PatchParams};
use reveille_crds::message::OutcomeKind;
use reveille_scaler::config::Config;
use scaler::Scaler;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

#[tokio::test]
async fn a_sandbox_is_woken_by_a_request_and_put_to_sleep_and_everybody_can_read_why() {
    let cluster = Cluster::new("cycle").await;
    cluster
        .sandbox("alice", json!({"operatingMode": "Suspended"}))
        .await;
    cluster.policy(json!({})).await;
    let mut scaler = Scaler::start(
        cluster.client.clone(),
        &cluster.namespace,
        Config::default(),
    )
    .await;
    let key = cluster.key("alice");
    let waking = scaler
        .wake_until(&key, |outcome| {
            matches!(outcome, OutcomeKind::Waking { .. })
        })
        .await;
    assert_eq!(waking, OutcomeKind::Waking { epoch: 1 });
    let pods = cluster.all("", "v1", "Pod");
    let pod = cluster.until(&pods, "alice", |_| true).await;
    let pod = pod["metadata"]["uid"].as_str().unwrap();
    scaler.ready(&key, pod).await;
    let slept = cluster.until_mode("alice", "Suspended", "2").await;
    let annotations = &slept["metadata"]["annotations"];
    assert_eq!(annotations["reveille.dev/wake-reason"], "http");
    assert_eq!(annotations["reveille.dev/sleep-reason"], "idle");

    let (note, about) = cluster.event("Woke").await;
    assert!(note.contains("cause http"), "{note}");
    assert_eq!(
        (&about["kind"], &about["uid"]),
        (&json!("Sandbox"), &slept["metadata"]["uid"])
    );
    let (note, _) = cluster.event("Slept").await;
    assert!(note.contains("cause idle"), "{note}");

    let policies = cluster.policies();
    let status = cluster
        .until(&policies, "fleet", |policy| policy["status"]["asleep"] == 1)
        .await;
    assert_eq!(status["status"]["observedGeneration"], 1);
    assert!(status["status"]["lastWake"].is_string(), "{status:#}");
    cluster
        .patch(&policies, "fleet", json!({"spec": {"cooldownPeriod": 2}}))
        .await;
    let status = cluster
        .until(&policies, "fleet", |policy| {
            policy["status"]["observedGeneration"] == 2
        })
        .await;
    let conditions = status["status"]["conditions"].as_array().unwrap();
    assert!(
        conditions.iter().all(|it| it["observedGeneration"] == 2),
        "{status:#}"
    );
    scaler.stop().await;
}

#[tokio::test]
async fn an_expired_sandbox_is_refused_with_that_reason_and_woken_once_its_time_is_moved() {
    let cluster = Cluster::new("expired").await;
    let spec = json!({"operatingMode": "Suspended", "shutdownTime": "2020-01-01T00:00:00Z"});
    cluster.sandbox("alice", spec).await;
    let mut scaler = Scaler::start(
        cluster.client.clone(),
        &cluster.namespace,
        Config::default(),
    )
    .await;
    let key = cluster.key("alice");
    let refused = scaler
        .wake_until(&key, |outcome| {
            matches!(outcome, OutcomeKind::Refused { .. })
        })
        .await;
    let OutcomeKind::Refused { reason, .. } = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(reason, "SandboxExpired");
    let moved = json!({"spec": {"shutdownTime": "2099-01-01T00:00:00Z"}});
    cluster.patch(&cluster.sandboxes(), "alice", moved).await;
    scaler
        .wake_until(&key, |outcome| {
            matches!(outcome, OutcomeKind::Waking { .. })
        })
        .await;
    cluster.until_mode("alice", "Running", "1").await;
    scaler.stop().await;
}

#[tokio::test]
async fn a_sleep_that_admission_denies_is_told_as_an_event_with_the_words_of_the_policy() {
    let cluster = Cluster::new("denied").await;
    let name = cluster.namespace.clone();
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["agents.x-k8s.io"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["sandboxes"],
            }]},
            "validations": [{"expression": "object.spec.operatingMode == 'Running'", "message": "no sleeping on duty"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name, "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}},
        },
    });
    cluster.testbed.apply(&policy.to_string()).await.unwrap();
    cluster.testbed.apply(&binding.to_string()).await.unwrap();
    cluster.sandbox("alice", json!({})).await;
    // A policy takes effect a moment after it was created.
    let sleep = Patch::Merge(json!({"spec": {"operatingMode": "Suspended"}}));
    let tried = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let at_work = async {
        while cluster
            .sandboxes()
            .patch("alice", &tried, &sleep)
            .await
            .is_ok()
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(cluster::PATIENCE, at_work)
        .await
        .expect("the policy takes effect");
    cluster.policy(json!({"cooldownPeriod": 3})).await;
    let scaler = Scaler::start(
        cluster.client.clone(),
        &cluster.namespace,
        Config::default(),
    )
    .await;
    let (note, about) = cluster.event("SleepRefused").await;
    assert!(note.contains("no sleeping on duty"), "{note}");
    assert_eq!(about["name"], "alice");
    let state = scaler
        .until(&cluster.key("alice"), |it| it["state"] == "awake")
        .await;
    assert_eq!(state["epoch"], 0);
    scaler.stop().await;
}

#[tokio::test]
async fn while_the_api_is_away_who_waits_is_told_so_in_time_and_it_heals_by_itself() {
    let cluster = Cluster::new("away").await;
    cluster
        .sandbox("alice", json!({"operatingMode": "Suspended"}))
        .await;
    let cut = Cut::new(cluster.testbed).await;
    let config = Config {
        write_timeout: Duration::from_secs(1),
        ..Config::default()
    };
    let through = client(cut.kubeconfig.clone()).await;
    let mut scaler = Scaler::start(through, &cluster.namespace, config).await;
    let key = cluster.key("alice");
    scaler.until(&key, |it| it["state"] == "asleep").await;
    for way in [Way::Hanging, Way::Closed] {
        cut.way.send_replace(way);
        let begun = Instant::now();
        let failed = scaler
            .wake_until(&key, |outcome| {
                matches!(outcome, OutcomeKind::Failed { .. })
            })
            .await;
        let OutcomeKind::Failed {
            reason,
            retry_after_ms,
            ..
        } = &failed
        else {
            panic!("{failed:?}")
        };
        assert_eq!(
            (reason.as_str(), *retry_after_ms),
            ("ApiUnavailable", 3000),
            "{failed:?}"
        );
        let took = begun.elapsed();
        assert!(
            took < Duration::from_secs(30),
            "long before its deadline of 60 s: {took:?}"
        );
        // Who comes with the next request is told at once, until the pause is over.
        let path = format!("/v1/sandboxes/{}/alice/wake", cluster.namespace);
        let (status, body) = scaler
            .call("POST", &path, Some(json!({"cause": "http"})))
            .await;
        assert_eq!(
            (status.as_u16(), &body["reason"]),
            (503, &json!("ApiUnavailable"))
        );
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    cut.way.send_replace(Way::Open);
    scaler
        .wake_until(&key, |outcome| {
            matches!(outcome, OutcomeKind::Waking { .. })
        })
        .await;
    cluster.until_mode("alice", "Running", "1").await;
    scaler.stop().await;
}

#[tokio::test]
async fn two_scalers_that_are_both_asked_wake_a_sandbox_once() {
    let cluster = Cluster::new("twice").await;
    let names: Vec<String> = (0..10).map(|number| format!("agent-{number}")).collect();
    for name in &names {
        cluster
            .sandbox(name, json!({"operatingMode": "Suspended"}))
            .await;
    }
    let one = Scaler::start(
        cluster.client.clone(),
        &cluster.namespace,
        Config::default(),
    )
    .await;
    let two = Scaler::start(
        cluster.client.clone(),
        &cluster.namespace,
        Config::default(),
    )
    .await;
    for name in &names {
        let key = cluster.key(name);
        tokio::join!(one.wake(&key), two.wake(&key));
    }
    for name in &names {
        let key = cluster.key(name);
        for scaler in [&one, &two] {
            let state = scaler.until(&key, |it| it["state"] == "awake").await;
            assert_eq!(state["epoch"], 1);
        }
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_member_that_appears_blocks_every_sleep_until_it_is_gone() {
    let cluster = Cluster::new("members").await;
    cluster.sandbox("alice", json!({})).await;
    cluster.policy(json!({"cooldownPeriod": 3})).await;
    let own: Arc<str> = "standalone".into();
    let (members, seen) = watch::channel(vec![Arc::clone(&own), Arc::from("ghost")]);
    let config = Config {
        members: seen,
        ..Config::default()
    };
    let scaler = Scaler::start(cluster.client.clone(), &cluster.namespace, config).await;
    let key = cluster.key("alice");
    let state = scaler
        .until(&key, |it| it["reason"] == "ActivatorsUnheard")
        .await;
    assert_eq!(state["why"], "activator ghost has not been heard yet");
    members.send_replace(vec![own]);
    cluster.until_mode("alice", "Suspended", "1").await;
    scaler.stop().await;
}

/// As Argo CD and Flux do, and `kubectl apply`.
#[tokio::test]
async fn a_sandbox_that_is_applied_again_and_again_sleeps_on_unless_what_is_applied_says_its_mode()
{
    let cluster = Cluster::new("applied").await;
    cluster.sandbox("alice", json!({})).await;
    cluster.policy(json!({})).await;
    let scaler = Scaler::start(
        cluster.client.clone(),
        &cluster.namespace,
        Config::default(),
    )
    .await;
    cluster.until_mode("alice", "Suspended", "1").await;
    scaler.stop().await;
    let mode = async || {
        let alice = cluster.sandboxes().get("alice").await.unwrap();
        alice.data["spec"]["operatingMode"].clone()
    };
    for _ in 0..3 {
        cluster.sandbox("alice", json!({})).await;
        assert_eq!(mode().await, "Suspended");
    }
    let said = json!({"operatingMode": "Running"});
    cluster.sandbox("alice", said).await;
    assert_eq!(mode().await, "Running");
}

#[tokio::test]
async fn of_two_policies_for_sandboxes_that_come_later_the_one_that_loses_says_so() {
    let cluster = Cluster::new("overruled").await;
    cluster.policy(json!({})).await;
    cluster
        .apply(json!({
            "apiVersion": "reveille.dev/v1alpha1", "kind": "ScaledSandbox", "metadata": {"name": "late"},
            "spec": {"selector": {"matchLabels": {"fleet": "test"}}},
        }))
        .await;
    let scaler = Scaler::start(
        cluster.client.clone(),
        &cluster.namespace,
        Config::default(),
    )
    .await;
    let policies = cluster.policies();
    let ready = |policy: &Value| {
        let conditions = policy["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let ready = conditions.find(|it| it["type"] == "Ready");
        ready.map_or(Value::Null, |it| it["reason"].clone())
    };
    for name in ["fleet", "late"] {
        cluster
            .until(&policies, name, |it| ready(it) == "NothingToGovern")
            .await;
    }
    cluster.sandbox("alice", json!({})).await;
    // Created within one second, either may count as the older.
    let (mut first, mut second) = ("fleet", "late");
    let decided = |it: &Value| {
        ["Governing", "Overruled"]
            .map(Value::from)
            .contains(&ready(it))
    };
    if ready(&cluster.until(&policies, first, decided).await) == "Overruled" {
        (first, second) = (second, first);
    }
    cluster
        .until(&policies, first, |it| ready(it) == "Governing")
        .await;
    cluster
        .until(&policies, second, |it| ready(it) == "Overruled")
        .await;
    let alice = cluster.sandboxes();
    let params = kube::api::DeleteParams::default();
    drop(alice.delete("alice", &params).await.unwrap());
    for name in ["fleet", "late"] {
        cluster
            .until(&policies, name, |it| ready(it) == "NothingToGovern")
            .await;
    }
    scaler.stop().await;
}
