//! Every answer of a real API server, and every state that a crash between two writes can leave behind.
#![allow(clippy::panic, reason = "a case that cannot go on fails")]

mod claims;
mod crashes;
mod denials;
mod leases;
mod modes;
mod silence;
mod telling;

use std::time::Duration;

use http::Method;
use reveille_crds::SandboxKey;
use reveille_crds::sandbox::OperatingMode;
use reveille_kubernetes::connect;
use reveille_kubernetes::discovery::{Discovery, Served, Version};
use reveille_lifecycle::store::ModeChange;
use reveille_testbed::{Testbed, Who};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::answer::Failure;
use super::call::{self, Body, Kind};
use super::kubernetes::Writer;

/// No case waits longer for an event; the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);
const SANDBOX: Kind = Kind::Sandbox(Version::V1Beta1);
const CLAIM: Kind = Kind::Claim(Version::V1Beta1);

/// A namespace of the shared control plane, and a writer with all rights.
struct Bench {
    testbed: &'static Testbed,
    namespace: String,
    client: kube::Client,
    writer: Writer,
}

impl Bench {
    async fn new(prefix: &str) -> Self {
        let testbed = Testbed::shared().await.unwrap();
        let namespace = testbed.namespace(prefix).await.unwrap();
        let client = client(testbed, Who::Admin).await;
        let writer = writer(client.clone());
        Self {
            testbed,
            namespace,
            client,
            writer,
        }
    }

    fn key(&self, name: &str) -> SandboxKey {
        SandboxKey::new(&self.namespace, name).unwrap()
    }

    /// Asks the server as an operator would.
    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<(Body, Value)>,
    ) -> Result<Value, Failure> {
        call::send(&self.client, method, path, body, soon()).await
    }

    async fn create(&self, kind: Kind, object: Value) -> Value {
        let path = kind.all(&self.namespace);
        let body = Some((Body::Json, object));
        self.call(Method::POST, &path, body).await.unwrap()
    }

    async fn get(&self, kind: Kind, name: &str) -> Result<Value, Failure> {
        let path = kind.one(&self.key(name));
        self.call(Method::GET, &path, None).await
    }

    async fn merge(&self, kind: Kind, name: &str, patch: Value) -> Value {
        let path = kind.one(&self.key(name));
        let body = Some((Body::MergePatch, patch));
        self.call(Method::PATCH, &path, body).await.unwrap()
    }

    async fn delete(&self, kind: Kind, name: &str) {
        let path = kind.one(&self.key(name));
        self.call(Method::DELETE, &path, None).await.unwrap();
    }

    /// A Sandbox with these annotations; its pod replays a script.
    async fn sandbox(&self, name: &str, mode: &str, annotations: Value) -> Value {
        let object = json!({
            "apiVersion": SANDBOX.api_version(), "kind": "Sandbox",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"operatingMode": mode, "podTemplate": pod_template()},
        });
        self.create(SANDBOX, object).await
    }

    /// Waits until the object is so.
    async fn until(&self, kind: Kind, name: &str, so: impl Fn(&Value) -> bool) -> Value {
        let seen = async {
            loop {
                if let Ok(object) = self.get(kind, name).await
                    && so(&object)
                {
                    return object;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        let Ok(object) = timeout(PATIENCE, seen).await else {
            panic!("{name} never became so: {:#?}", self.get(kind, name).await)
        };
        object
    }

    async fn until_gone(&self, kind: Kind, name: &str) {
        let gone = async {
            while !matches!(self.get(kind, name).await, Err(Failure::NotFound(_))) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, gone).await.expect("it never went");
    }

    /// A writer that is this service account, with this Role.
    async fn writer_with(&self, rules: Value) -> Writer {
        let name = "limited";
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name},
        });
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": name}, "rules": rules,
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.namespace}],
        });
        let namespace = &self.namespace;
        for object in [account, role, binding] {
            let text = object.to_string();
            self.testbed.apply_in(namespace, &text).await.unwrap();
        }
        let who = Who::ServiceAccount { namespace, name };
        writer(client(self.testbed, who).await)
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

async fn client(testbed: &Testbed, who: Who<'_>) -> kube::Client {
    let kubeconfig = testbed.kubeconfig(who).await.unwrap();
    let options = connect::Options {
        kubeconfig: Some(kubeconfig),
        user_agent: "reveille-scaler/test".to_owned(),
    };
    connect::client(options).await.unwrap().0
}

fn writer(client: kube::Client) -> Writer {
    writer_of(client, Version::V1Beta1)
}

fn writer_of(client: kube::Client, version: Version) -> Writer {
    let served = Served {
        sandboxes: Some(version),
        claims: Some(version),
        policies: true,
        released_claims: true,
    };
    Writer::new(client, Discovery::told(served), "test")
}

fn pod_template() -> Value {
    json!({
        "metadata": {"annotations": {"testbed.reveille.dev/script": "{\"readyMs\": 10}"}},
        "spec": {"containers": [{"name": "agent", "image": "none"}]},
    })
}

/// What a writer thinks that looked at `object`.
fn change(bench: &Bench, object: &Value, epoch: u64, to: OperatingMode) -> ModeChange {
    let name = object["metadata"]["name"].as_str().unwrap();
    let from = match to {
        OperatingMode::Running => OperatingMode::Suspended,
        OperatingMode::Suspended => OperatingMode::Running,
    };
    ModeChange {
        busy_until: None,
        key: bench.key(name),
        uid: uid(object).into(),
        epoch,
        from,
        to,
        cause: "http",
    }
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap()
}

fn epoch(object: &Value) -> &Value {
    &object["metadata"]["annotations"]["reveille.dev/epoch"]
}
