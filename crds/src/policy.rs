//! Which ScaledSandbox governs a sandbox.
//!
//! One that names its target in `scaleTargetRef` beats one that selects; among equals the oldest wins,
//! and then the first by name. A policy governs its own namespace only. One with neither or both of
//! `scaleTargetRef` and `selector`, or with a selector that cannot be read, governs nothing.
//!
//! Nothing is kept per sandbox: the answer is one look-up by name and, failing that, a walk over the
//! selecting policies of the namespace in order of precedence.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::SandboxKey;
use crate::labels::Labels;
use crate::scaled_sandbox::{PolicyFacts, ScaledSandboxSpec, TargetKind};
use crate::selector::Selector;

#[cfg(test)]
mod tests;

/// What a policy looks at: the names and labels of a Sandbox, of the claim it stands for, or both.
/// A selector that matches either selects the target.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Namespace of both.
    pub namespace: &'a str,
    /// The Sandbox's own name, and its labels.
    pub sandbox: Option<(&'a str, &'a Labels)>,
    /// The claim's name, and its labels.
    pub claim: Option<(&'a str, &'a Labels)>,
}

/// All policies of the watch.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    namespaces: BTreeMap<Box<str>, Namespace>,
}

#[derive(Clone, Debug, Default)]
struct Namespace {
    by_key: BTreeMap<SandboxKey, Arc<PolicyFacts>>,
    naming_sandbox: BTreeMap<Box<str>, Vec<Ranked>>,
    naming_claim: BTreeMap<Box<str>, Vec<Ranked>>,
    selecting: Vec<(Ranked, Selector)>,
}

/// Oldest first, then by name; one without a creation instant is not created yet and comes last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ranked {
    created: Timestamp,
    key: SandboxKey,
}

/// What a spec governs by.
enum Aim<'a> {
    Named(TargetKind, &'a str),
    Selected(Selector),
    Nothing,
}

impl Policies {
    /// Takes the present state of one policy, or its absence; answers the state before.
    pub fn apply(
        &mut self,
        key: SandboxKey,
        facts: Option<Arc<PolicyFacts>>,
    ) -> Option<Arc<PolicyFacts>> {
        let name: Box<str> = key.namespace().into();
        let namespace = self.namespaces.entry(name.clone()).or_default();
        let before = namespace.remove(&key);
        if let Some(facts) = facts {
            namespace.insert(key, facts);
        } else if namespace.by_key.is_empty() {
            self.namespaces.remove(&name);
        }
        before
    }

    /// The policy that governs `candidate`.
    #[must_use]
    pub fn governing(&self, candidate: &Candidate<'_>) -> Option<(&SandboxKey, &Arc<PolicyFacts>)> {
        let namespace = self.namespaces.get(candidate.namespace)?;
        let ranked = namespace
            .named(candidate)
            .or_else(|| namespace.selected(candidate))?;
        namespace.by_key.get_key_value(&ranked.key)
    }

    /// All policies that name or select `candidate`, in order of precedence: the first governs it.
    #[must_use]
    pub fn applying(&self, candidate: &Candidate<'_>) -> Vec<&SandboxKey> {
        let Some(namespace) = self.namespaces.get(candidate.namespace) else {
            return Vec::new();
        };
        let mut named: Vec<&Ranked> = namespace.lists(candidate).flatten().collect();
        named.sort_unstable();
        let selecting = namespace.selecting.iter();
        let selecting = selecting.filter(|(_, selector)| candidate.selected(selector));
        let ranked = named.into_iter().chain(selecting.map(|(ranked, _)| ranked));
        ranked.map(|ranked| &ranked.key).collect()
    }

    /// A policy by its key.
    #[must_use]
    pub fn get(&self, policy: &SandboxKey) -> Option<&Arc<PolicyFacts>> {
        self.namespaces.get(policy.namespace())?.by_key.get(policy)
    }

    /// All policies, ordered by key within each namespace.
    pub fn iter(&self) -> impl Iterator<Item = (&SandboxKey, &Arc<PolicyFacts>)> {
        self.namespaces
            .values()
            .flat_map(|namespace| &namespace.by_key)
    }
}

impl Candidate<'_> {
    fn named(&self, kind: TargetKind) -> Option<&str> {
        let found = match kind {
            TargetKind::Sandbox => self.sandbox,
            TargetKind::SandboxClaim => self.claim,
        };
        found.map(|(name, _)| name)
    }

    fn selected(&self, selector: &Selector) -> bool {
        [self.sandbox, self.claim]
            .iter()
            .flatten()
            .any(|(_, labels)| selector.matches(labels))
    }
}

impl Namespace {
    fn insert(&mut self, key: SandboxKey, facts: Arc<PolicyFacts>) {
        let ranked = Ranked {
            created: facts.created.unwrap_or(Timestamp::MAX),
            key: key.clone(),
        };
        match aim(&facts.spec) {
            Aim::Named(kind, name) => {
                let list = self.naming(kind).entry(name.into()).or_default();
                let at = list.partition_point(|other| *other < ranked);
                list.insert(at, ranked);
            }
            Aim::Selected(selector) => {
                let at = self.selecting.partition_point(|(other, _)| *other < ranked);
                self.selecting.insert(at, (ranked, selector));
            }
            Aim::Nothing => {}
        }
        self.by_key.insert(key, facts);
    }

    fn remove(&mut self, key: &SandboxKey) -> Option<Arc<PolicyFacts>> {
        let facts = self.by_key.remove(key)?;
        match aim(&facts.spec) {
            Aim::Named(kind, name) => {
                let naming = self.naming(kind);
                if let Some(list) = naming.get_mut(name) {
                    list.retain(|ranked| ranked.key != *key);
                    if list.is_empty() {
                        naming.remove(name);
                    }
                }
            }
            Aim::Selected(_) => self.selecting.retain(|(ranked, _)| ranked.key != *key),
            Aim::Nothing => {}
        }
        Some(facts)
    }

    fn naming(&mut self, kind: TargetKind) -> &mut BTreeMap<Box<str>, Vec<Ranked>> {
        match kind {
            TargetKind::Sandbox => &mut self.naming_sandbox,
            TargetKind::SandboxClaim => &mut self.naming_claim,
        }
    }

    fn named(&self, candidate: &Candidate<'_>) -> Option<&Ranked> {
        self.lists(candidate).filter_map(|list| list.first()).min()
    }

    /// The policies that name its Sandbox, and those that name its claim, each in order of precedence.
    fn lists(&self, candidate: &Candidate<'_>) -> impl Iterator<Item = &Vec<Ranked>> {
        let sandbox = candidate
            .named(TargetKind::Sandbox)
            .and_then(|name| self.naming_sandbox.get(name));
        let claim = candidate
            .named(TargetKind::SandboxClaim)
            .and_then(|name| self.naming_claim.get(name));
        sandbox.into_iter().chain(claim)
    }

    fn selected(&self, candidate: &Candidate<'_>) -> Option<&Ranked> {
        let found = self
            .selecting
            .iter()
            .find(|(_, selector)| candidate.selected(selector));
        found.map(|(ranked, _)| ranked)
    }
}

fn aim(spec: &ScaledSandboxSpec) -> Aim<'_> {
    match (&spec.scale_target_ref, &spec.selector) {
        (Some(target), None) => Aim::Named(target.kind, &target.name),
        (None, Some(selector)) => Selector::read(selector).map_or(Aim::Nothing, Aim::Selected),
        (None, None) | (Some(_), Some(_)) => Aim::Nothing,
    }
}
