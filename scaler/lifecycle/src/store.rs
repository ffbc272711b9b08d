//! The objects of one machine, in memory, with the manners of an API server.
//!
//! One short mutex guards everything; no lock is held across an await, and watchers are woken after it
//! is released. An object costs its metadata, its status and its facts: pod templates that are equal
//! are kept once. A [`Watch`] is coalescing: per watcher there is a set of changed keys, so it is
//! bounded by the number of objects however slow the watcher, and it tells the latest state only.

mod dirty;
mod intent;
mod kind;
mod templates;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use parking_lot::Mutex;
use reveille_crds::SandboxKey;
use reveille_crds::change::Change;
use reveille_crds::key::InvalidKey;
use tokio::sync::Notify;

use self::dirty::Dirty;
pub(crate) use self::dirty::Id;
pub use self::intent::{ClaimChange, IntentError, ModeChange};
pub(crate) use self::kind::{ClaimObject, Kind, SandboxObject, Stored};
use self::kind::{Entry, Tables};
use self::templates::Templates;
use crate::object::{Object, key_of};

/// The objects of one machine. Cloning shares them.
#[derive(Clone, Default)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    /// Wakes every watcher; each looks into its own set. There are a handful of them.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// `resourceVersion` of the last write.
    version: u64,
    tables: Tables,
    templates: Templates,
    watchers: HashMap<u64, Watcher>,
    next_watcher: u64,
}

struct Watcher {
    dirty: Dirty,
    /// Told only what changes the facts, or told every write.
    facts_only: bool,
}

impl Store {
    /// A store without objects.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates or replaces an object, as `kubectl apply` would. UID, creation instant and generation are
    /// filled in unless the object brings them.
    ///
    /// # Errors
    /// If its namespace or name is no DNS-1123 label.
    pub fn apply(&self, object: Object) -> Result<SandboxKey, InvalidKey> {
        let key = object.key()?;
        match object {
            Object::Sandbox(sandbox) => {
                self.insert_sandbox(&key, *sandbox);
            }
            Object::Template(template) => self.insert(&key, *template),
            Object::Pool(pool) => self.insert(&key, *pool),
            Object::Claim(claim) => self.insert(
                &key,
                ClaimObject {
                    claim: *claim,
                    released: false,
                },
            ),
            Object::Policy(policy) => self.insert(&key, *policy),
        }
        Ok(key)
    }

    /// Creates or replaces a pod.
    ///
    /// # Errors
    /// If its namespace or name is no DNS-1123 label.
    pub fn apply_pod(&self, pod: Pod) -> Result<SandboxKey, InvalidKey> {
        let key = key_of(&pod.metadata)?;
        self.insert(&key, pod);
        Ok(key)
    }

    /// Removes a pod at once.
    pub fn remove_pod(&self, key: &SandboxKey) {
        self.remove::<Pod>(key);
    }

    /// Removes a Sandbox at once, as if nothing of it were left to end.
    pub fn remove_sandbox(&self, key: &SandboxKey) {
        self.remove::<SandboxObject>(key);
    }

    /// Everything that exists, then [`Change::Synced`], then each change.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch {
            feed: self.register(true),
            synced: false,
        }
    }

    /// Keys of every kind, for the controller; existing objects first.
    pub(crate) fn feed(&self) -> Feed {
        self.register(false)
    }

    fn register(&self, facts_only: bool) -> Feed {
        let mut state = self.inner.state.lock();
        let id = state.next_watcher;
        state.next_watcher += 1;
        let mut dirty = Dirty::default();
        for each in state.tables.ids() {
            dirty.add(each);
        }
        let initial = dirty.len();
        state.watchers.insert(id, Watcher { dirty, facts_only });
        Feed {
            inner: Arc::clone(&self.inner),
            id,
            initial,
        }
    }

    pub(crate) fn get<T: Stored>(&self, key: &SandboxKey) -> Option<Arc<T>> {
        self.inner.state.lock().get(key).map(Arc::clone)
    }

    pub(crate) fn keys<T: Stored>(&self) -> Vec<SandboxKey> {
        let state = self.inner.state.lock();
        T::table(&state.tables).keys().cloned().collect()
    }

    pub(crate) fn insert_sandbox(
        &self,
        key: &SandboxKey,
        mut sandbox: reveille_crds::sandbox::Sandbox,
    ) {
        let template = std::mem::take(&mut sandbox.spec.pod_template);
        let template = self.inner.state.lock().templates.share(template);
        self.insert(key, SandboxObject { sandbox, template });
    }

    pub(crate) fn insert<T: Stored>(&self, key: &SandboxKey, mut object: T) {
        self.write(|state| {
            let old = state.get(key).map(Arc::clone);
            state.version += 1;
            let meta = object.meta_mut();
            fill(meta, key, state.version, old.as_deref().map(T::meta));
            if let Some(old) = &old
                && !old.same_spec(&object)
            {
                bump(object.meta_mut());
            }
            state.put(key, object);
        });
    }

    /// Changes an object in place; `None` if there is none. What `change` did not change is not told.
    pub(crate) fn update<T: Stored, R>(
        &self,
        key: &SandboxKey,
        change: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        self.try_update(key, |object| Ok(change(object))).ok()
    }

    /// As [`Store::update`]; nothing is changed when `change` answers an error.
    pub(crate) fn try_update<T: Stored, R>(
        &self,
        key: &SandboxKey,
        change: impl FnOnce(&mut T) -> Result<R, IntentError>,
    ) -> Result<R, IntentError> {
        self.write(|state| state.edit(key, change))
    }

    /// Sets the deletion timestamp; whoever looks after the object removes it when its rest is gone.
    pub(crate) fn delete<T: Stored>(&self, key: &SandboxKey) {
        self.write(|state| state.delete::<T>(key));
    }

    pub(crate) fn remove<T: Stored>(&self, key: &SandboxKey) {
        self.write(|state| {
            if T::table_mut(&mut state.tables).remove(key).is_some() {
                state.version += 1;
                state.mark(T::KIND, key, true);
            }
        });
    }

    /// Runs `change` under the lock and wakes the watchers after it, if it wrote anything.
    fn write<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.inner.state.lock();
        let before = state.version;
        let result = change(&mut state);
        let wrote = state.version != before;
        drop(state);
        if wrote {
            self.inner.changed.notify_waiters();
        }
        result
    }
}

impl State {
    fn get<T: Stored>(&self, key: &SandboxKey) -> Option<&Arc<T>> {
        T::table(&self.tables).get(key).map(|entry| &entry.object)
    }

    /// Changes an object in place; nothing is changed when `change` answers an error.
    fn edit<T: Stored, R>(
        &mut self,
        key: &SandboxKey,
        change: impl FnOnce(&mut T) -> Result<R, IntentError>,
    ) -> Result<R, IntentError> {
        let old = Arc::clone(self.get::<T>(key).ok_or(IntentError::NotFound)?);
        let mut new = T::clone(&old);
        let result = change(&mut new)?;
        if *old != new {
            self.version += 1;
            new.meta_mut().resource_version = Some(self.version.to_string());
            if !old.same_spec(&new) {
                bump(new.meta_mut());
            }
            self.put(key, new);
        }
        Ok(result)
    }

    /// What is not there needs no deletion.
    fn delete<T: Stored>(&mut self, key: &SandboxKey) {
        let marked = self.edit(key, |object: &mut T| {
            let deleted = &mut object.meta_mut().deletion_timestamp;
            deleted.get_or_insert_with(|| Time(Timestamp::now()));
            Ok(())
        });
        drop(marked);
    }

    fn put<T: Stored>(&mut self, key: &SandboxKey, object: T) {
        let facts = object.facts().map(Arc::new);
        let table = T::table_mut(&mut self.tables);
        let told = facts.as_deref() != table.get(key).and_then(|old| old.facts.as_deref());
        table.insert(
            key.clone(),
            Entry {
                object: Arc::new(object),
                facts,
            },
        );
        self.mark(T::KIND, key, told);
    }

    fn mark(&mut self, kind: Kind, key: &SandboxKey, facts_changed: bool) {
        for watcher in self
            .watchers
            .values_mut()
            .filter(|watcher| facts_changed || !watcher.facts_only)
        {
            watcher.dirty.add(Id {
                kind,
                key: key.clone(),
            });
        }
    }
}

fn fill(meta: &mut ObjectMeta, key: &SandboxKey, version: u64, old: Option<&ObjectMeta>) {
    meta.namespace = Some(key.namespace().to_owned());
    meta.name = Some(key.name().to_owned());
    meta.resource_version = Some(version.to_string());
    if meta.uid.is_none() {
        let inherited = old.and_then(|old| old.uid.clone());
        meta.uid = Some(inherited.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()));
    }
    if meta.creation_timestamp.is_none() {
        let inherited = old.and_then(|old| old.creation_timestamp.clone());
        meta.creation_timestamp = Some(inherited.unwrap_or_else(|| Time(Timestamp::now())));
    }
    if meta.generation.is_none() {
        meta.generation = old.and_then(|old| old.generation).or(Some(1));
    }
}

fn bump(meta: &mut ObjectMeta) {
    meta.generation = Some(meta.generation.unwrap_or(0) + 1);
}

/// The keys of changed objects, in the order of their first unseen change.
pub(crate) struct Feed {
    inner: Arc<Inner>,
    id: u64,
    /// Objects that existed at the beginning and are still to be told.
    initial: usize,
}

impl Feed {
    /// The next key, waiting for one. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Id {
        loop {
            let mut changed = std::pin::pin!(self.inner.changed.notified());
            // Registered before looking, so that no change falls between.
            changed.as_mut().enable();
            if let Some(id) = self.take() {
                self.initial = self.initial.saturating_sub(1);
                return id;
            }
            changed.await;
        }
    }

    fn take(&self) -> Option<Id> {
        self.inner
            .state
            .lock()
            .watchers
            .get_mut(&self.id)?
            .dirty
            .take()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.inner.state.lock().watchers.remove(&self.id);
    }
}

/// The changes of a [`Store`], trimmed to facts.
pub struct Watch {
    feed: Feed,
    synced: bool,
}

impl Watch {
    /// The next change, waiting for one. Cancel-safe.
    pub async fn next(&mut self) -> Change {
        loop {
            if self.feed.initial == 0 && !self.synced {
                self.synced = true;
                return Change::Synced;
            }
            let id = self.feed.next().await;
            let state = self.feed.inner.state.lock();
            if let Some(change) = state.tables.change(id) {
                return change;
            }
        }
    }
}

#[cfg(test)]
mod tests;
