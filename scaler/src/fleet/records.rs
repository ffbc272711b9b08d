//! Records of released claims that are to be removed, and when.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use reveille_crds::SandboxKey;

/// Why a record is to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// It stands beside the claim that lives again; the UID of the record. There are some only after a crash.
    Leftover(Arc<str>),
    /// Its claim, of this UID, was to be deleted at this instant.
    Ended(Arc<str>, Timestamp),
    /// The same where nobody has asked for the claim: it is to be told first, a day ahead.
    Announced(Arc<str>, Timestamp),
    /// Likewise, and that has been told.
    Lapsed(Arc<str>, Timestamp),
}

/// By the claim's key, and in the order in which they are due.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Without an instant while the removal is under way.
    known: HashMap<SandboxKey, (Removal, Option<Instant>)>,
    due: BTreeSet<(Instant, SandboxKey)>,
}

impl Records {
    /// What is seen of a claim now; one that is known keeps its instant.
    pub(super) fn see(&mut self, claim: &SandboxKey, seen: Option<(Removal, Instant)>) {
        let known = self.known.get(claim).map(|(removal, _)| removal);
        if known == seen.as_ref().map(|(removal, _)| removal) {
            return;
        }
        if let Some((_, Some(at))) = self.known.remove(claim) {
            self.due.remove(&(at, claim.clone()));
        }
        if let Some((removal, at)) = seen {
            self.known.insert(claim.clone(), (removal, Some(at)));
            self.due.insert((at, claim.clone()));
        }
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// One that is due; its removal is under way then.
    pub(super) fn take(&mut self, now: Instant) -> Option<(SandboxKey, Removal)> {
        if self.next()? > now {
            return None;
        }
        let (_, claim) = self.due.pop_first()?;
        let (removal, at) = self.known.get_mut(&claim)?;
        *at = None;
        Some((claim, removal.clone()))
    }

    /// What is under way, or was.
    pub(super) fn get(&self, claim: &SandboxKey) -> Option<&Removal> {
        self.known.get(claim).map(|(removal, _)| removal)
    }

    /// A removal came to its end, well or not: it is due again then, if it is still seen.
    pub(super) fn again(&mut self, claim: &SandboxKey, at: Instant) {
        if let Some((_, due @ None)) = self.known.get_mut(claim) {
            *due = Some(at);
            self.due.insert((at, claim.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_record_is_taken_when_it_is_due_and_once_until_that_has_ended() {
        let now = crate::fleet::now();
        let later = now + Duration::from_secs(10);
        let key = |name| SandboxKey::new("agents", name).unwrap();
        let leftover = |uid: &str| Removal::Leftover(uid.into());
        let mut records = Records::default();
        records.see(&key("b"), Some((leftover("2"), later)));
        records.see(&key("a"), Some((leftover("1"), now)));
        records.see(&key("a"), Some((leftover("1"), later)));
        assert_eq!(records.next(), Some(now), "it keeps its instant");
        assert_eq!(records.take(now), Some((key("a"), leftover("1"))));
        assert_eq!(records.take(now), None);
        records.see(&key("a"), Some((leftover("1"), now)));
        assert_eq!(records.next(), Some(later), "that is under way");
        records.again(&key("a"), now);
        records.again(&key("gone"), now);
        assert_eq!(records.next(), Some(now));
        records.see(&key("a"), Some((leftover("another"), later)));
        assert_eq!(records.take(now), None);
        for name in ["a", "b"] {
            records.see(&key(name), None);
        }
        assert_eq!(records.next(), None);
    }
}
