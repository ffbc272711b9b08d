//! The controller's loop: one task, which looks at what changed and makes it so.
//!
//! Level, not edge: each look starts from the store's present state and may be repeated at will. Nothing
//! in the loop waits: pods live in tasks of their own, which write their status into the store and so
//! come back here as changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use reveille_crds::SandboxKey;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::journal::{Journal, Memory};
use super::machine::Machine;
use super::state_dir;
use super::stop::Stop;
use super::timers::Timers;
use crate::store::{Id, Kind, Store};

/// Longest wait for a wall-clock instant before looking at the clock again, since it may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The state of the loop.
pub(super) struct Reconciler {
    pub(super) machine: Arc<Machine>,
    pub(super) store: Store,
    pub(super) journal: Journal,
    /// Pods that exist, by their Sandbox.
    pub(super) pods: HashMap<SandboxKey, Handle>,
    pub(super) tasks: JoinSet<()>,
    pub(super) by_task: HashMap<tokio::task::Id, SandboxKey>,
    pub(super) timers: Timers,
    /// Unclaimed members by pool.
    pub(super) members: HashMap<SandboxKey, BTreeSet<SandboxKey>>,
    /// Delays of pools whose members end, and when each may make new ones.
    pub(super) pool_backoff: HashMap<SandboxKey, (Backoff, Instant)>,
    /// Claims that wait for a member of a pool to become ready.
    pub(super) waiting: BTreeMap<SandboxKey, SandboxKey>,
    /// The trash has something in it.
    pub(super) trash: bool,
    cleaner: JoinSet<()>,
}

/// A pod that exists.
pub(super) struct Handle {
    pub(super) stop: Stop,
    /// Between SIGTERM and SIGKILL.
    pub(super) grace: Duration,
    /// Its task is over: no process of it is left.
    pub(super) ended: bool,
    /// Generation of the Sandbox it was made from.
    pub(super) generation: Option<i64>,
}

impl Reconciler {
    pub(super) fn new(store: Store, machine: Arc<Machine>, journal: Journal) -> Self {
        Self {
            store,
            machine,
            journal,
            pods: HashMap::new(),
            tasks: JoinSet::new(),
            by_task: HashMap::new(),
            timers: Timers::default(),
            members: HashMap::new(),
            pool_backoff: HashMap::new(),
            waiting: BTreeMap::new(),
            trash: true,
            cleaner: JoinSet::new(),
        }
    }

    /// Runs until `shutdown`, then ends every pod.
    pub(super) async fn run(&mut self, shutdown: &CancellationToken) {
        let mut feed = self.store.feed();
        loop {
            let timer = self.timers.next();
            tokio::select! {
                biased; // the end first; an ended pod before the change it causes; timers have time
                () = shutdown.cancelled() => break,
                Some(ended) = self.tasks.join_next_with_id() => {
                    if let Some(key) = self.task_ended(ended) {
                        self.sandbox(&key);
                    }
                }
                id = feed.next() => self.look(&id),
                () = until(timer) => {
                    while let Some(id) = self.timers.due(Instant::now()) {
                        self.look(&id);
                    }
                }
            }
            if self.journal.wants_rewrite() {
                self.compact();
            }
            self.clean();
            // A start with thousands of objects must not keep a worker to itself.
            tokio::task::consume_budget().await;
        }
        self.end_all().await;
    }

    fn look(&mut self, id: &Id) {
        match id.kind {
            Kind::Sandbox | Kind::Pod => self.sandbox(&id.key),
            Kind::Claim => self.claim(&id.key),
            Kind::Pool => self.pool(&id.key),
            // What is made from a template keeps what it was made from.
            Kind::Template | Kind::Policy => {}
        }
    }

    /// Takes note of a pod task's end; answers whose it was.
    fn task_ended(
        &mut self,
        ended: Result<(tokio::task::Id, ()), JoinError>,
    ) -> Option<SandboxKey> {
        let (task, panicked) = match &ended {
            Ok((task, ())) => (*task, false),
            Err(error) => (error.id(), true),
        };
        let key = self.by_task.remove(&task)?;
        if panicked {
            tracing::error!(sandbox = %key, "the task of the pod of {key} ended early, so the pod is replaced");
        }
        let deleted = self
            .store
            .get::<Pod>(&key)
            .is_none_or(|pod| pod.metadata.deletion_timestamp.is_some());
        if deleted || panicked {
            self.pods.remove(&key);
            self.store.remove::<Pod>(&key);
        } else if let Some(handle) = self.pods.get_mut(&key) {
            handle.ended = true;
        }
        Some(key)
    }

    /// Ends a pod: at once where nothing of it runs, else its task ends it.
    pub(super) fn end_pod(&mut self, key: &SandboxKey) {
        self.store.delete::<Pod>(key);
        match self.pods.get(key) {
            Some(handle) if !handle.ended => handle.stop.within(handle.grace),
            _ => {
                self.pods.remove(key);
                self.store.remove::<Pod>(key);
            }
        }
    }

    /// Looks at an object when the wall clock says `when`.
    pub(super) fn look_at(&mut self, kind: Kind, key: &SandboxKey, when: Timestamp) {
        let left = Duration::try_from(when.duration_since(Timestamp::now())).unwrap_or_default();
        self.timers.set(
            Id {
                kind,
                key: key.clone(),
            },
            Instant::now() + left.min(LOOK_AGAIN),
        );
    }

    fn compact(&mut self) {
        let present = Memory::of(&self.store);
        if let Err(error) = self.journal.rewrite(&present) {
            tracing::error!(%error, "cannot rewrite the journal of objects, so it goes on growing: {error}");
        }
    }

    /// Empties the trash beside the loop, one round at a time.
    fn clean(&mut self) {
        while self.cleaner.try_join_next().is_some() {}
        if self.trash && self.cleaner.is_empty() {
            self.trash = false;
            let trash = self.machine.state.trash();
            self.cleaner
                .spawn_blocking(move || state_dir::empty(&trash));
        }
    }

    async fn end_all(&mut self) {
        let keys: Vec<SandboxKey> = self.pods.keys().cloned().collect();
        for key in &keys {
            self.end_pod(key);
        }
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.task_ended(ended);
        }
        self.trash = true;
        while self.cleaner.join_next().await.is_some() {}
        self.clean();
        while self.cleaner.join_next().await.is_some() {}
    }
}

async fn until(timer: Option<Instant>) {
    match timer {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
