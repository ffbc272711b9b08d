//! A namespace of a real API server, and a scaler that runs over it.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::PathBuf;
use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use reveille_crds::SandboxKey;
use reveille_kubernetes::connect;
use reveille_testbed::{Testbed, Who};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

/// No case waits longer for an event; the machine may be busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A namespace of the shared control plane.
pub(crate) struct Cluster {
    pub(crate) testbed: &'static Testbed,
    pub(crate) namespace: String,
    pub(crate) client: kube::Client,
}

impl Cluster {
    pub(crate) async fn new(prefix: &str) -> Self {
        let testbed = Testbed::shared().await.unwrap();
        let namespace = testbed.namespace(prefix).await.unwrap();
        let kubeconfig = testbed.kubeconfig(Who::Admin).await.unwrap();
        Self {
            testbed,
            namespace,
            client: client(kubeconfig).await,
        }
    }

    pub(crate) fn key(&self, name: &str) -> SandboxKey {
        SandboxKey::new(&self.namespace, name).unwrap()
    }

    pub(crate) async fn apply(&self, object: Value) {
        let text = object.to_string();
        self.testbed.apply_in(&self.namespace, &text).await.unwrap();
    }

    /// A Sandbox whose pod replays a script, in the fleet of the policy.
    pub(crate) async fn sandbox(&self, name: &str, spec: Value) {
        let mut sandbox = json!({
            "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox",
            "metadata": {"name": name, "labels": {"fleet": "test"}},
            "spec": {"podTemplate": pod_template()},
        });
        merge(&mut sandbox["spec"], spec);
        self.apply(sandbox).await;
    }

    pub(crate) async fn policy(&self, spec: Value) {
        let mut policy = json!({
            "apiVersion": "reveille.dev/v1alpha1", "kind": "ScaledSandbox", "metadata": {"name": "fleet"},
            "spec": {"selector": {"matchLabels": {"fleet": "test"}}, "cooldownPeriod": 1, "minimumUptime": 0},
        });
        merge(&mut policy["spec"], spec);
        self.apply(policy).await;
    }

    /// A pool of one stateless sandbox, and a claim on it in the fleet of the policy.
    pub(crate) async fn claim(&self, name: &str) {
        let version = "extensions.agents.x-k8s.io/v1beta1";
        let objects = [
            json!({
                "apiVersion": version, "kind": "SandboxTemplate", "metadata": {"name": "plain"},
                "spec": {"podTemplate": pod_template()},
            }),
            json!({
                "apiVersion": version, "kind": "SandboxWarmPool", "metadata": {"name": "pool"},
                "spec": {"replicas": 1, "sandboxTemplateRef": {"name": "plain"}},
            }),
            json!({
                "apiVersion": version, "kind": "SandboxClaim",
                "metadata": {"name": name, "labels": {"fleet": "test"}},
                "spec": {"warmPoolRef": {"name": "pool"}},
            }),
        ];
        for object in objects {
            self.apply(object).await;
        }
    }

    pub(crate) fn all(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind)
    }

    pub(crate) fn sandboxes(&self) -> Api<DynamicObject> {
        self.all("agents.x-k8s.io", "v1beta1", "Sandbox")
    }

    pub(crate) fn policies(&self) -> Api<DynamicObject> {
        self.all("reveille.dev", "v1alpha1", "ScaledSandbox")
    }

    /// Waits until the Sandbox is so.
    pub(crate) async fn until(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        so: impl Fn(&Value) -> bool,
    ) -> Value {
        let seen = async {
            loop {
                if let Ok(object) = api.get(name).await {
                    let object = serde_json::to_value(object).unwrap();
                    if so(&object) {
                        return object;
                    }
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        let Ok(object) = timeout(PATIENCE, seen).await else {
            panic!("{name} never became so: {:#?}", api.get(name).await)
        };
        object
    }

    pub(crate) async fn until_mode(&self, name: &str, mode: &str, epoch: &str) -> Value {
        self.until(&self.sandboxes(), name, |sandbox| {
            sandbox["spec"]["operatingMode"] == mode
                && sandbox["metadata"]["annotations"]["reveille.dev/epoch"] == epoch
        })
        .await
    }

    /// Waits for an event of the scaler with this reason; answers its note and what it is about.
    pub(crate) async fn event(&self, reason: &str) -> (String, Value) {
        let events = self.all("events.k8s.io", "v1", "Event");
        let found = async {
            loop {
                for event in events.list(&ListParams::default()).await.unwrap() {
                    let event = event.data;
                    let ours = event["reportingController"] == "reveille.dev/reveille-scaler";
                    if ours && event["reason"] == reason {
                        let note = event["note"].as_str().unwrap().to_owned();
                        return (note, event["regarding"].clone());
                    }
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, found).await.expect("no such event came")
    }

    pub(crate) async fn patch(&self, api: &Api<DynamicObject>, name: &str, patch: Value) {
        let patch = Patch::Merge(patch);
        api.patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }
}

fn pod_template() -> Value {
    json!({
        "metadata": {"annotations": {"testbed.reveille.dev/script": "{\"readyMs\": 10}"}},
        "spec": {"containers": [{"name": "agent", "image": "none"}]},
    })
}

pub(crate) async fn client(kubeconfig: PathBuf) -> kube::Client {
    let options = connect::Options {
        kubeconfig: Some(kubeconfig),
        user_agent: "reveille-scaler/test".to_owned(),
    };
    connect::client(options).await.unwrap().0
}

fn merge(object: &mut Value, with: Value) {
    let Value::Object(with) = with else { return };
    for (name, value) in with {
        object[name] = value;
    }
}
