//! The table sandbox → slot, a projection of the watch.
//!
//! One task applies changes, in order; requests only look names up, in shards of their own lock, so that
//! no lock is shared by all of them. A name that the watch does not know costs one lookup and leaves
//! nothing behind. When the watch ends the table stays as it is: stale, and serving.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::RwLock;
use reveille_activator_core::view::{Limits, View};
use reveille_crds::SandboxKey;
use reveille_crds::change::Change;
use reveille_crds::index::Index;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};

use crate::Watch;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::sight::Sight;
use crate::slot::{Dirty, Facts, HttpFacts, Slot};
use crate::upstream::Upstream;

mod namespaces;
mod pasts;
mod project;

use namespaces::Namespaces;
use pasts::Pasts;

/// Enough that two requests at the same moment rarely meet, on any machine with fewer cores.
const SHARDS: usize = 64;

/// All targets by name.
pub(crate) struct Directory {
    hasher: RandomState,
    shards: Box<[Shard]>,
    synced: watch::Sender<bool>,
    sight: Arc<Sight>,
}

#[derive(Default)]
struct Shard {
    /// By the target's key.
    targets: RwLock<HashMap<SandboxKey, Arc<Slot>>>,
    /// By the own name of the Sandbox behind a claim.
    aliases: RwLock<HashMap<SandboxKey, Arc<Slot>>>,
    /// Slots of this shard with something to report.
    dirty: Arc<Dirty>,
    /// Tells who looks for a name that something changed.
    news: Notify,
}

/// What a name stands for.
pub(crate) struct Found {
    pub(crate) slot: Arc<Slot>,
    /// The name is that of a Sandbox behind a claim, not the target's key.
    pub(crate) is_alias: bool,
}

impl Directory {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            synced: watch::Sender::new(false),
            sight: Arc::new(Sight::new()),
        }
    }

    /// The slot of a sandbox, by its own name or by that of the claim that stands for it.
    pub(crate) fn find(&self, name: &SandboxKey) -> Option<Found> {
        let shard = self.shard(name);
        let found = |is_alias| move |slot| Found { slot, is_alias };
        let target = shard.targets.read().get(name).cloned().map(found(false));
        target.or_else(|| shard.aliases.read().get(name).cloned().map(found(true)))
    }

    /// Resolves when the watch has told something of names like this one.
    pub(crate) fn news(&self, name: &SandboxKey) -> Notified<'_> {
        self.shard(name).news.notified()
    }

    /// Returns once everything that existed when the watch began is known. Cancel-safe.
    pub(crate) async fn synced(&self) {
        let mut synced = self.synced.subscribe();
        // The sender lives as long as `self`.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// The slot of exactly this target.
    pub(crate) fn target(&self, key: &SandboxKey) -> Option<Arc<Slot>> {
        self.shard(key).targets.read().get(key).cloned()
    }

    /// All slots.
    pub(crate) fn slots(&self) -> Vec<Arc<Slot>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(shard.targets.read().values().cloned());
        }
        all
    }

    /// Takes the slots that have something new to report.
    pub(crate) fn take_dirty(&self) -> Vec<Arc<Slot>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.append(&mut shard.dirty.lock());
        }
        all
    }

    fn shard(&self, name: &SandboxKey) -> &Shard {
        let hash = self.hasher.hash_one(name);
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)]
    }
}

/// Applies the changes of the watch to the directory. Only its task uses it, so the index needs no lock.
pub(crate) struct Projector {
    directory: Arc<Directory>,
    index: Index,
    /// By target, the own name of its Sandbox where that is another one.
    alias: HashMap<SandboxKey, SandboxKey>,
    /// Slots of targets that are no more, whose requests are not over. A new target of that name goes on
    /// with its slot: reports name targets, so one name must not be counted in two places.
    retired: HashMap<SandboxKey, Weak<Slot>>,
    /// Holds idle connections to pods, which end with the pod.
    upstream: Arc<Upstream>,
    unmanaged: Unmanaged,
    pasts: Pasts,
    namespaces: Namespaces,
    metrics: Metrics,
}

/// What holds for a sandbox that no policy governs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unmanaged {
    pub(crate) is_woken: bool,
    pub(crate) limits: Limits,
    pub(crate) websocket_idle: Duration,
    pub(crate) http: HttpFacts,
}

impl Projector {
    pub(crate) fn new(
        directory: Arc<Directory>,
        upstream: Arc<Upstream>,
        config: &Config,
        metrics: Metrics,
    ) -> Self {
        let unmanaged = Unmanaged {
            is_woken: config.wake_unmanaged,
            limits: config.unmanaged,
            websocket_idle: config.unmanaged_websocket_idle,
            http: project::unmanaged_http(config),
        };
        Self {
            directory,
            index: Index::default(),
            alias: HashMap::new(),
            retired: HashMap::new(),
            upstream,
            unmanaged,
            pasts: Pasts::default(),
            namespaces: Namespaces::default(),
            metrics,
        }
    }

    /// Follows the watch to its end.
    pub(crate) async fn follow(mut self, watch: Watch) {
        let Watch {
            mut changes,
            mut current,
        } = watch;
        self.directory.sight.set(*current.borrow_and_update());
        loop {
            tokio::select! {
                // To be blind is told first; that it is over means that the news of it is on its way, which
                // is why slots then wait for it.
                biased;
                Ok(()) = current.changed() => {
                    self.directory.sight.set(*current.borrow_and_update());
                }
                change = changes.recv() => match change {
                    Some(change) => self.apply(change),
                    None => break,
                },
            }
        }
        self.directory.sight.set(false);
        tracing::warn!("the watch has ended, serving what was known last");
    }

    pub(crate) fn apply(&mut self, change: Change) {
        let is_last_of_list = change == Change::Synced;
        let leaving = self.leaving(&change);
        for key in self.index.apply(change) {
            self.refresh(&key);
        }
        // Last: no request is sent to it any more.
        if let Some((pod, grace)) = leaving {
            self.upstream.leave(&pod, grace);
        }
        if is_last_of_list {
            self.directory.synced.send_replace(true);
        }
    }

    /// The pod that a change shows deleted, or on its way out, and how long its processes have to end.
    fn leaving(&self, change: &Change) -> Option<(Arc<str>, Duration)> {
        let Change::Pod(name, facts) = change else {
            return None;
        };
        let before = self.index.pod(name)?;
        let present = facts.as_ref().filter(|facts| facts.uid == before.uid);
        if present.is_some_and(|facts| !facts.terminating) {
            return None;
        }
        let grace = present.unwrap_or(before).grace;
        Some((Arc::clone(&before.uid), Duration::from_secs(grace.into())))
    }

    /// Brings the slot of one target in line with the index.
    fn refresh(&mut self, key: &SandboxKey) {
        let target = self.index.target(key);
        let projected = target
            .filter(|target| target.key == *key)
            .and_then(|target| {
                let past = self
                    .pasts
                    .of(target.policy.as_ref().map(|(policy, _)| policy));
                Some((project::project(&target, &self.unmanaged, &past)?, target))
            });
        let Some(((view, facts), target)) = projected else {
            return self.remove(key);
        };
        let shard = self.directory.shard(key);
        let present = shard.targets.read().get(key).cloned();
        let is_new = present.is_none();
        let known = present.or_else(|| self.retired.remove(key)?.upgrade());
        let slot = match known {
            Some(slot) => {
                self.observe(&slot, view, facts);
                slot
            }
            None => {
                let (dirty, sight) = (&shard.dirty, &self.directory.sight);
                Slot::new(
                    key.clone(),
                    view,
                    facts,
                    Arc::clone(dirty),
                    Arc::clone(sight),
                )
            }
        };
        if is_new {
            slot.count_on(self.namespaces.add(key.namespace()));
            shard.targets.write().insert(key.clone(), Arc::clone(&slot));
            self.metrics.targets.inc();
        }
        let own = target.sandbox.map(|(own, _)| own).filter(|own| own != key);
        let names = [Some(key.clone()), own.clone()];
        self.rename(key, own, &slot);
        for name in names.iter().flatten() {
            self.directory.shard(name).news.notify_waiters();
        }
    }

    /// The Sandbox behind a claim goes by this own name now.
    fn rename(&mut self, key: &SandboxKey, own: Option<SandboxKey>, slot: &Arc<Slot>) {
        if self.alias.get(key) == own.as_ref() {
            return;
        }
        if let Some(old) = self.alias.remove(key) {
            // In one change it may have moved on to another target, whose turn was before this one's.
            let mut aliases = self.directory.shard(&old).aliases.write();
            if aliases
                .get(&old)
                .is_some_and(|present| Arc::ptr_eq(present, slot))
            {
                aliases.remove(&old);
            }
        }
        if let Some(own) = own {
            let aliases = &self.directory.shard(&own).aliases;
            aliases.write().insert(own.clone(), Arc::clone(slot));
            self.alias.insert(key.clone(), own);
        }
    }

    fn observe(&self, slot: &Slot, view: View, facts: Facts) {
        if let Some(gone) = slot.observe(view, facts) {
            self.upstream.drop_pod(&gone);
        }
    }

    fn remove(&mut self, key: &SandboxKey) {
        let removed = self.directory.shard(key).targets.write().remove(key);
        if let Some(slot) = removed {
            self.metrics.targets.dec();
            self.namespaces.remove(key.namespace(), &self.metrics);
            self.rename(key, None, &slot);
            let (view, facts) = project::gone(&self.unmanaged);
            self.observe(&slot, view, facts);
            // What is over by now goes; what stays is bounded by the requests in flight.
            self.retired.retain(|_, slot| slot.strong_count() > 0);
            self.retired.insert(key.clone(), Arc::downgrade(&slot));
        }
    }
}
