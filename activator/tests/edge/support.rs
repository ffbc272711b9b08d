//! A running activator with a fake watch, and clients to talk to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reveille_activator::{Carrier, Config, Metrics, Watch};
use reveille_crds::SandboxKey;
use reveille_crds::change::{Change, PodFacts, Probe, SandboxFacts};
use reveille_crds::message::{ToActivator, ToScaler};
use reveille_crds::sandbox::OperatingMode;
use reveille_crds::scaled_sandbox::{PolicyFacts, ScaledSandboxSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[path = "support/agent.rs"]
pub(crate) mod agent;
#[path = "support/client.rs"]
pub(crate) mod client;
#[path = "support/frames.rs"]
pub(crate) mod frames;
#[path = "support/paused.rs"]
mod paused;

pub(crate) use agent::{Agent, silent};
pub(crate) use client::{Answer, head_of, ok};
pub(crate) use paused::paused;

/// Longest wait for anything that should happen at once; a machine that is busy with much else is slow.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Fails the test if `future` takes long.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: nothing happened in {SOON:?}"),
    }
}

/// A running activator.
pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    changes: mpsc::Sender<Change>,
    /// Sleeping markers so far.
    markers: AtomicUsize,
    /// What the activator says to scalers.
    pub(crate) said: mpsc::Receiver<ToScaler>,
    _from_scaler: mpsc::Sender<ToActivator>,
    _link: watch::Sender<bool>,
    serving: Option<JoinHandle<()>>,
    registry: prometheus_client::registry::Registry,
}

impl Edge {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            grace: SOON,
            ..Config::default()
        };
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (changes, watched) = mpsc::channel(64);
        let (to_scaler, said) = mpsc::channel(1024);
        let (from_scaler, heard) = mpsc::channel(64);
        let (link_up, link) = watch::channel(true);
        let shutdown = CancellationToken::new();
        let mut registry = prometheus_client::registry::Registry::default();
        let metrics = Metrics::register(&mut registry);
        let carrier = Carrier {
            to_scaler,
            from_scaler: heard,
            link,
        };
        let run = reveille_activator::run(
            config,
            listener,
            Watch {
                changes: watched,
                current: watch::channel(true).1,
            },
            carrier,
            metrics,
            watch::channel(false).0,
            shutdown.clone(),
        );
        let serving = Some(tokio::spawn(async move { run.await.unwrap() }));
        changes.send(Change::Synced).await.unwrap();
        Self {
            address,
            shutdown,
            changes,
            markers: AtomicUsize::new(0),
            said,
            _from_scaler: from_scaler,
            _link: link_up,
            serving,
            registry,
        }
    }

    /// What a scrape would read.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    /// Waits until the metrics hold this text.
    pub(crate) async fn counts(&self, text: &str) {
        let counted = async {
            while !self.metrics().contains(text) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        soon(text, counted).await;
    }

    /// A sandbox of namespace `default` that is awake, with that agent as its pod.
    pub(crate) async fn awake(&self, name: &str, agent: &Agent) {
        self.pod(name, Some(pod(name, agent.address, agent.h2c)))
            .await;
        self.sandbox(name, OperatingMode::Running).await;
        self.known().await;
    }

    /// A sandbox that sleeps.
    pub(crate) async fn asleep(&self, name: &str) {
        self.sandbox(name, OperatingMode::Suspended).await;
        self.known().await;
    }

    pub(crate) async fn sandbox(&self, name: &str, mode: OperatingMode) {
        self.changes
            .send(Change::Sandbox(
                key(name),
                Some(Arc::new(facts(name, mode))),
            ))
            .await
            .unwrap();
    }

    pub(crate) async fn pod(&self, name: &str, pod: Option<PodFacts>) {
        self.changes
            .send(Change::Pod(key(name), pod.map(Arc::new)))
            .await
            .unwrap();
    }

    pub(crate) async fn change(&self, change: Change) {
        self.changes.send(change).await.unwrap();
    }

    /// A policy that governs all sandboxes.
    pub(crate) async fn policy(&self, change: impl FnOnce(&mut ScaledSandboxSpec)) {
        let mut spec = ScaledSandboxSpec {
            selector: Some(Default::default()),
            ..ScaledSandboxSpec::default()
        };
        change(&mut spec);
        let policy = PolicyFacts {
            spec,
            ..PolicyFacts::default()
        };
        self.change(Change::Policy(key("all"), Some(Arc::new(policy))))
            .await;
        self.known().await;
    }

    /// Waits until that many requests of a sandbox are reported in flight.
    pub(crate) async fn reported(&mut self, name: &str, in_flight: u32) {
        let is_it = |said: &ToScaler| {
            matches!(said, ToScaler::Activity(activity) if activity.sandboxes.iter().any(
                |seen| seen.key.name() == name && seen.in_flight == in_flight
            ))
        };
        let heard = async { while !is_it(&self.said.recv().await.unwrap()) {} };
        // A clock that is paused may have to go on for long.
        let long = Duration::from_secs(24 * 3600);
        tokio::time::timeout(long, heard).await.unwrap();
    }

    /// Waits for a Wake of that sandbox.
    pub(crate) async fn heard_wake(&mut self, name: &str) {
        let is_its =
            |said: &ToScaler| matches!(said, ToScaler::Wake(wake) if wake.key.name() == name);
        soon("wake", async {
            while !self.said.recv().await.as_ref().is_some_and(is_its) {}
        })
        .await;
    }

    /// Waits until the directory has it. Changes are applied in order, so one more shows that all were:
    /// a sleeping marker of a name that never was, which is 404 until it is known and then a wait that
    /// ends in 504.
    pub(crate) async fn known(&self) {
        let marker = format!("marker-{}", self.markers.fetch_add(1, Ordering::SeqCst));
        self.sandbox(&marker, OperatingMode::Suspended).await;
        let head = format!(
            "GET / HTTP/1.1\r\nhost: p\r\nx-sandbox-id: {marker}\r\nx-sandbox-timeout: 0.01\r\nconnection: close\r\n\r\n"
        );
        soon("directory", async {
            while self.ask(&head).await.status != 504 {}
        })
        .await;
        self.changes
            .send(Change::Sandbox(key(&marker), None))
            .await
            .unwrap();
    }

    /// Sends raw bytes on a connection of their own and reads the answers until it closes.
    pub(crate) async fn ask(&self, request: &str) -> Answer {
        Answer::parse(&self.raw(request.as_bytes()).await)
    }

    pub(crate) async fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        let mut all = Vec::new();
        soon("answer", stream.read_to_end(&mut all)).await.ok();
        all
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Waits for the end after a shutdown.
    pub(crate) async fn ended(&mut self) {
        let serving = self.serving.take().unwrap();
        soon("end of the activator", serving).await.unwrap();
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

pub(crate) fn key(name: &str) -> SandboxKey {
    SandboxKey::new("default", name).unwrap()
}

pub(crate) fn sandbox_uid(name: &str) -> Arc<str> {
    format!("sandbox-{name}").into()
}

pub(crate) fn facts(name: &str, mode: OperatingMode) -> SandboxFacts {
    SandboxFacts {
        uid: sandbox_uid(name),
        mode,
        ..SandboxFacts::default()
    }
}

/// A ready pod whose container port 8888 is at `address`.
pub(crate) fn pod(name: &str, address: SocketAddr, h2c: bool) -> PodFacts {
    PodFacts {
        uid: format!("pod-{name}-{}", address.port()).into(),
        sandbox: name.into(),
        sandbox_uid: sandbox_uid(name),
        ip: Some(address.ip()),
        ports: Some(Box::new([(8888, address.port())])),
        h2c: if h2c { Box::new([8888]) } else { Box::new([]) },
        ready: true,
        probe: Some(Probe::Kubelet),
        ..PodFacts::default()
    }
}
