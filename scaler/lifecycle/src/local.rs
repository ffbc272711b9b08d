//! The sandbox controller for processes: a Sandbox that is awake is its pod template run on this machine.
//!
//! ```text
//! Store ──changes──▶ Reconciler ──starts, stops──▶ Pod ──▶ containers ──▶ process groups
//!   ▲                 (one task)                  (a task per running pod; none per idle sandbox)
//!   └──────────────── status ◀────────────────────┘
//! ```
//! Whoever has objects of another kind runs pods by themselves: [`Machine`], [`Pod`], [`Board`].
//!
//! An image is not pulled: a container's command runs on the host, as the user that runs Reveille. What
//! that means for paths, ports and variables is in `environment.rs` and `mounts.rs`.

mod backoff;
mod bind;
mod board;
mod claim;
mod claim_spec;
mod conditions;
mod container;
mod container_status;
pub(crate) mod environment;
mod expand;
mod group;
mod journal;
mod listening;
mod logs;
mod machine;
mod mounts;
mod orphans;
mod pod;
mod pool;
mod ports;
mod probe;
mod proc;
mod process;
mod reconcile;
mod restore;
mod sandbox;
mod state_dir;
mod stop;
mod timers;
mod volumes;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reveille_crds::names::DEFAULT_PORT;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::journal::{Journal, Memory};
use self::reconcile::Reconciler;
use self::state_dir::StateDir;
use crate::object::Object;
use crate::store::Store;

pub use self::board::{Board, Report, Slot};
pub use self::environment::{Identity, PortMap};
pub use self::machine::Machine;
pub use self::pod::{Address, Pod, grace};
pub use self::stop::Stop;
pub use self::volumes::{Access, Folder};

/// How long the last mirrored lines may take at the end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// How sandboxes are run on this machine.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of everything that outlives this process; created if missing.
    pub state_dir: PathBuf,
    /// Mirror the output of agents to our own standard output, line by line, prefixed.
    pub logs: bool,
    /// The environment of this process; only `PATH`, `HOME`, `LANG` and `TZ` are handed on.
    pub env: BTreeMap<String, String>,
    /// Folders searched for a command before `PATH`.
    pub path_dirs: Vec<PathBuf>,
}

/// Why local sandboxes cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state folder cannot be used.
    #[error("state folder {path}: {error}", path = path.display())]
    StateDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Another Reveille runs on it.
    #[error("state folder {path} is in use by process {pid}; end it, or choose another folder with --state-dir", path = path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who holds it, as it wrote it down.
        pid: String,
    },
    /// The journal of objects cannot be read.
    #[error("{path}, line {line}: {text}; restore the file, or move it away to start with no memory of who sleeps and who owns which volume (the volumes stay)", path = path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        text: String,
    },
    /// A process of a killed predecessor does not end.
    #[error(
        "process {pid} of a killed predecessor does not end; its volumes are not touched while it lives"
    )]
    Orphan {
        /// Its PID.
        pid: i32,
    },
    /// An object contradicts what is recorded of it.
    #[error("{0}")]
    Object(String),
}

/// Runs every Sandbox that should be awake as processes of this machine.
pub struct Controller {
    store: Store,
    machine: Arc<Machine>,
    journal: Journal,
    logs: bool,
}

impl Controller {
    /// Locks the state folder, ends orphans of a killed predecessor, restores recorded objects.
    ///
    /// # Errors
    /// If the state folder is in use, damaged or not writable, if an orphan does not end, or if an object
    /// contradicts what is recorded of it.
    pub async fn open(config: Config, objects: Vec<Object>) -> Result<Self, Error> {
        let state = StateDir::open(&config.state_dir)?;
        objects.iter().for_each(tell_of_no_port);
        let path = state.journal();
        let memory = Memory::read(&path)?;
        let logs = config.logs;
        let machine = Machine::on(state, config).await?;
        let store = Store::new();
        let dormant = restore::restore(&store, objects, memory, &machine.state)?;
        let present = Memory::of(&store);
        let journal = Journal::create(path.clone(), &present, dormant)
            .map_err(|error| Error::StateDir { path, error })?;
        Ok(Self {
            store,
            machine: Arc::new(machine),
            journal,
            logs,
        })
    }

    /// The objects.
    #[must_use]
    pub fn store(&self) -> Store {
        self.store.clone()
    }

    /// Makes intent true until `shutdown`, then ends every pod: SIGTERM, its grace, SIGKILL. When this
    /// returns, no process that it started is alive.
    ///
    /// # Errors
    /// None at present: what goes wrong with one sandbox is said in its status.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut mirror = JoinSet::new();
        if self.logs {
            let (lines, write) = logs::mirror();
            *self.machine.mirror.lock() = Some(lines);
            mirror.spawn(write);
        }
        let machine = Arc::clone(&self.machine);
        Reconciler::new(self.store, self.machine, self.journal)
            .run(&shutdown)
            .await;
        *machine.mirror.lock() = None;
        // A terminal that takes nothing any more is no reason to stay.
        let told = async { while mirror.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_LINES, told).await.is_err() {
            mirror.shutdown().await;
        }
        Ok(())
    }
}

/// An agent that declares no port listens where nothing leads, unless it reads `PORT`.
fn tell_of_no_port(object: &Object) {
    let template = match object {
        Object::Sandbox(sandbox) => &sandbox.spec.pod_template,
        Object::Template(template) => &template.spec.pod_template,
        Object::Pool(_) | Object::Claim(_) | Object::Policy(_) => return,
    };
    if !environment::written_ports(template).is_empty() {
        return;
    }
    let (kind, port) = (object.kind(), DEFAULT_PORT);
    let key = object.key().map(|key| key.to_string()).unwrap_or_default();
    tracing::warn!(
        object = %key,
        "{kind} {key} declares no port, so only requests to port {port} reach it, at the port that its process finds in PORT; say in `ports: [{{containerPort: …}}]` where it listens"
    );
}

#[cfg(test)]
mod tests;
