//! What all pods of this machine share.

use std::collections::BTreeMap;
use std::path::PathBuf;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};

use super::group::Strays;
use super::ports::Ports;
use super::state_dir::{self, StateDir};
use super::volumes::InUse;
use super::{Config, Error, orphans};

/// Pods that may be between their first process and their first readiness at once. A start is mostly the
/// agent's own CPU; more at once than this only makes each of them later.
const STARTS: usize = 32;

/// The state folder, locked, and what pods take turns at.
pub struct Machine {
    pub(super) state: StateDir,
    pub(super) inherited: BTreeMap<String, String>,
    pub(super) search: Vec<PathBuf>,
    pub(super) ports: Ports,
    pub(super) in_use: InUse,
    pub(super) strays: Strays,
    /// Places among pods that start at once.
    pub(super) starts: Semaphore,
    pub(super) mirror: Mutex<Option<mpsc::Sender<String>>>,
}

impl Machine {
    /// Locks the state folder and ends what a killed predecessor left running. `config.logs` is not
    /// heeded here.
    ///
    /// # Errors
    /// If the state folder is in use or not writable, or if an orphan does not end.
    pub async fn open(config: Config) -> Result<Self, Error> {
        let state = StateDir::open(&config.state_dir)?;
        Self::on(state, config).await
    }

    pub(super) async fn on(state: StateDir, config: Config) -> Result<Self, Error> {
        let ended = orphans::end_all(&state.run())
            .await
            .map_err(|pid| Error::Orphan { pid: pid.as_raw() })?;
        if ended > 0 {
            tracing::info!(
                ended,
                "ended {ended} pods that a killed predecessor left running"
            );
        }
        state.discard_scratch();
        Ok(Self {
            state,
            inherited: config.env,
            search: config.path_dirs,
            ports: Ports::default(),
            in_use: InUse::default(),
            strays: Strays::default(),
            starts: Semaphore::new(STARTS),
            mirror: Mutex::new(None),
        })
    }

    /// Folder of what outlives pods.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        self.state.volumes()
    }

    /// Folder of one volume that ends with its pod's run. Not created here.
    #[must_use]
    pub fn scratch(&self, pod_uid: &str, volume: &str) -> PathBuf {
        self.state.scratch(pod_uid).join(volume)
    }

    /// Log file of one container.
    #[must_use]
    pub fn log(&self, namespace: &str, pod: &str, container: &str) -> PathBuf {
        self.state.log(namespace, pod, container)
    }

    /// Takes what a pod that was never run has in [`Machine::scratch`] out of the way.
    pub fn discard_scratch(&self, pod_uid: &str) {
        let folder = self.state.scratch(pod_uid);
        if folder.exists() {
            self.state.discard(&folder);
        }
    }

    /// Deletes what ended pods left to delete. Blocking, and as long as that is large.
    pub fn empty_trash(&self) {
        state_dir::empty(&self.state.trash());
    }
}
