//! A watcher's objects joined into targets: a claim with its bound Sandbox, or an unclaimed Sandbox.
//! Where both a claim and what is remembered of its release are there, the claim counts.
//!
//! The drivers of both cores read targets through this, as the shells do through the shared index.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use reveille_scaler_core::view::Policy;

use crate::objects::{Cache, Change, Name, Pod, Sandbox, Uid};

/// A target with all that its watcher knows about it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) sandbox: Option<(Name, Arc<Sandbox>)>,
    pub(crate) claim: Option<ClaimSeen>,
    /// The pod that the Sandbox's UID controls and that is not being deleted.
    pub(crate) pod: Option<Arc<Pod>>,
    /// A pod of that UID that is being deleted.
    pub(crate) terminating: Option<Arc<Pod>>,
    pub(crate) policy: Option<Arc<Policy>>,
}

/// A claim, or what is remembered of one that was released.
#[derive(Clone, Debug)]
pub(crate) struct ClaimSeen {
    pub(crate) uid: Uid,
    pub(crate) epoch: u64,
    pub(crate) released: bool,
    pub(crate) created: Instant,
    /// What is remembered of it stands beside it though it lives.
    pub(crate) leftover: Option<Uid>,
}

impl Cache {
    /// Takes one change; answers the names of the targets that may look different now. A claim that
    /// vanishes counts until `hold`, unless its memory takes its place, and the other way round.
    pub(crate) fn apply(&mut self, change: Change, hold: Instant) -> BTreeSet<Name> {
        let mut touched = BTreeSet::new();
        match change {
            Change::Sandbox(name, sandbox) => {
                touched.extend(self.owner(&name));
                match sandbox {
                    Some(sandbox) => self.sandboxes.insert(Arc::clone(&name), sandbox),
                    None => self.sandboxes.remove(&name),
                };
                touched.extend(self.owner(&name));
                touched.insert(name);
            }
            Change::Claim(name, Some(claim)) => {
                if self.held.remove(&name).is_some() {
                    self.released.remove(&name);
                }
                self.claims.insert(Arc::clone(&name), claim);
                touched.insert(name);
            }
            Change::Released(name, Some(released)) => {
                if self.held.remove(&name).is_some() {
                    self.claims.remove(&name);
                }
                self.released.insert(Arc::clone(&name), released);
                touched.insert(name);
            }
            Change::Claim(name, None) => {
                if self.released.contains_key(&name) {
                    self.claims.remove(&name);
                    touched.insert(name);
                } else if self.claims.contains_key(&name) {
                    self.held.insert(name, hold);
                }
            }
            Change::Released(name, None) => {
                if self.claims.contains_key(&name) {
                    self.released.remove(&name);
                    touched.insert(name);
                } else if self.released.contains_key(&name) {
                    self.held.insert(name, hold);
                }
            }
            Change::Pod(name, pod) => {
                match pod {
                    Some(pod) => self.pods.insert(Arc::clone(&name), pod),
                    None => self.pods.remove(&name),
                };
                touched.extend(self.owner(&name));
                touched.insert(name);
            }
            Change::Policy(name, policy) => {
                match policy {
                    Some(policy) => self.policies.insert(Arc::clone(&name), policy),
                    None => self.policies.remove(&name),
                };
                touched.insert(name);
            }
        }
        touched
    }

    /// What was held until now counts no more; answers whether there was something.
    pub(crate) fn let_go(&mut self, name: &Name, now: Instant) -> bool {
        if self.held.get(name) != Some(&now) {
            return false;
        }
        self.held.remove(name);
        self.claims.remove(name).is_some() | self.released.remove(name).is_some()
    }

    /// The target of this name, if there is one: a claim, or a Sandbox that no claim controls.
    pub(crate) fn target(&self, name: &Name) -> Option<Target> {
        let policy = self.policies.get(name).cloned();
        if let Some(claim) = self.claims.get(name) {
            let sandbox = claim
                .sandbox
                .as_ref()
                .and_then(|bound| self.sandboxes.get_key_value(bound));
            let sandbox = sandbox.filter(|(_, sandbox)| sandbox.claim.as_ref() == Some(name));
            let sandbox = sandbox.map(|(name, sandbox)| (Arc::clone(name), Arc::clone(sandbox)));
            let leftover = self.released.get(name);
            let seen = ClaimSeen {
                uid: Arc::clone(&claim.uid),
                epoch: claim.epoch,
                released: false,
                created: claim.created,
                leftover: leftover.map(|leftover| Arc::clone(&leftover.uid)),
            };
            return Some(self.with_pod(sandbox, Some(seen), policy));
        }
        if let Some(released) = self.released.get(name) {
            let seen = ClaimSeen {
                uid: Arc::clone(&released.claim),
                epoch: released.epoch,
                released: true,
                created: released.created,
                leftover: None,
            };
            return Some(self.with_pod(None, Some(seen), policy));
        }
        let sandbox = self
            .sandboxes
            .get(name)
            .filter(|sandbox| sandbox.claim.is_none())?;
        Some(self.with_pod(Some((Arc::clone(name), Arc::clone(sandbox))), None, policy))
    }

    fn with_pod(
        &self,
        sandbox: Option<(Name, Arc<Sandbox>)>,
        claim: Option<ClaimSeen>,
        policy: Option<Arc<Policy>>,
    ) -> Target {
        let pod = sandbox.as_ref().and_then(|(name, sandbox)| {
            let pod = self.pods.get(name)?;
            (pod.sandbox_uid == sandbox.uid).then(|| Arc::clone(pod))
        });
        let (pod, terminating) = match pod {
            Some(pod) if pod.terminating => (None, Some(pod)),
            pod => (pod, None),
        };
        Target {
            sandbox,
            claim,
            pod,
            terminating,
            policy,
        }
    }

    fn owner(&self, sandbox: &Name) -> Option<Name> {
        self.sandboxes.get(sandbox)?.claim.clone()
    }
}
