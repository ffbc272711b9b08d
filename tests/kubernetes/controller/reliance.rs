//! What Reveille does with what upstream's controller publishes: C6 and C21.

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::access::Account;
use crate::support::cluster::{Cluster, Setup};
use crate::support::http::Reply;
use crate::support::instances::{Instances, answered_by};
use crate::support::manifests::{Agent, policy};
use crate::support::objects::{Kind, condition, uid_of};
use crate::support::until;

/// In what the admission policy of deploy/base says when it denies.
const FENCE: &str = "ValidatingAdmissionPolicy 'reveille-scaler'";

/// C6: the dying pod answers on its port to the end, and upstream may call it ready again.
#[tokio::test]
async fn a_sandbox_woken_while_its_pod_terminates_is_answered_for_by_the_new_pod_alone() {
    let cluster = Cluster::start().await;
    let instances = Instances::of(&cluster);
    cluster
        .create(policy(json!({"cooldownPeriod": 3600})))
        .await;
    cluster
        .create(Agent::awake("alice").flags(["--ignore-term"]).sandbox())
        .await;
    cluster.await_mode("alice", "Running").await;
    let old = answered_by(&cluster.get("alice", "/").await.ok());

    cluster.set_mode("alice", "Suspended").await;
    cluster
        .await_object("dying", Kind::Pod, "alice", |pod| {
            pod["metadata"]["deletionTimestamp"].is_string()
        })
        .await;
    let request = parked(&cluster, &old).await;
    let running = |sandbox: &Value| sandbox["spec"]["operatingMode"] == "Running";
    cluster
        .await_object("woken", Kind::Sandbox, "alice", running)
        .await;
    let mut called_ready = false;
    while !request.is_finished() {
        let alice = cluster.get_object(Kind::Sandbox, "alice").await;
        let pod = cluster.find(Kind::Pod, "alice").await;
        called_ready |=
            condition(&alice, "Ready").0 == "True" && pod.is_some_and(|pod| uid_of(&pod) == old);
    }
    let reply = request.await.unwrap().ok();
    let new = answered_by(&reply);
    assert_ne!(new, old, "the dying pod answered");
    instances.pods().await_dying(&old).await;
    println!("upstream called the dying pod ready after the resume: {called_ready}");
}

/// A request for alice that the second activator has parked. Until it has heard that she is to sleep, it
/// rightly sends to her pod.
async fn parked(cluster: &Cluster, old: &str) -> JoinHandle<Reply> {
    loop {
        let door = cluster.door(1);
        let request = tokio::spawn(async move { door.get("alice", "/").await });
        let parked = until("a request parked or answered", || async {
            let metric = "reveille_activator_parked_requests";
            if cluster.activators[1].metric(metric, &[]).await > 0.0 {
                return Some(true);
            }
            request.is_finished().then_some(false)
        })
        .await;
        if parked {
            return request;
        }
        let reply = request.await.unwrap().ok();
        if answered_by(&reply) != old {
            return tokio::spawn(async move { reply });
        }
    }
}

/// C21
#[tokio::test]
async fn the_scaler_changes_nothing_but_the_mode_and_its_annotations_and_the_activator_nothing() {
    let cluster = Cluster::start().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 1, "minimumUptime": 0})))
        .await;
    cluster.create(Agent::asleep("alice").sandbox()).await;
    for _ in 0..2 {
        cluster.get("alice", "/").await.ok();
        cluster.await_mode("alice", "Suspended").await;
    }
    let alice = cluster.get_object(Kind::Sandbox, "alice").await;
    let managed = alice["metadata"]["managedFields"].as_array().unwrap();
    let ours: Vec<&Value> = managed
        .iter()
        .filter(|entry| entry["manager"] == "reveille-scaler")
        .collect();
    assert!(!ours.is_empty(), "{managed:#?}");
    for entry in ours {
        assert!(entry["subresource"].is_null(), "{entry:#}");
        let fields = entry["fieldsV1"].as_object().unwrap();
        for (field, inside) in fields {
            let inside: Vec<&String> = inside.as_object().unwrap().keys().collect();
            match field.as_str() {
                "f:metadata" => assert_eq!(inside, ["f:annotations"]),
                "f:spec" => assert_eq!(inside, ["f:operatingMode"]),
                other => panic!("{other} is not ours to write: {entry:#}"),
            }
        }
        let annotations = fields["f:metadata"]["f:annotations"].as_object().unwrap();
        for name in annotations.keys().filter(|name| *name != ".") {
            assert!(name.starts_with("f:reveille.dev/"), "{name}");
        }
    }
    for asked in cluster.audit.asked() {
        let writes = !["get", "list", "watch"].contains(&asked.verb.as_str());
        assert!(!(asked.by(Account::Activator) && writes), "{asked:?}");
        if asked.is_ours() {
            assert!(asked.agent.starts_with("reveille-"), "{asked:?}");
        }
        if asked.by(Account::Scaler) {
            assert_ne!(asked.resource, "sandboxes/status", "{asked:?}");
            assert_ne!(asked.code, 403, "{asked:?}");
        }
    }
}

/// What is in the scaler's hands is no more than it needs, whoever has its token.
#[tokio::test]
async fn with_the_scalers_token_a_sandbox_can_be_put_to_sleep_and_nothing_else() {
    let cluster = Setup::default().parts(0, 0).without_nats().start().await;
    cluster.create(Agent::awake("alice").sandbox()).await;
    let client = cluster.access.client_of(Account::Scaler).await;
    let alices: Api<DynamicObject> =
        Api::namespaced_with(client, &cluster.namespace, &Kind::Sandbox.resource());
    let patch = |spec: Value| {
        let alices = alices.clone();
        async move {
            let patch = Patch::Merge(spec);
            alices
                .patch("alice", &PatchParams::default(), &patch)
                .await
                .err()
        }
    };
    let forbidden = [
        json!({"spec": {"podTemplate": {"spec": {"serviceAccountName": "reveille-scaler"}}}}),
        json!({"spec": {"shutdownTime": "2020-01-01T00:00:00Z"}}),
        json!({"metadata": {"labels": {"fleet": "mine"}}}),
        json!({"metadata": {"annotations": {"example.com/mine": "yes"}}}),
        json!({"metadata": {"finalizers": ["example.com/mine"]}}),
    ];
    // The policy takes effect a moment after it was created.
    let mut tries = 0..;
    until("the fence", || {
        let fleet = format!("try-{}", tries.next().unwrap());
        let tried = patch(json!({"metadata": {"labels": {"fleet": fleet}}}));
        async {
            tried
                .await
                .filter(|error| error.to_string().contains(FENCE))
        }
    })
    .await;
    for spec in forbidden {
        let denied = patch(spec.clone()).await;
        let Some(kube::Error::Api(denied)) = denied else {
            panic!("{spec}: {denied:?}")
        };
        assert!([403, 422].contains(&denied.code), "{denied:?}");
        assert!(denied.message.contains(FENCE), "{}", denied.message);
    }
    let asleep = json!({
        "metadata": {"annotations": {"reveille.dev/epoch": "1"}},
        "spec": {"operatingMode": "Suspended"},
    });
    assert!(patch(asleep).await.is_none());
    let alice = cluster.get_object(Kind::Sandbox, "alice").await;
    assert!(
        alice["spec"]["podTemplate"]["spec"]["serviceAccountName"].is_null(),
        "{alice:#}"
    );
}
