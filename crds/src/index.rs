//! The projection of a watch onto targets, for activator and scaler alike.
//!
//! A *target* is what a client, a policy or a wake speaks of: a SandboxClaim together with the Sandbox
//! bound to it, or a Sandbox that no claim controls. Its key is the claim's where there is one, so that
//! it stays the same while replicas come and go under the claim.
//!
//! - A claim is bound to the Sandbox that it controls and that its status names, or that has its name
//!   (a cold start). Of two such, one that is not being deleted comes first. Any other Sandbox that a
//!   claim controls is on its way in or out and is nobody's target.
//! - A claim whose name a reachable Sandbox has that it does not control is shadowed: the Sandbox's own
//!   name wins, and the Sandbox bound to the claim goes by its own name.
//! - A member of a pool is no target until a claim controls it.
//! - A pod belongs to the Sandbox whose UID, name and namespace its controller reference has. Where two
//!   of one Sandbox live, neither is its pod: to pick one could be to pick the wrong one.
//!
//! Nothing is stored per target: a target is put together when asked for, out of one look-up per object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::SandboxKey;
use crate::change::{Change, ClaimFacts, PodFacts, SandboxFacts};
use crate::policy::{Candidate, Policies};
use crate::scaled_sandbox::PolicyFacts;

use texts::Texts;

mod join;
#[cfg(test)]
mod tests;
mod texts;

/// A sandbox as everybody speaks of it, with all that is known about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The claim's key where there is a claim, else the Sandbox's.
    pub key: SandboxKey,
    /// The Sandbox, unless the claim is unbound or released.
    pub sandbox: Option<(SandboxKey, Arc<SandboxFacts>)>,
    /// The pod that the Sandbox's UID controls and that is not being deleted.
    pub pod: Option<Arc<PodFacts>>,
    /// A pod of that UID is still being deleted.
    pub terminating: bool,
    /// The claim, if one controls the Sandbox or waits for one.
    pub claim: Option<(SandboxKey, Arc<ClaimFacts>)>,
    /// The policy that governs it.
    pub policy: Option<(SandboxKey, Arc<PolicyFacts>)>,
}

/// All objects of a watch, joined.
#[derive(Debug, Default)]
pub struct Index {
    sandboxes: BTreeMap<SandboxKey, Arc<SandboxFacts>>,
    claims: BTreeMap<SandboxKey, Arc<ClaimFacts>>,
    /// By the pod's own name, with the key of the Sandbox that controls it.
    pods: BTreeMap<SandboxKey, (SandboxKey, Arc<PodFacts>)>,
    /// Pods by the Sandbox that controls them, nearly always one; nothing for a sleeping Sandbox.
    pods_of: BTreeMap<SandboxKey, Vec<SandboxKey>>,
    policies: Policies,
    texts: Texts,
    synced: bool,
}

impl Index {
    /// Takes one change; answers the keys of the targets that look different now. A key among them for
    /// which [`Index::target`] answers nothing, or a target with another key, is gone.
    pub fn apply(&mut self, change: Change) -> Vec<SandboxKey> {
        match change {
            Change::Sandbox(key, facts) => self.apply_sandbox(key, facts),
            Change::Claim(key, facts) => self.apply_claim(key, facts),
            Change::Pod(key, facts) => self.apply_pod(key, facts),
            Change::Policy(key, facts) => self.apply_policy(key, facts),
            Change::Synced => {
                self.synced = true;
                Vec::new()
            }
        }
    }

    /// The target that goes by this name: its key, or the own name of its Sandbox.
    #[must_use]
    pub fn target(&self, name: &SandboxKey) -> Option<Target> {
        let named = self.sandboxes.get_key_value(name);
        if let Some((found, goes_by)) = named.and_then(|found| Some((found, self.goes_by(found)?)))
        {
            let claim = self.claim_of(found);
            return Some(self.assemble(&goes_by, Some(found), claim));
        }
        let claim = self.claims.get_key_value(name)?;
        Some(self.assemble(claim.0, self.bound(claim), Some(claim)))
    }

    /// Keys of all targets: those with a Sandbox first, both parts ordered by name.
    pub fn targets(&self) -> impl Iterator<Item = SandboxKey> {
        let present = self
            .sandboxes
            .iter()
            .filter_map(|found| self.goes_by(found));
        let waiting = self.claims.iter().filter(|claim| {
            self.bound(*claim).is_none()
                && self
                    .sandboxes
                    .get_key_value(claim.0)
                    .is_none_or(|found| !self.reachable(found))
        });
        present.chain(waiting.map(|(key, _)| key.clone()))
    }

    /// The policies that name or select `target` but do not govern it, in order of precedence.
    #[must_use]
    pub fn overruled(&self, target: &Target) -> Box<[SandboxKey]> {
        let applying = self.policies.applying(&target.candidate()).into_iter();
        applying.skip(1).cloned().collect()
    }

    /// Names of the targets that `policy` can govern as it is, or could once it is as in `after`; a superset.
    #[must_use]
    pub fn reach_of(
        &self,
        policy: &SandboxKey,
        after: Option<&Arc<PolicyFacts>>,
    ) -> BTreeSet<SandboxKey> {
        self.governable(policy, [self.policies.get(policy), after])
    }

    /// What is known of a pod, by its own name.
    #[must_use]
    pub fn pod(&self, name: &SandboxKey) -> Option<&Arc<PodFacts>> {
        self.pods.get(name).map(|(_, facts)| facts)
    }

    /// All policies.
    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Whether everything that existed when the watch began has been told.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.synced
    }
}

impl Target {
    /// What a policy looks at.
    #[must_use]
    pub fn candidate(&self) -> Candidate<'_> {
        Candidate {
            namespace: self.key.namespace(),
            sandbox: self
                .sandbox
                .as_ref()
                .map(|(key, facts)| (key.name(), &facts.labels)),
            claim: self
                .claim
                .as_ref()
                .map(|(key, facts)| (key.name(), &facts.labels)),
        }
    }
}
