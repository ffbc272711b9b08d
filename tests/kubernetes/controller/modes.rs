//! operatingMode, pods, volumes: C1 to C5, C7 to C9, C12.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::cluster::{Cluster, Setup};
use crate::support::manifests::Agent;
use crate::support::objects::{Kind, condition, uid_of};
use crate::support::until;

/// Holds a deleted pod's object until it is taken away.
const FINALIZER: &str = "agents.x-k8s.io/test-hold";

async fn bare() -> Cluster {
    Setup::default().parts(0, 0).without_nats().start().await
}

/// The pods that a Sandbox controls.
async fn pods_of(cluster: &Cluster, sandbox: &Value) -> Vec<Value> {
    let controlled = |pod: &Value| {
        pod["metadata"]["ownerReferences"]
            .as_array()
            .is_some_and(|owners| {
                owners
                    .iter()
                    .any(|owner| owner["uid"] == sandbox["metadata"]["uid"])
            })
    };
    cluster
        .list(Kind::Pod)
        .await
        .into_iter()
        .filter(controlled)
        .collect()
}

/// C1
#[tokio::test]
async fn a_running_sandbox_says_ready_with_its_address_and_generation() {
    let cluster = bare().await;
    cluster.create(Agent::awake("alice").sandbox()).await;
    let alice = cluster.await_mode("alice", "Running").await;
    assert_eq!(condition(&alice, "Ready"), ("True", "DependenciesReady"));
    assert_eq!(condition(&alice, "Suspended"), ("False", "NotSuspended"));
    assert_eq!(condition(&alice, "PodScheduled").0, "True");
    assert_eq!(alice["metadata"]["generation"], 1);
    let pod = cluster.get_object(Kind::Pod, "alice").await;
    assert_eq!(alice["status"]["podIPs"], json!([pod["status"]["podIP"]]));
}

/// C2, C3, C4, C5
#[tokio::test]
async fn a_cycle_keeps_volume_and_service_and_ends_in_another_pod_of_the_same_name() {
    let cluster = bare().await;
    let alice = Agent::awake("alice")
        .with(json!({"service": true}))
        .sandbox();
    cluster.create(alice).await;
    cluster.await_mode("alice", "Running").await;
    let first = cluster.get_object(Kind::Pod, "alice").await;
    let volume = cluster.get_object(Kind::Volume, "memory-alice").await;
    let service = cluster.get_object(Kind::Service, "alice").await;

    hold(&cluster, Some(FINALIZER)).await;
    cluster.set_mode("alice", "Suspended").await;
    let terminating =
        |sandbox: &Value| condition(sandbox, "Suspended") == ("False", "PodTerminating");
    let alice = cluster
        .await_object("suspending", Kind::Sandbox, "alice", terminating)
        .await;
    assert_eq!(condition(&alice, "Ready"), ("False", "SandboxSuspended"));
    assert_eq!(alice["status"]["podIPs"], json!([first["status"]["podIP"]]));
    let dying = cluster.get_object(Kind::Pod, "alice").await;
    assert!(
        dying["metadata"]["deletionTimestamp"].is_string(),
        "{dying}"
    );

    hold(&cluster, None).await;
    let alice = cluster.await_mode("alice", "Suspended").await;
    assert_eq!(condition(&alice, "Suspended").1, "PodTerminated");
    let ips = alice["status"]["podIPs"].as_array();
    assert!(ips.is_none_or(Vec::is_empty), "{alice}");
    let node = alice["status"]["nodeName"].as_str();
    assert!(node.is_none_or(str::is_empty), "{alice}");
    assert_eq!(condition(&alice, "PodScheduled").0, "");
    let named = |sandbox: &Value| {
        sandbox["metadata"]["annotations"]["agents.x-k8s.io/pod-name"].is_string()
    };
    cluster
        .await_object("no pod named", Kind::Sandbox, "alice", |alice| {
            !named(alice)
        })
        .await;
    let kept = cluster.get_object(Kind::Volume, "memory-alice").await;
    assert_eq!(uid_of(&kept), uid_of(&volume));
    let kept = cluster.get_object(Kind::Service, "alice").await;
    assert_eq!(uid_of(&kept), uid_of(&service));
    assert_eq!(alice["status"]["service"], "alice");

    cluster.set_mode("alice", "Running").await;
    cluster.await_mode("alice", "Running").await;
    let second = cluster.get_object(Kind::Pod, "alice").await;
    assert_ne!(uid_of(&second), uid_of(&first));
    let claim =
        |pod: &Value| pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"].clone();
    assert_eq!(
        (claim(&first), claim(&second)),
        (json!("memory-alice"), json!("memory-alice"))
    );
}

/// Puts a finalizer on the pod, or takes it away.
async fn hold(cluster: &Cluster, finalizer: Option<&str>) {
    let patch = json!({"metadata": {"finalizers": finalizer.map(|name| vec![name])}});
    cluster.patch(Kind::Pod, "alice", &patch).await;
}

/// C7
#[tokio::test]
async fn modes_flipped_faster_than_they_are_made_true_end_as_last_written_with_one_pod_at_most() {
    let cluster = bare().await;
    cluster.create(Agent::awake("alice").sandbox()).await;
    let alice = cluster.await_mode("alice", "Running").await;
    for mode in ["Suspended", "Running", "Suspended", "Running", "Suspended"] {
        cluster.set_mode("alice", mode).await;
        let pods = pods_of(&cluster, &alice).await;
        assert!(pods.len() <= 1, "{pods:#?}");
    }
    cluster.await_mode("alice", "Suspended").await;
    until("no pod", || async {
        pods_of(&cluster, &alice).await.is_empty().then_some(())
    })
    .await;
    cluster.set_mode("alice", "Running").await;
    cluster.await_mode("alice", "Running").await;
    assert_eq!(pods_of(&cluster, &alice).await.len(), 1);
}

/// C8
#[tokio::test]
async fn a_sandbox_created_asleep_has_a_volume_and_no_pod() {
    let cluster = bare().await;
    let alice = Agent::asleep("alice")
        .with(json!({"service": true}))
        .sandbox();
    cluster.create(alice).await;
    let alice = cluster.await_mode("alice", "Suspended").await;
    assert!(pods_of(&cluster, &alice).await.is_empty());
    cluster.get_object(Kind::Volume, "memory-alice").await;
    cluster.get_object(Kind::Service, "alice").await;
}

/// C9
#[tokio::test]
async fn a_pod_deleted_by_a_user_is_made_again_and_the_sandbox_never_says_suspended() {
    let cluster = bare().await;
    cluster.create(Agent::awake("alice").sandbox()).await;
    cluster.await_mode("alice", "Running").await;
    let first = cluster.get_object(Kind::Pod, "alice").await;
    cluster.delete(Kind::Pod, "alice").await;
    let other = |pod: &Value| uid_of(pod) != uid_of(&first);
    let second = cluster
        .await_object("another", Kind::Pod, "alice", other)
        .await;
    let its_ip = |sandbox: &Value| {
        assert_ne!(condition(sandbox, "Suspended").0, "True");
        condition(sandbox, "Ready").0 == "True"
            && sandbox["status"]["podIPs"] != json!([first["status"]["podIP"]])
    };
    cluster
        .await_object("ready again", Kind::Sandbox, "alice", its_ip)
        .await;
    assert_eq!(
        uid_of(&cluster.get_object(Kind::Pod, "alice").await),
        uid_of(&second)
    );
}

/// C12
#[tokio::test]
async fn an_expired_sandbox_is_not_woken_by_its_mode_but_by_a_later_shutdown_time() {
    let cluster = bare().await;
    let alice = Agent::asleep("alice")
        .with(json!({"shutdownTime": "2020-01-01T00:00:00Z"}))
        .sandbox();
    cluster.create(alice).await;
    let expired = |sandbox: &Value| condition(sandbox, "Ready") == ("False", "SandboxExpired");
    cluster
        .await_object("expired", Kind::Sandbox, "alice", expired)
        .await;
    cluster.set_mode("alice", "Running").await;
    let still = |sandbox: &Value| {
        sandbox["metadata"]["generation"] == 2
            && sandbox["status"]["conditions"]
                .as_array()
                .is_some_and(|all| all.iter().any(|c| c["reason"] == "SandboxExpired"))
    };
    let alice = cluster
        .await_object("still expired", Kind::Sandbox, "alice", still)
        .await;
    assert!(pods_of(&cluster, &alice).await.is_empty());
    let later = jiff::Timestamp::now() + Duration::from_secs(3_600);
    let patch = json!({"spec": {"shutdownTime": later.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()}});
    cluster.patch(Kind::Sandbox, "alice", &patch).await;
    cluster.await_mode("alice", "Running").await;
}
