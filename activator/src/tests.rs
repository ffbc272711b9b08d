//! The shell between a watch and a carrier that the test plays itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use reveille_crds::SandboxKey;
use reveille_crds::change::{Change, PodFacts, SandboxFacts};
use reveille_crds::message::{Outcome, OutcomeKind, ToActivator, ToScaler, Wake};
use reveille_crds::sandbox::OperatingMode;
use tokio::net::TcpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::directory::Projector;
use crate::parking::{Admission, Refusal};
use crate::slot::Slot;
use crate::{Activator, Background, Carrier, Config, Metrics, Watch, assemble};

mod directory;
mod drains;
mod links;
mod probes;
mod reports;
mod slow;
mod soak;
mod wakes;

/// Longest time for anything that has to happen; with a paused clock it costs nothing.
const PATIENCE: Duration = Duration::from_secs(60);
const PORT: u16 = 8888;

struct World {
    activator: Arc<Activator>,
    projector: Projector,
    from_activator: mpsc::Receiver<ToScaler>,
    to_activator: mpsc::Sender<ToActivator>,
    link: watch::Sender<bool>,
    /// Whether the watch runs.
    current: watch::Sender<bool>,
    closing: CancellationToken,
    _background: Background,
    _changes: mpsc::Sender<Change>,
}

impl World {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let (changes_tx, changes) = mpsc::channel(1);
        let (to_scaler, from_activator) = mpsc::channel(1024);
        let (to_activator, from_scaler) = mpsc::channel(64);
        let (link, link_rx) = watch::channel(true);
        let closing = CancellationToken::new();
        let metrics = Metrics::register(&mut Registry::default());
        let (current, seen) = watch::channel(true);
        let watch = Watch {
            changes,
            current: seen,
        };
        let carrier = Carrier {
            to_scaler,
            from_scaler,
            link: link_rx,
        };
        let (activator, background) =
            assemble(config, watch, carrier, metrics.clone(), closing.clone());
        let directory = Arc::clone(&activator.directory);
        let upstream = Arc::clone(&activator.upstream);
        let projector = Projector::new(directory, upstream, &activator.config, metrics);
        Self {
            activator,
            projector,
            from_activator,
            to_activator,
            link,
            current,
            closing,
            _background: background,
            _changes: changes_tx,
        }
    }

    /// A world whose one sandbox, `agents/alice`, sleeps.
    fn asleep() -> Self {
        let mut world = Self::new();
        world.sandbox("alice", 1, OperatingMode::Suspended);
        world
    }

    fn sandbox(&mut self, name: &str, epoch: u64, mode: OperatingMode) {
        self.projector.apply(Change::Sandbox(
            key(name),
            Some(Arc::new(sandbox(name, epoch, mode))),
        ));
    }

    /// The sandbox is awake, with a pod that is ready.
    fn awake(&mut self, name: &str, epoch: u64) {
        self.sandbox(name, epoch, OperatingMode::Running);
        let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        self.pod(
            name,
            epoch,
            &PodFacts {
                ip: Some(ip),
                ready: true,
                ..pod(name, epoch)
            },
        );
    }

    fn pod(&mut self, name: &str, epoch: u64, facts: &PodFacts) {
        let key = key(&format!("{name}-{epoch}"));
        self.projector
            .apply(Change::Pod(key, Some(Arc::new(facts.clone()))));
    }

    fn no_pod(&mut self, name: &str, epoch: u64) {
        self.projector
            .apply(Change::Pod(key(&format!("{name}-{epoch}")), None));
    }

    fn slot(&self, name: &str) -> Arc<Slot> {
        self.activator
            .directory
            .find(&key(name))
            .expect("the sandbox is known")
            .slot
    }

    /// A client that asks for the sandbox; it holds its place until the task ends.
    fn client(&self, name: &str) -> JoinHandle<Result<Admission, Refusal>> {
        let (activator, slot) = (Arc::clone(&self.activator), self.slot(name));
        tokio::spawn(async move {
            let activity = slot.begin();
            activator.parking.endpoint(&activity, PORT, None).await
        })
    }

    async fn say(&self, what: OutcomeKind) {
        let outcome = Outcome {
            key: key("alice"),
            what,
        };
        self.to_activator
            .send(ToActivator::Outcome(outcome))
            .await
            .expect("the inbox listens");
    }

    /// The next message that is no report.
    async fn heard(&mut self) -> ToScaler {
        let message = async {
            loop {
                match self
                    .from_activator
                    .recv()
                    .await
                    .expect("the carrier is open")
                {
                    ToScaler::Activity(_) => {}
                    other => return other,
                }
            }
        };
        tokio::time::timeout(PATIENCE, message)
            .await
            .expect("a message in time")
    }

    async fn heard_wake(&mut self) -> Wake {
        match self.heard().await {
            ToScaler::Wake(wake) => wake,
            other => panic!("not a wake: {other:?}"),
        }
    }
}

async fn answer<T>(client: JoinHandle<T>) -> T {
    tokio::time::timeout(PATIENCE, client)
        .await
        .expect("an answer in time")
        .expect("no panic")
}

async fn refusal(client: JoinHandle<Result<Admission, Refusal>>) -> Refusal {
    answer(client).await.err().expect("a refusal")
}

fn key(name: &str) -> SandboxKey {
    SandboxKey::new("agents", name).unwrap()
}

fn sandbox(name: &str, epoch: u64, mode: OperatingMode) -> SandboxFacts {
    SandboxFacts {
        uid: format!("uid-{name}").into(),
        mode,
        epoch,
        ..SandboxFacts::default()
    }
}

fn pod(name: &str, epoch: u64) -> PodFacts {
    PodFacts {
        uid: format!("pod-{name}-{epoch}").into(),
        sandbox: name.into(),
        sandbox_uid: format!("uid-{name}").into(),
        probe: Some(reveille_crds::change::Probe::Kubelet),
        ..PodFacts::default()
    }
}

/// A pod whose container port [`PORT`] is reached at that address, as `lifecycle::local` maps it.
fn local_pod(name: &str, epoch: u64, address: SocketAddr) -> PodFacts {
    let ports: Box<[(u16, u16)]> = Box::new([(PORT, address.port())]);
    PodFacts {
        ip: Some(address.ip()),
        ports: Some(ports),
        probe: None,
        ..pod(name, epoch)
    }
}

/// An address that is taken, and refuses connections until its socket listens.
fn silent() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}
