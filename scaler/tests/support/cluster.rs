//! A running scaler over a real API server, with the test as activator.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use prometheus_client::registry::Registry;
use reveille_crds::SandboxKey;
use reveille_crds::change::Change;
use reveille_crds::message::{
    Activity, Cause, DrainReply, OutcomeKind, Ready, ToActivator, ToScaler, Wake,
};
use reveille_kubernetes::connect;
use reveille_kubernetes::discovery::{self, Discovery};
use reveille_kubernetes::health::Health;
use reveille_kubernetes::watch::{self as watches, Scope};
use reveille_scaler::config::Config;
use reveille_scaler::kubernetes::Writer;
use reveille_scaler::metrics::Metrics;
use reveille_scaler::{Carrier, Objects, api};
use reveille_testbed::{Testbed, Who};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

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

/// A running scaler.
pub(crate) struct Scaler {
    pub(crate) to_scaler: mpsc::Sender<ToScaler>,
    pub(crate) outcomes: mpsc::UnboundedReceiver<(SandboxKey, OutcomeKind)>,
    pub(crate) registry: Registry,
    router: axum::Router,
    shutdown: CancellationToken,
    scaler: JoinHandle<Result<(), reveille_scaler::Error>>,
    _tasks: JoinSet<()>,
}

impl Scaler {
    /// A scaler of one namespace, through this client; returns once it knows everything.
    pub(crate) async fn start(client: kube::Client, namespace: &str, config: Config) -> Self {
        let (to_scaler, from_activators) = mpsc::channel(64);
        let (to_activators, from_scaler) = mpsc::channel(64);
        let (changes, seen) = mpsc::channel(64);
        let (router, requests) = api::router();
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (discovery, mut healthy) = follow(&client, namespace, changes, &shutdown, &mut tasks);
        let carrier = Carrier {
            to_activators,
            from_activators,
            link: watch::channel(true).1,
            events: None,
        };
        let objects = Objects::Kubernetes(Writer::new(client, discovery, "test"));
        let scaler = reveille_scaler::run(
            config,
            seen,
            objects,
            carrier,
            metrics,
            requests,
            shutdown.clone(),
        );
        let (outcome, outcomes) = mpsc::unbounded_channel();
        tasks.spawn(activator(to_scaler.clone(), from_scaler, outcome));
        let scaler = tokio::spawn(scaler);
        timeout(PATIENCE, healthy.wait_for(|health| health.synced))
            .await
            .expect("its watch is synced")
            .unwrap();
        Self {
            to_scaler,
            outcomes,
            registry,
            router,
            shutdown,
            scaler,
            _tasks: tasks,
        }
    }

    pub(crate) async fn wake(&self, key: &SandboxKey) {
        let wake = Wake {
            key: key.clone(),
            reason: Cause::Http,
            port: None,
            waiting: 1,
            oldest_wait_ms: 0,
            activator: "standalone".into(),
            by: None,
            traceparent: None,
        };
        self.to_scaler.send(ToScaler::Wake(wake)).await.unwrap();
    }

    /// The first connection to its pod was taken.
    pub(crate) async fn ready(&self, key: &SandboxKey, pod: &str) {
        let ready = Ready {
            key: key.clone(),
            pod: pod.into(),
            activator: "standalone".into(),
            released: 1,
        };
        self.to_scaler.send(ToScaler::Ready(ready)).await.unwrap();
    }

    /// Asks for it every quarter of a second, as who waits does, until an outcome that `wanted` accepts.
    pub(crate) async fn wake_until(
        &mut self,
        key: &SandboxKey,
        wanted: impl Fn(&OutcomeKind) -> bool,
    ) -> OutcomeKind {
        let waiting = async {
            loop {
                self.wake(key).await;
                let next = timeout(Duration::from_millis(250), self.outcomes.recv()).await;
                if let Ok(Some((_, outcome))) = next
                    && wanted(&outcome)
                {
                    return outcome;
                }
            }
        };
        timeout(PATIENCE, waiting)
            .await
            .expect("no such outcome came")
    }

    /// One request to the API.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = request.body(body).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Waits until the API says so of the sandbox.
    pub(crate) async fn until(&self, key: &SandboxKey, so: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/v1/sandboxes/{}/{}", key.namespace(), key.name());
        let seen = async {
            loop {
                let (_, body) = self.call("GET", &path, None).await;
                if so(&body) {
                    return body;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, seen).await.expect("it never became so")
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.scaler.await.unwrap().unwrap();
    }
}

/// Watches one namespace.
fn follow(
    client: &kube::Client,
    namespace: &str,
    changes: mpsc::Sender<Change>,
    shutdown: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> (Discovery, watch::Receiver<Health>) {
    let discovery = Discovery::new();
    let looking = discovery::run(client.clone(), discovery.clone(), shutdown.clone());
    tasks.spawn(looking);
    let scope = Scope {
        namespaces: vec![namespace.to_owned()],
        leftovers: true,
    };
    let (health, healthy) = watch::channel(Health::default());
    tasks.spawn(watches::follow(
        client.clone(),
        discovery.clone(),
        scope,
        changes,
        health,
        shutdown.clone(),
    ));
    (discovery, healthy)
}

/// Reports every second that all is quiet, is drained when asked, hands outcomes to the test.
async fn activator(
    to_scaler: mpsc::Sender<ToScaler>,
    mut from_scaler: mpsc::Receiver<ToActivator>,
    outcomes: mpsc::UnboundedSender<(SandboxKey, OutcomeKind)>,
) {
    let name: Arc<str> = "standalone".into();
    let mut beat = tokio::time::interval(Duration::from_millis(200));
    let (mut sequence, mut full) = (0, true);
    loop {
        tokio::select! {
            biased;
            message = from_scaler.recv() => match message {
                Some(ToActivator::Sync) => full = true,
                Some(ToActivator::Drain(drain)) => {
                    let reply = DrainReply {
                        key: drain.key, activator: name.to_string(), incarnation: "i".into(),
                        nonce: drain.nonce, drained: true,
                    };
                    if to_scaler.send(ToScaler::Drained(reply)).await.is_err() { return }
                }
                Some(ToActivator::Outcome(outcome)) => drop(outcomes.send((outcome.key, outcome.what))),
                None => return,
            },
            _ = beat.tick() => {
                sequence += 1;
                let report = Activity {
                    activator: name.to_string(), incarnation: "i".into(), sequence,
                    full: std::mem::take(&mut full), sandboxes: Vec::new(),
                };
                if to_scaler.send(ToScaler::Activity(report)).await.is_err() { return }
            }
        }
    }
}
