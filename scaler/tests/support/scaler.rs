//! A running scaler, with the test as activator.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use prometheus_client::registry::Registry;
use reveille_crds::SandboxKey;
use reveille_crds::change::Change;
use reveille_crds::message::{
    Activity, Cause, DrainReply, OutcomeKind, Ready, ToActivator, ToScaler, Wake,
};
use reveille_kubernetes::discovery::{self, Discovery};
use reveille_kubernetes::health::Health;
use reveille_kubernetes::watch::{self as watches, Scope};
use reveille_scaler::config::Config;
use reveille_scaler::kubernetes::Writer;
use reveille_scaler::metrics::Metrics;
use reveille_scaler::{Carrier, Objects, api};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::cluster::PATIENCE;

/// A running scaler.
pub(crate) struct Scaler {
    pub(crate) to_scaler: mpsc::Sender<ToScaler>,
    pub(crate) outcomes: mpsc::UnboundedReceiver<(SandboxKey, OutcomeKind)>,
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
                Some(ToActivator::Look(number)) => {
                    sequence += 1;
                    let report = Activity {
                        activator: name.to_string(), incarnation: "i".into(), sequence,
                        full: std::mem::take(&mut full), sandboxes: Vec::new(), answers: vec![number],
                    };
                    if to_scaler.send(ToScaler::Activity(report)).await.is_err() { return }
                }
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
                    full: std::mem::take(&mut full), sandboxes: Vec::new(), answers: Vec::new(),
                };
                if to_scaler.send(ToScaler::Activity(report)).await.is_err() { return }
            }
        }
    }
}
