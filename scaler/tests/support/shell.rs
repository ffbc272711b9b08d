//! A running scaler over a real store, with the test as activator and as sandbox controller.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use prometheus_client::registry::Registry;
use reveille_crds::SandboxKey;
use reveille_crds::index::{Index, Target};
use reveille_crds::message::{
    Activity, Cause, DrainReply, OutcomeKind, Ready, SandboxActivity, ToActivator, ToScaler, Wake,
};
use reveille_crds::sandbox::OperatingMode;
use reveille_lifecycle::object::Object;
use reveille_lifecycle::store::{Store, Watch};
use reveille_scaler::config::Config;
use reveille_scaler::metrics::Metrics;
use reveille_scaler::{Carrier, Objects, api};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// No case waits longer for an event.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) fn key(name: &str) -> SandboxKey {
    SandboxKey::new("agents", name).unwrap()
}

pub(crate) struct Shell {
    pub(crate) store: Store,
    pub(crate) to_scaler: mpsc::Sender<ToScaler>,
    pub(crate) outcomes: mpsc::UnboundedReceiver<(SandboxKey, OutcomeKind)>,
    pub(crate) link: watch::Sender<bool>,
    /// What the activator answers to a drain.
    pub(crate) busy: Arc<AtomicBool>,
    /// The activator reports no more.
    pub(crate) silent: Arc<AtomicBool>,
    /// What the activator says in a full report.
    pub(crate) under_way: Arc<Mutex<Vec<SandboxActivity>>>,
    pub(crate) registry: Registry,
    router: axum::Router,
    watch: Watch,
    index: Index,
    shutdown: CancellationToken,
    scaler: JoinHandle<Result<(), reveille_scaler::Error>>,
}

impl Shell {
    /// A scaler over these objects, told everything.
    pub(crate) fn start(config: Config, objects: Vec<Object>) -> Self {
        let store = Store::new();
        for object in objects {
            store.apply(object).unwrap();
        }
        let (to_scaler, from_activators) = mpsc::channel(64);
        let (to_activators, from_scaler) = mpsc::channel(64);
        let (link, link_seen) = watch::channel(true);
        let (changes, seen) = mpsc::channel(64);
        let mut feed = store.watch();
        tokio::spawn(async move { while changes.send(feed.next().await).await.is_ok() {} });
        let (router, requests) = api::router();
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let shutdown = CancellationToken::new();
        let carrier = Carrier {
            to_activators,
            from_activators,
            link: link_seen,
            events: None,
        };
        let scaler = reveille_scaler::run(
            config,
            seen,
            Objects::Memory(store.clone()),
            carrier,
            metrics,
            requests,
            shutdown.clone(),
        );
        let busy = Arc::new(AtomicBool::new(false));
        let silent = Arc::new(AtomicBool::new(false));
        let under_way = Arc::<Mutex<Vec<SandboxActivity>>>::default();
        let (outcome, outcomes) = mpsc::unbounded_channel();
        tokio::spawn(activator(
            to_scaler.clone(),
            from_scaler,
            outcome,
            Arc::clone(&busy),
            Arc::clone(&silent),
            Arc::clone(&under_way),
        ));
        let watch = store.watch();
        Self {
            store,
            to_scaler,
            outcomes,
            link,
            busy,
            silent,
            under_way,
            registry,
            router,
            watch,
            index: Index::default(),
            shutdown,
            scaler: tokio::spawn(scaler),
        }
    }

    /// Waits until the target is so.
    pub(crate) async fn until(
        &mut self,
        name: &str,
        mut so: impl FnMut(&Target) -> bool,
    ) -> Target {
        let key = key(name);
        let seen = async {
            loop {
                if let Some(target) = self.index.target(&key).filter(&mut so) {
                    return target;
                }
                let change = self.watch.next().await;
                self.index.apply(change);
            }
        };
        tokio::time::timeout(PATIENCE, seen)
            .await
            .expect("the target never became so")
    }

    pub(crate) async fn until_mode(&mut self, name: &str, mode: OperatingMode) -> Target {
        let so = |target: &Target| {
            target
                .sandbox
                .as_ref()
                .is_some_and(|(_, facts)| facts.mode == mode)
        };
        self.until(name, so).await
    }

    /// The next outcome that `wanted` accepts.
    pub(crate) async fn outcome(&mut self, wanted: impl Fn(&OutcomeKind) -> bool) -> OutcomeKind {
        let next = async {
            loop {
                let (_, outcome) = self.outcomes.recv().await.expect("the activator listens");
                if wanted(&outcome) {
                    return outcome;
                }
            }
        };
        tokio::time::timeout(PATIENCE, next)
            .await
            .expect("no such outcome came")
    }

    pub(crate) async fn wake(&self, name: &str) {
        let wake = Wake {
            key: key(name),
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

    /// Plays the sandbox controller: the pod is up and ready.
    pub(crate) async fn pod_up(&mut self, name: &str, uid: &str) {
        let target = self.until_mode(name, OperatingMode::Running).await;
        let (_, facts) = target.sandbox.expect("a Sandbox is Running");
        let pod = json!({
            "metadata": {
                "name": name, "namespace": "agents", "uid": uid,
                "ownerReferences": [{
                    "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox", "name": name,
                    "uid": facts.uid.to_string(), "controller": true,
                }],
            },
            "spec": {"containers": []},
            "status": {
                "phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        self.store
            .apply_pod(serde_json::from_value(pod).unwrap())
            .unwrap();
    }

    pub(crate) async fn ready(&self, name: &str, pod: &str) {
        let ready = Ready {
            key: key(name),
            pod: pod.into(),
            activator: "standalone".into(),
            released: 1,
        };
        self.to_scaler.send(ToScaler::Ready(ready)).await.unwrap();
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
        let response = self
            .router
            .clone()
            .oneshot(request.body(body).unwrap())
            .await
            .unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Waits until the API says so of the sandbox.
    pub(crate) async fn until_state(&self, name: &str, state: &str) -> Value {
        let path = format!("/v1/sandboxes/agents/{name}");
        for _ in 0..10_000 {
            let (status, body) = self.call("GET", &path, None).await;
            if status == StatusCode::OK && body["state"] == state {
                return body;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{name} never became {state}")
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.scaler.await.unwrap().unwrap();
    }
}

/// Reports every second, answers drains, hands outcomes to the test.
async fn activator(
    to_scaler: mpsc::Sender<ToScaler>,
    mut from_scaler: mpsc::Receiver<ToActivator>,
    outcomes: mpsc::UnboundedSender<(SandboxKey, OutcomeKind)>,
    busy: Arc<AtomicBool>,
    silent: Arc<AtomicBool>,
    under_way: Arc<Mutex<Vec<SandboxActivity>>>,
) {
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    let mut sequence = 0;
    let mut full = true;
    loop {
        tokio::select! {
            biased;
            message = from_scaler.recv() => match message {
                Some(ToActivator::Sync) => full = true,
                Some(ToActivator::Look(_)) if silent.load(Ordering::Relaxed) => {}
                Some(ToActivator::Look(number)) => {
                    sequence += 1;
                    full = false;
                    let report = report(sequence, true, &under_way, vec![number]);
                    if to_scaler.send(ToScaler::Activity(report)).await.is_err() { return }
                }
                Some(ToActivator::Drain(drain)) => {
                    let reply = DrainReply {
                        key: drain.key, activator: "standalone".into(), incarnation: "i".into(), nonce: drain.nonce,
                        drained: !busy.load(Ordering::Relaxed),
                    };
                    if to_scaler.send(ToScaler::Drained(reply)).await.is_err() { return }
                }
                Some(ToActivator::Outcome(outcome)) => drop(outcomes.send((outcome.key, outcome.what))),
                None => return,
            },
            _ = beat.tick() => {
                if silent.load(Ordering::Relaxed) { continue }
                sequence += 1;
                let report = report(sequence, std::mem::take(&mut full), &under_way, Vec::new());
                if to_scaler.send(ToScaler::Activity(report)).await.is_err() { return }
            }
        }
    }
}

fn report(
    sequence: u64,
    full: bool,
    under_way: &Mutex<Vec<SandboxActivity>>,
    answers: Vec<u64>,
) -> Activity {
    let sandboxes = match full {
        true => under_way.lock().unwrap().clone(),
        false => Vec::new(),
    };
    Activity {
        activator: "standalone".into(),
        incarnation: "i".into(),
        sequence,
        full,
        sandboxes,
        answers,
    }
}

pub(crate) fn active(name: &str, in_flight: u32) -> SandboxActivity {
    SandboxActivity {
        key: key(name),
        in_flight,
        parked: 0,
        quiet_for_ms: 0,
        busy: None,
    }
}

pub(crate) fn sandbox(name: &str, mode: &str) -> Object {
    let sandbox = json!({
        "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox",
        "metadata": {"name": name, "namespace": "agents", "labels": {"fleet": "test"}},
        "spec": {"operatingMode": mode, "podTemplate": {"spec": {"containers": []}}},
    });
    Object::Sandbox(Box::new(serde_json::from_value(sandbox).unwrap()))
}

pub(crate) fn policy(spec: Value) -> Object {
    let mut policy = json!({
        "apiVersion": "reveille.dev/v1alpha1", "kind": "ScaledSandbox",
        "metadata": {"name": "fleet", "namespace": "agents"},
        "spec": {"selector": {"matchLabels": {"fleet": "test"}}, "cooldownPeriod": 30, "minimumUptime": 0},
    });
    for (name, value) in spec.as_object().unwrap() {
        policy["spec"][name] = value.clone();
    }
    Object::Policy(Box::new(serde_json::from_value(policy).unwrap()))
}

/// A claim, and the stateless Sandbox bound to it.
pub(crate) fn claim(name: &str) -> Vec<Object> {
    let claim = json!({
        "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxClaim",
        "metadata": {"name": name, "namespace": "agents", "uid": "claim-1", "labels": {"fleet": "test"}},
        "spec": {"warmPoolRef": {"name": "pool"}},
    });
    let sandbox = json!({
        "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox",
        "metadata": {
            "name": name, "namespace": "agents",
            "ownerReferences": [{
                "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxClaim", "name": name,
                "uid": "claim-1", "controller": true,
            }],
        },
        "spec": {"operatingMode": "Running", "podTemplate": {"spec": {"containers": []}}},
    });
    vec![
        Object::Claim(Box::new(serde_json::from_value(claim).unwrap())),
        Object::Sandbox(Box::new(serde_json::from_value(sandbox).unwrap())),
    ]
}
