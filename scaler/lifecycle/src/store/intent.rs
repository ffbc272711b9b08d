//! The whole of what a scaler may write, each write fenced by UID and epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use reveille_crds::SandboxKey;
use reveille_crds::change::Hold;
use reveille_crds::claim::SandboxClaim;
use reveille_crds::facts::busy_until;
use reveille_crds::names::{annotation, label};
use reveille_crds::sandbox::OperatingMode;
use reveille_crds::scaled_sandbox::{ScaledSandbox, ScaledSandboxStatus};

use super::kind::{ClaimObject, SandboxObject};
use super::{State, Store};

/// A wake or a sleep of one Sandbox.
#[derive(Clone, Debug)]
pub struct ModeChange {
    /// The Sandbox's own key.
    pub key: SandboxKey,
    /// Its UID.
    pub uid: Arc<str>,
    /// Its epoch as the writer knows it.
    pub epoch: u64,
    /// The busy lease that stands on it, as the writer knows it; it ends with this change.
    pub busy_until: Option<Timestamp>,
    /// Its mode as the writer knows it.
    pub from: OperatingMode,
    /// The mode wanted.
    pub to: OperatingMode,
    /// Cause, as the annotation says it.
    pub cause: &'static str,
}

/// A release or a binding of one claim.
#[derive(Clone, Debug)]
pub struct ClaimChange {
    /// The claim's key.
    pub key: SandboxKey,
    /// Its UID; for a released claim the one it had.
    pub uid: Arc<str>,
    /// Its epoch as the writer knows it.
    pub epoch: u64,
    /// The sleep of the Sandbox bound to it as the writer knows it; none for a released claim.
    pub sandbox: Option<ModeChange>,
    /// Cause, as the annotation says it.
    pub cause: &'static str,
}

/// Why an intent was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntentError {
    /// There is no such object.
    #[error("not found")]
    NotFound,
    /// The object is not what the writer thought; look again and decide afresh.
    #[error("conflict: {0}")]
    Conflict(String),
    /// It may not be done to this object.
    #[error("denied: {0}")]
    Denied(String),
    /// The store cannot be reached.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl IntentError {
    /// Whether the very same write may succeed later.
    #[must_use]
    pub const fn retry(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl Store {
    /// Wakes a Sandbox or puts it to sleep; answers the new epoch.
    ///
    /// # Errors
    /// `Conflict` unless UID, epoch, mode and busy lease are as told and the object is not being deleted;
    /// `Denied` for an unclaimed member of a warm pool.
    pub fn set_mode(&self, change: &ModeChange) -> Result<u64, IntentError> {
        self.try_update(&change.key, |object: &mut SandboxObject| {
            let epoch = may_change(object, change)?;
            let sandbox = &mut object.sandbox;
            sandbox.spec.operating_mode = change.to;
            if let Some(annotations) = &mut sandbox.metadata.annotations {
                annotations.remove(annotation::BUSY_UNTIL);
            }
            stamp(&mut sandbox.metadata, epoch, change.to, change.cause);
            Ok(epoch)
        })
    }

    /// Puts a claim to sleep: it and its Sandbox go, its manifest is remembered. Answers the new epoch.
    ///
    /// # Errors
    /// `Conflict` unless UID and epoch are as told, it is neither released nor being deleted, and it has
    /// no other living Sandbox than the one told of (it may have been bound anew, and that one is in use),
    /// with no other epoch, mode and busy lease than told.
    pub fn release_claim(&self, change: &ClaimChange) -> Result<u64, IntentError> {
        self.write(|state| {
            let own = sandboxes_of(state, &change.key);
            let is_other = |object: &SandboxObject| {
                let meta = &object.sandbox.metadata;
                let told = change.sandbox.as_ref().map(|told| &*told.uid);
                meta.deletion_timestamp.is_none() && meta.uid.as_deref() != told
            };
            let rebound = own.iter().any(|(_, object)| is_other(object));
            let living = own.iter().filter(|(_, object)| {
                let meta = &object.sandbox.metadata;
                meta.deletion_timestamp.is_none() && !is_other(object)
            });
            for ((_, object), told) in living.zip(&change.sandbox) {
                may_change(object, told)?;
            }
            let epoch = state.edit(&change.key, |object: &mut ClaimObject| {
                let epoch = fence(&object.claim.metadata, &change.uid, change.epoch)?;
                if object.released {
                    return Err(IntentError::Conflict("it is released already".to_owned()));
                }
                if rebound {
                    return Err(IntentError::Conflict("it is bound to another".to_owned()));
                }
                object.released = true;
                object.claim.status = None;
                let meta = &mut object.claim.metadata;
                if let Some(annotations) = &mut meta.annotations {
                    annotations.remove(annotation::SANDBOX_NAME);
                }
                stamp(meta, epoch, OperatingMode::Suspended, change.cause);
                Ok(epoch)
            })?;
            for (key, _) in &own {
                state.delete::<SandboxObject>(key);
            }
            Ok(epoch)
        })
    }

    /// Wakes a released claim: it is created again, with a new UID. Answers the new epoch.
    ///
    /// # Errors
    /// `Conflict` unless UID and epoch are as told and it is released.
    pub fn bind_claim(&self, change: &ClaimChange) -> Result<u64, IntentError> {
        self.try_update(&change.key, |object: &mut ClaimObject| {
            let epoch = fence(&object.claim.metadata, &change.uid, change.epoch)?;
            if !object.released {
                return Err(IntentError::Conflict("it is bound already".to_owned()));
            }
            object.released = false;
            let meta = &mut object.claim.metadata;
            meta.uid = Some(uuid::Uuid::new_v4().to_string());
            meta.creation_timestamp = Some(Time(Timestamp::now()));
            stamp(meta, epoch, OperatingMode::Running, change.cause);
            Ok(epoch)
        })
    }

    /// Pins a Sandbox, or takes the pin away.
    ///
    /// # Errors
    /// `NotFound` if there is no such Sandbox.
    pub fn set_hold(&self, key: &SandboxKey, hold: Option<Hold>) -> Result<(), IntentError> {
        self.try_update(key, |object: &mut SandboxObject| {
            let annotations = object.sandbox.metadata.annotations.get_or_insert_default();
            let text = match hold {
                Some(Hold::Awake) => "awake",
                Some(Hold::Asleep) => "asleep",
                None => {
                    annotations.remove(annotation::HOLD);
                    return Ok(());
                }
            };
            annotations.insert(annotation::HOLD.to_owned(), text.to_owned());
            Ok(())
        })
    }

    /// Sets a busy lease on an awake Sandbox, or ends it.
    ///
    /// # Errors
    /// `NotFound` if there is no such Sandbox; `Conflict` if it has another UID, sleeps or is being deleted.
    pub fn set_lease(
        &self,
        key: &SandboxKey,
        uid: &str,
        busy_until: Option<Timestamp>,
    ) -> Result<(), IntentError> {
        self.try_update(key, |object: &mut SandboxObject| {
            let sandbox = &mut object.sandbox;
            fence(&sandbox.metadata, uid, epoch_of(&sandbox.metadata))?;
            if sandbox.spec.operating_mode != OperatingMode::Running {
                return Err(IntentError::Conflict("it sleeps".to_owned()));
            }
            let annotations = sandbox.metadata.annotations.get_or_insert_default();
            match busy_until {
                Some(until) => {
                    annotations.insert(annotation::BUSY_UNTIL.to_owned(), until.to_string())
                }
                None => annotations.remove(annotation::BUSY_UNTIL),
            };
            Ok(())
        })
    }

    /// Writes what a policy governs.
    ///
    /// # Errors
    /// `NotFound` if there is no such policy.
    pub fn set_policy_status(
        &self,
        key: &SandboxKey,
        status: ScaledSandboxStatus,
    ) -> Result<(), IntentError> {
        self.try_update(key, |policy: &mut ScaledSandbox| {
            policy.status = Some(status);
            Ok(())
        })
    }
}

/// The next epoch, if the object is the one that the writer looked at.
fn fence(meta: &ObjectMeta, uid: &str, epoch: u64) -> Result<u64, IntentError> {
    if meta.uid.as_deref() != Some(uid) {
        return Err(IntentError::Conflict(
            "it was replaced by another of its name".to_owned(),
        ));
    }
    if meta.deletion_timestamp.is_some() {
        return Err(IntentError::Conflict("it is being deleted".to_owned()));
    }
    let present = epoch_of(meta);
    if present != epoch {
        return Err(IntentError::Conflict(format!(
            "its epoch is {present}, not {epoch}"
        )));
    }
    present
        .checked_add(1)
        .ok_or_else(|| IntentError::Denied("no epoch is left".to_owned()))
}

/// The next epoch of a Sandbox, if it is as the writer knows it.
fn may_change(object: &SandboxObject, change: &ModeChange) -> Result<u64, IntentError> {
    let sandbox = &object.sandbox;
    let epoch = fence(&sandbox.metadata, &change.uid, change.epoch)?;
    if labels(&sandbox.metadata).is_some_and(|labels| labels.contains_key(label::WARM_POOL)) {
        return Err(IntentError::Denied(
            "an unclaimed member of a warm pool".to_owned(),
        ));
    }
    if sandbox.spec.operating_mode != change.from {
        return Err(IntentError::Conflict(format!(
            "it is {:?} already",
            sandbox.spec.operating_mode
        )));
    }
    same_lease(&sandbox.metadata, change.busy_until)?;
    Ok(epoch)
}

fn same_lease(meta: &ObjectMeta, known: Option<Timestamp>) -> Result<(), IntentError> {
    if busy_until(meta) == known {
        return Ok(());
    }
    Err(IntentError::Conflict(
        "its busy lease has changed".to_owned(),
    ))
}

fn epoch_of(meta: &ObjectMeta) -> u64 {
    let text = meta
        .annotations
        .as_ref()
        .and_then(|all| all.get(annotation::EPOCH));
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn stamp(meta: &mut ObjectMeta, epoch: u64, to: OperatingMode, cause: &str) {
    let (when, why) = match to {
        OperatingMode::Running => (annotation::LAST_WAKE, annotation::WAKE_REASON),
        OperatingMode::Suspended => (annotation::LAST_SLEEP, annotation::SLEEP_REASON),
    };
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(annotation::EPOCH.to_owned(), epoch.to_string());
    annotations.insert(when.to_owned(), Timestamp::now().to_string());
    annotations.insert(why.to_owned(), cause.to_owned());
}

fn labels(meta: &ObjectMeta) -> Option<&BTreeMap<String, String>> {
    meta.labels.as_ref()
}

/// The Sandboxes that a claim controls: the one it names, and a cold start under its own name.
fn sandboxes_of(state: &State, claim: &SandboxKey) -> Vec<(SandboxKey, Arc<SandboxObject>)> {
    let Some(object) = state.get::<ClaimObject>(claim) else {
        return Vec::new();
    };
    let SandboxClaim {
        metadata, status, ..
    } = &object.claim;
    let bound = status.as_ref().and_then(|status| status.sandbox.as_ref());
    let annotations = metadata.annotations.as_ref();
    let names: BTreeSet<&str> = [
        bound.map(|bound| bound.name.as_str()),
        annotations.and_then(|all| all.get(annotation::SANDBOX_NAME).map(String::as_str)),
        Some(claim.name()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let found = names.into_iter().filter_map(|name| {
        let key = claim.sibling(name).ok()?;
        let sandbox = state.get::<SandboxObject>(&key)?;
        let owners = sandbox.sandbox.metadata.owner_references.iter().flatten();
        let own = owners
            .into_iter()
            .any(|owner| Some(&owner.uid) == metadata.uid.as_ref());
        own.then(|| (key, Arc::clone(sandbox)))
    });
    found.collect()
}
