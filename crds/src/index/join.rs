//! How the objects of an index fit together, and which targets one change touches.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use super::{Index, Target};
use crate::SandboxKey;
use crate::change::{ClaimFacts, PodFacts, SandboxFacts};
use crate::policy::Candidate;
use crate::scaled_sandbox::PolicyFacts;

type FoundSandbox<'a> = (&'a SandboxKey, &'a Arc<SandboxFacts>);
type FoundClaim<'a> = (&'a SandboxKey, &'a Arc<ClaimFacts>);

/// How far a change reaches from the names it speaks of: to the Sandbox that their claim is bound to, and
/// from there to what a claim of that one's name is bound to.
const REACH: usize = 2;

impl Index {
    pub(super) fn apply_sandbox(
        &mut self,
        key: SandboxKey,
        facts: Option<Arc<SandboxFacts>>,
    ) -> Vec<SandboxKey> {
        if self.sandboxes.get(&key) == facts.as_ref() {
            return Vec::new();
        }
        let facts = facts.map(|facts| self.shared_sandbox(&key, facts));
        let claim = facts
            .as_ref()
            .and_then(|facts| key.sibling(facts.claim.as_deref()?).ok());
        let names = self.reach([Some(key.clone()), claim]);
        self.touched(names, |index| match facts {
            Some(facts) => drop(index.sandboxes.insert(key, facts)),
            None => drop(index.sandboxes.remove(&key)),
        })
    }

    pub(super) fn apply_claim(
        &mut self,
        key: SandboxKey,
        facts: Option<Arc<ClaimFacts>>,
    ) -> Vec<SandboxKey> {
        if self.claims.get(&key) == facts.as_ref() {
            return Vec::new();
        }
        let facts = facts.map(|facts| self.shared_claim(&key, facts));
        let bound = facts
            .as_ref()
            .and_then(|facts| key.sibling(facts.sandbox.as_deref()?).ok());
        let names = self.reach([Some(key.clone()), bound]);
        self.touched(names, |index| match facts {
            Some(facts) => drop(index.claims.insert(key, facts)),
            None => drop(index.claims.remove(&key)),
        })
    }

    /// A pod changes no target's key, so only the target of its Sandbox (and of the one that had the pod
    /// before, if the pod was made again under another) can look different.
    pub(super) fn apply_pod(
        &mut self,
        key: SandboxKey,
        facts: Option<Arc<PodFacts>>,
    ) -> Vec<SandboxKey> {
        let before = self.pods.get(&key);
        if before.map(|(_, facts)| facts) == facts.as_ref() {
            return Vec::new();
        }
        let owner = facts.and_then(|facts| Some((key.sibling(&facts.sandbox).ok()?, facts)));
        let owners = [
            before.map(|(owner, _)| owner),
            owner.as_ref().map(|(owner, _)| owner),
        ];
        let targets = owners
            .into_iter()
            .flatten()
            .filter_map(|owner| Some(self.target(owner)?.key));
        let names = targets.collect();
        self.touched(names, |index| index.replace_pod(key, owner))
    }

    pub(super) fn apply_policy(
        &mut self,
        key: SandboxKey,
        facts: Option<Arc<PolicyFacts>>,
    ) -> Vec<SandboxKey> {
        let before = self.policies.get(&key);
        if before == facts.as_ref() {
            return Vec::new();
        }
        let names = self.governable(&key, [before, facts.as_ref()]);
        self.touched(names, |index| drop(index.policies.apply(key, facts)))
    }

    /// The target whose key is `key`.
    pub(super) fn keyed(&self, key: &SandboxKey) -> Option<Target> {
        self.target(key).filter(|target| target.key == *key)
    }

    /// The key of the target that a Sandbox is part of.
    pub(super) fn goes_by(&self, sandbox: FoundSandbox<'_>) -> Option<SandboxKey> {
        if !self.reachable(sandbox) {
            return None;
        }
        let claim = self
            .claim_of(sandbox)
            .filter(|claim| !self.shadowed(*claim));
        Some(claim.map_or(sandbox.0, |(key, _)| key).clone())
    }

    /// Whether a Sandbox is part of a target: no claim or pool controls it, or its claim is bound to it.
    /// One whose claim is not known has gone or is not here yet; it never goes by its own name meanwhile,
    /// or its key would change under whoever waits for it. A claim whose name no key can carry is as none.
    pub(super) fn reachable(&self, sandbox: FoundSandbox<'_>) -> bool {
        let (key, facts) = sandbox;
        match facts.claim.as_deref().map(|name| key.sibling(name)) {
            None | Some(Err(_)) => !facts.pool_member,
            Some(Ok(claim)) => self
                .claims
                .get_key_value(&claim)
                .is_some_and(|claim| self.bound(claim).is_some_and(|(bound, _)| bound == key)),
        }
    }

    /// The claim that controls a Sandbox.
    pub(super) fn claim_of(&self, sandbox: FoundSandbox<'_>) -> Option<FoundClaim<'_>> {
        let claim = sandbox.0.sibling(sandbox.1.claim.as_deref()?).ok()?;
        self.claims
            .get_key_value(&claim)
            .filter(|claim| controls(*claim, sandbox.1))
    }

    /// The Sandbox that stands for a claim.
    pub(super) fn bound(&self, claim: FoundClaim<'_>) -> Option<FoundSandbox<'_>> {
        let (key, facts) = claim;
        if facts.released {
            return None;
        }
        let named = facts
            .sandbox
            .as_deref()
            .and_then(|name| key.sibling(name).ok());
        let found = |name: &SandboxKey| {
            self.sandboxes
                .get_key_value(name)
                .filter(|(_, sandbox)| controls(claim, sandbox))
        };
        let named = named.as_ref().and_then(found);
        if named.is_some_and(|(_, sandbox)| !sandbox.deleting) {
            return named;
        }
        let namesake = found(key);
        namesake
            .filter(|(_, sandbox)| !sandbox.deleting)
            .or(named)
            .or(namesake)
    }

    pub(super) fn assemble(
        &self,
        key: &SandboxKey,
        sandbox: Option<FoundSandbox<'_>>,
        claim: Option<FoundClaim<'_>>,
    ) -> Target {
        let candidate = Candidate {
            namespace: key.namespace(),
            sandbox: sandbox.map(|(key, facts)| (key.name(), &facts.labels)),
            claim: claim.map(|(key, facts)| (key.name(), &facts.labels)),
        };
        let policy = self.policies.governing(&candidate);
        let (pod, terminating) = sandbox.map_or((None, false), |sandbox| self.pod_of(sandbox));
        Target {
            key: key.clone(),
            sandbox: sandbox.map(|(key, facts)| (key.clone(), Arc::clone(facts))),
            pod,
            terminating,
            claim: claim.map(|(key, facts)| (key.clone(), Arc::clone(facts))),
            policy: policy.map(|(key, facts)| (key.clone(), Arc::clone(facts))),
        }
    }

    /// Keys of the targets that a policy in one of these states could govern; a superset.
    pub(super) fn governable(
        &self,
        policy: &SandboxKey,
        states: [Option<&Arc<PolicyFacts>>; 2],
    ) -> BTreeSet<SandboxKey> {
        if states
            .iter()
            .flatten()
            .any(|facts| facts.spec.selector.is_some())
        {
            return self.in_namespace(policy.namespace());
        }
        let names = states.map(|facts| {
            let target = facts?.spec.scale_target_ref.as_ref()?;
            policy.sibling(&target.name).ok()
        });
        self.reach(names)
    }

    /// The live pod of a Sandbox, and whether one of its pods is being deleted.
    fn pod_of(&self, sandbox: FoundSandbox<'_>) -> (Option<Arc<PodFacts>>, bool) {
        let (key, facts) = sandbox;
        let names = self.pods_of.get(key).into_iter().flatten();
        let own = names
            .filter_map(|name| self.pods.get(name))
            .map(|(_, pod)| pod);
        let (leaving, mut live): (Vec<_>, Vec<_>) = own
            .filter(|pod| pod.sandbox_uid == facts.uid && !facts.uid.is_empty())
            .partition(|pod| pod.terminating);
        let only = if live.len() == 1 {
            live.pop().map(Arc::clone)
        } else {
            None
        };
        (only, !leaving.is_empty())
    }

    fn replace_pod(&mut self, key: SandboxKey, pod: Option<(SandboxKey, Arc<PodFacts>)>) {
        if let Some((owner, _)) = self.pods.remove(&key)
            && let Some(siblings) = self.pods_of.get_mut(&owner)
        {
            siblings.retain(|sibling| *sibling != key);
            if siblings.is_empty() {
                self.pods_of.remove(&owner);
            }
        }
        if let Some((owner, facts)) = pod {
            self.pods_of
                .entry(owner.clone())
                .or_insert_with(|| Vec::with_capacity(1))
                .push(key.clone());
            self.pods.insert(key, (owner, facts));
        }
    }

    /// Whether a claim's name belongs to a Sandbox that it does not control.
    fn shadowed(&self, claim: FoundClaim<'_>) -> bool {
        self.sandboxes
            .get_key_value(claim.0)
            .is_some_and(|found| !controls(claim, found.1) && self.reachable(found))
    }

    /// Keys of the targets of one namespace.
    fn in_namespace(&self, namespace: &str) -> BTreeSet<SandboxKey> {
        // '0' follows '/', so this is every key that starts with the namespace and a slash.
        let (from, to) = (format!("{namespace}/"), format!("{namespace}0"));
        let bounds = (Bound::Included(from.as_str()), Bound::Excluded(to.as_str()));
        let sandboxes = self.sandboxes.range::<str, _>(bounds).map(|(key, _)| key);
        let claims = self.claims.range::<str, _>(bounds).map(|(key, _)| key);
        sandboxes.chain(claims).cloned().collect()
    }

    /// All names whose targets a change to the objects of these names can touch.
    fn reach<const N: usize>(&self, names: [Option<SandboxKey>; N]) -> BTreeSet<SandboxKey> {
        let mut reached: BTreeSet<SandboxKey> = names.into_iter().flatten().collect();
        let mut edge: Vec<SandboxKey> = reached.iter().cloned().collect();
        for _ in 0..REACH {
            let claims = edge.iter().filter_map(|name| {
                name.sibling(self.sandboxes.get(name)?.claim.as_deref()?)
                    .ok()
            });
            let bound = edge.iter().filter_map(|name| {
                name.sibling(self.claims.get(name)?.sandbox.as_deref()?)
                    .ok()
            });
            edge = claims
                .chain(bound)
                .filter(|name| !reached.contains(name))
                .collect();
            reached.extend(edge.iter().cloned());
        }
        reached
    }

    /// Makes a change; answers those of `names` whose target looks different after it.
    fn touched(
        &mut self,
        names: BTreeSet<SandboxKey>,
        change: impl FnOnce(&mut Self),
    ) -> Vec<SandboxKey> {
        let before: Vec<_> = names
            .into_iter()
            .map(|name| {
                let target = self.keyed(&name);
                (name, target)
            })
            .collect();
        change(self);
        let touched = before
            .into_iter()
            .filter(|(name, target)| self.keyed(name) != *target);
        touched.map(|(name, _)| name).collect()
    }
}

/// Whether a claim controls a Sandbox of its namespace, by name and UID.
fn controls(claim: FoundClaim<'_>, sandbox: &SandboxFacts) -> bool {
    let (key, facts) = claim;
    sandbox.claim.as_deref() == Some(key.name())
        && sandbox
            .claim_uid
            .as_ref()
            .is_none_or(|uid| *uid == facts.uid)
}
