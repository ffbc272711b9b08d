//! Texts that facts have in common, each kept once: a fleet of ten thousand has one set of labels and
//! one pool, and a Sandbox and its claim both know the claim's UID.
//!
//! Only facts that nobody else holds are changed; others are kept once already, or are somebody else's.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Index;
use crate::SandboxKey;
use crate::change::{ClaimFacts, SandboxFacts};

/// Texts are looked through for unused ones no sooner than at this many.
const SWEEP: usize = 256;

/// Labels and pool names, each once. Bounded by the objects of the index: unused texts are dropped
/// whenever the number has doubled.
#[derive(Debug, Default)]
pub(super) struct Texts {
    known: BTreeSet<Arc<str>>,
    sweep_at: usize,
}

impl Texts {
    fn share(&mut self, text: &mut Arc<str>) {
        if text.is_empty() {
            return;
        }
        if let Some(known) = self.known.get(text) {
            *text = Arc::clone(known);
            return;
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.sweep_at = SWEEP.max(self.known.len() * 2);
        }
        self.known.insert(Arc::clone(text));
    }
}

impl Index {
    pub(super) fn shared_sandbox(
        &mut self,
        key: &SandboxKey,
        mut facts: Arc<SandboxFacts>,
    ) -> Arc<SandboxFacts> {
        let Some(own) = Arc::get_mut(&mut facts) else {
            return facts;
        };
        self.texts.share(own.labels.text());
        let claim = own
            .claim
            .as_deref()
            .and_then(|name| self.claims.get(&key.sibling(name).ok()?));
        if let (Some(uid), Some(claim)) = (&mut own.claim_uid, claim)
            && *uid == claim.uid
        {
            *uid = Arc::clone(&claim.uid);
        }
        facts
    }

    pub(super) fn shared_claim(
        &mut self,
        key: &SandboxKey,
        mut facts: Arc<ClaimFacts>,
    ) -> Arc<ClaimFacts> {
        let Some(own) = Arc::get_mut(&mut facts) else {
            return facts;
        };
        self.texts.share(own.labels.text());
        self.texts.share(&mut own.pool);
        let bound = own
            .sandbox
            .as_deref()
            .and_then(|name| self.sandboxes.get(&key.sibling(name).ok()?));
        if let Some(uid) = bound.and_then(|sandbox| sandbox.claim_uid.as_ref())
            && *uid == own.uid
        {
            own.uid = Arc::clone(uid);
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_become_one() {
        let mut texts = Texts::default();
        let (mut one, mut two): (Arc<str>, Arc<str>) = ("fleet".into(), "fleet".into());
        texts.share(&mut one);
        texts.share(&mut two);
        assert!(Arc::ptr_eq(&one, &two));
    }

    #[test]
    fn texts_that_nobody_holds_are_dropped() {
        let mut texts = Texts::default();
        let mut held: Arc<str> = "held".into();
        texts.share(&mut held);
        for n in 0..100_000 {
            texts.share(&mut n.to_string().into());
        }
        assert!(texts.known.len() <= SWEEP, "{}", texts.known.len());
        assert!(texts.known.contains("held"));
    }
}
