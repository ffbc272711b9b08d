//! A kubelet without root: runs the pods of one node as processes of this machine.
//!
//! ```text
//! pods of the node ──watch──▶ Agent ──a task per pod──▶ lifecycle::local::Pod ──▶ processes
//!                                        │    ▲            (or a script, without any process)
//!        API ◀── status, DELETE ─────────┘    └── folders ── volumes (claims ─▶ PersistentVolumes)
//!        API ◀── Node, Lease ── registration
//! ```
//! What differs from a real node: containers share this machine's files, users and network; a pod has an
//! address of its own in 127.0.0.0/8 and must listen there (`HOST`, `POD_IP`), not on 0.0.0.0; images are
//! not pulled, so a container needs a command that this machine has. First probes are made every few
//! milliseconds. Hooks, resources, security contexts, tokens of service accounts, logs and exec through
//! the API are not there.
//!
//! Pods with the annotation `testbed.reveille.dev/script` have no process at all (`script.rs`).

mod addresses;
mod agent;
mod api;
mod folders;
mod registration;
mod script;
mod status;
mod values;
pub mod volumes;
mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kube::Client;
use reveille_lifecycle::local::{self, Machine};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::addresses::Addresses;
use self::agent::Agent;
use self::volumes::Bound;
use self::worker::Node;

/// Says which testbed a process belongs to, so that those of a killed one are found.
pub const MARK: &str = "REVEILLE_TESTBED";

/// One node.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the Node object.
    pub node_name: String,
    /// Folder of volumes, logs and what is needed to clean up after a kill; one node at a time.
    pub state_dir: PathBuf,
    /// Folders searched for a container's command before `PATH`.
    pub path_dirs: Vec<PathBuf>,
    /// Our own environment; only `PATH`, `HOME`, `LANG`, `TZ` and [`MARK`] are handed on.
    pub env: BTreeMap<String, String>,
}

/// Calls on their way at once on behalf of pods: thousands of them may change in one second, and an API
/// server on this machine gets no faster beyond some.
const CALLS: usize = 64;

/// Why the node cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its state folder.
    #[error(transparent)]
    State(#[from] local::Error),
    /// All parts of 127.64.0.0/10 are taken by others.
    #[error("no free addresses for pods in 127.64.0.0/10: {0}; end other testbeds of this machine")]
    Addresses(std::io::Error),
}

/// Runs the node until `shutdown`; an API that is away is waited for. When this returns, no process of a
/// pod is alive; the objects stay as they are, as after a power cut.
///
/// # Errors
/// If the state folder cannot be used, or if there are no addresses for pods.
pub async fn run(client: Client, config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let Config {
        node_name,
        state_dir,
        path_dirs,
        env,
    } = config;
    let mark = env.get(MARK).cloned();
    let machine = local::Config {
        state_dir,
        logs: false,
        env,
        path_dirs,
    };
    let machine = Arc::new(Machine::open(machine).await?);
    let addresses = Addresses::claim().map_err(Error::Addresses)?;
    let bound = Bound::default();
    let mut tasks = JoinSet::new();
    tasks.spawn(volumes::keep(
        client.clone(),
        machine.volumes(),
        bound.clone(),
        shutdown.clone(),
    ));
    tasks.spawn(registration::keep(
        client.clone(),
        node_name.clone(),
        shutdown.clone(),
    ));
    let node = Node {
        client,
        name: node_name,
        machine: Arc::clone(&machine),
        mark,
        bound,
        addresses,
        calls: Semaphore::new(CALLS),
    };
    Agent::new(Arc::new(node)).run(&shutdown).await;
    while tasks.join_next().await.is_some() {}
    // It cannot panic; were it to, the next start empties the trash.
    let _ = tokio::task::spawn_blocking(move || machine.empty_trash()).await;
    Ok(())
}
