//! One claim: the Sandbox that stands for it, out of a pool or started cold.
//!
//! ```text
//! bound, and the Sandbox is there        -> its conditions are the claim's
//! env or volumes of its own              -> cold start
//! a ready member                         -> adopted; it keeps its name and its running pod
//! a member on its way, none before us    -> wait for it, at most 2 s after the claim's creation
//! else                                   -> cold start, named as the claim
//! ```
//! A bound Sandbox that is deleted is replaced in the same way: same claim, empty disk.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use reveille_crds::SandboxKey;
use reveille_crds::claim::{ClaimShutdownPolicy, SandboxClaimStatus};
use reveille_crds::names::annotation;

use super::claim_spec::Wishes;
use super::conditions::{self, Verdict};
use super::reconcile::Reconciler;
use super::sandbox::owner;
use crate::store::{ClaimObject, Kind, SandboxObject};

impl Reconciler {
    /// Makes one claim so.
    pub(super) fn claim(&mut self, key: &SandboxKey) {
        let Some(object) = self.store.get::<ClaimObject>(key) else {
            self.journal.claim(key, None);
            self.waiting.remove(key);
            return;
        };
        self.journal.claim(key, Some(&object));
        let meta = &object.claim.metadata;
        let sandbox = self.sandbox_of(key, &object);
        if meta.deletion_timestamp.is_some() {
            self.waiting.remove(key);
            match sandbox {
                Some((sandbox, _)) => self.store.delete::<SandboxObject>(&sandbox),
                None => {
                    self.store.remove::<ClaimObject>(key);
                    self.journal.claim(key, None);
                }
            }
            return;
        }
        if object.released {
            self.waiting.remove(key);
            return;
        }
        let wishes = Wishes::of(&object.claim);
        if let Some(expiry) = wishes.expiry() {
            if expiry <= Timestamp::now() {
                return self.expire_claim(
                    key,
                    &object,
                    wishes.shutdown_policy(),
                    sandbox.map(|(key, _)| key),
                );
            }
            self.look_at(Kind::Claim, key, expiry);
        }
        match sandbox {
            Some((name, sandbox)) if sandbox.sandbox.metadata.deletion_timestamp.is_none() => {
                self.waiting.remove(key);
                self.report(key, &name, &sandbox);
            }
            Some(_) => self.say(
                key,
                &object,
                "SandboxMissing",
                "the bound sandbox is being deleted",
            ),
            None => self.bind(key, &object),
        }
    }

    /// The Sandbox that this claim controls: the one it says, or a cold start under its own name.
    fn sandbox_of(
        &self,
        key: &SandboxKey,
        object: &ClaimObject,
    ) -> Option<(SandboxKey, std::sync::Arc<SandboxObject>)> {
        let meta = &object.claim.metadata;
        let named = meta
            .annotations
            .as_ref()
            .and_then(|all| all.get(annotation::SANDBOX_NAME))
            .map(String::as_str);
        [named, Some(key.name())]
            .into_iter()
            .flatten()
            .find_map(|name| {
                let sandbox_key = key.sibling(name).ok()?;
                let sandbox = self.store.get::<SandboxObject>(&sandbox_key)?;
                let ours = owner(&sandbox.sandbox.metadata)
                    .is_some_and(|owner| Some(&owner.uid) == meta.uid.as_ref());
                ours.then_some((sandbox_key, sandbox))
            })
    }

    pub(super) fn report(&self, key: &SandboxKey, name: &SandboxKey, sandbox: &SandboxObject) {
        self.store.update(key, |object: &mut ClaimObject| {
            let generation = object.claim.metadata.generation;
            let old = object
                .claim
                .status
                .take()
                .map(|status| status.conditions)
                .unwrap_or_default();
            object.claim.status = Some(conditions::claim(&old, generation, name.name(), sandbox));
        });
    }

    /// Ready is false, for a reason of the claim's own; it has no Sandbox.
    pub(super) fn say(
        &self,
        key: &SandboxKey,
        object: &ClaimObject,
        reason: &str,
        message: impl Into<String>,
    ) {
        let old = object
            .claim
            .status
            .as_ref()
            .map_or(&[][..], |status| &status.conditions);
        let verdict = Verdict::new("Ready", false, reason, message);
        let conditions =
            conditions::conditions(old, object.claim.metadata.generation, vec![verdict]);
        self.store.update(key, |object: &mut ClaimObject| {
            if let Some(annotations) = &mut object.claim.metadata.annotations {
                annotations.remove(annotation::SANDBOX_NAME);
            }
            object.claim.status = Some(SandboxClaimStatus {
                conditions,
                sandbox: None,
            });
        });
    }

    /// Expiry of a claim deletes its Sandbox, and the claim itself unless it is to be kept.
    fn expire_claim(
        &mut self,
        key: &SandboxKey,
        object: &ClaimObject,
        policy: ClaimShutdownPolicy,
        sandbox: Option<SandboxKey>,
    ) {
        self.waiting.remove(key);
        if let Some(sandbox) = sandbox {
            self.store.delete::<SandboxObject>(&sandbox);
        }
        if policy == ClaimShutdownPolicy::Retain {
            let verdict = Verdict::new("Ready", false, "ClaimExpired", "spec.lifecycle is over");
            let old = object
                .claim
                .status
                .as_ref()
                .map_or(&[][..], |status| &status.conditions);
            let conditions =
                conditions::conditions(old, object.claim.metadata.generation, vec![verdict]);
            self.store.update(key, |object: &mut ClaimObject| {
                object.claim.status = Some(SandboxClaimStatus {
                    conditions,
                    sandbox: None,
                });
            });
        } else {
            self.store.delete::<ClaimObject>(key);
        }
    }
}

/// The instant `seconds` after `time`.
pub(super) fn after(time: &Time, seconds: i32) -> Option<Timestamp> {
    time.0
        .checked_add(SignedDuration::from_secs(seconds.into()))
        .ok()
}
