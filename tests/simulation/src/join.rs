//! A watcher's objects joined into targets: a claim with its bound Sandbox, or an unclaimed Sandbox.
//!
//! The drivers of both cores read targets through this, as the shells do through the shared index.

use std::collections::BTreeSet;
use std::sync::Arc;

use reveille_scaler_core::view::Policy;

use crate::objects::{Cache, Change, Claim, Name, Pod, Sandbox};

/// A target with all that its watcher knows about it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) sandbox: Option<(Name, Arc<Sandbox>)>,
    pub(crate) claim: Option<Arc<Claim>>,
    /// The pod that the Sandbox's UID controls and that is not being deleted.
    pub(crate) pod: Option<Arc<Pod>>,
    /// A pod of that UID that is being deleted.
    pub(crate) terminating: Option<Arc<Pod>>,
    pub(crate) policy: Option<Arc<Policy>>,
}

impl Cache {
    /// Takes one change; answers the names of the targets that may look different now.
    pub(crate) fn apply(&mut self, change: Change) -> BTreeSet<Name> {
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
            Change::Claim(name, claim) => {
                match claim {
                    Some(claim) => self.claims.insert(Arc::clone(&name), claim),
                    None => self.claims.remove(&name),
                };
                touched.insert(name);
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
                self.policies.insert(Arc::clone(&name), policy);
                touched.insert(name);
            }
        }
        touched
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
            return Some(self.with_pod(sandbox, Some(Arc::clone(claim)), policy));
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
        claim: Option<Arc<Claim>>,
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
