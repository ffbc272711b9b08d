//! SandboxClaims and ReleasedClaims as one: of each name at most one is told.
//!
//! The living claim counts where there is one. A release creates the memory before it deletes the claim,
//! and a bind creates the claim before it deletes the memory, so one of both always exists; but they are
//! two watches, and one may be ahead. So a name that is in neither is told gone only a moment later, and
//! at the start a memory is told only once all living claims are known.
//!
//! Pure: instants are arguments, changes are answers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use reveille_crds::SandboxKey;
use reveille_crds::change::{Change, ClaimFacts};
use tokio::time::Instant;

#[cfg(test)]
mod tests;

/// How much longer a name that is nowhere is kept while one of the watches does not run: most outages are
/// over by then, and one that lasts (a role that is missing) must not make deleted claims immortal.
const LONGEST: Duration = Duration::from_secs(60);

/// A name that was told as present, but is in neither.
struct Leaving {
    /// When it is told gone, or as soon as the ones before it are.
    due: Instant,
    /// Until when that may be put off.
    last: Instant,
    key: SandboxKey,
}

/// All claims, living and remembered.
pub(super) struct Claims {
    leftovers: bool,
    /// All living claims are known.
    settled: bool,
    /// The facts are kept only where leftovers are told.
    living: BTreeMap<SandboxKey, Option<Arc<ClaimFacts>>>,
    /// UID of the memory, and what it remembers.
    remembered: BTreeMap<SandboxKey, (Arc<str>, Arc<ClaimFacts>)>,
    leaving: VecDeque<Leaving>,
}

impl Claims {
    pub(super) fn new(leftovers: bool) -> Self {
        Self {
            leftovers,
            settled: false,
            living: BTreeMap::new(),
            remembered: BTreeMap::new(),
            leaving: VecDeque::new(),
        }
    }

    /// All living claims are known: those that are only remembered sleep.
    pub(super) fn settle(&mut self) -> Vec<Change> {
        if std::mem::replace(&mut self.settled, true) {
            return Vec::new();
        }
        let asleep = self
            .remembered
            .iter()
            .filter(|(key, _)| !self.living.contains_key(*key));
        asleep
            .map(|(key, (_, facts))| Change::Claim(key.clone(), Some(Arc::clone(facts))))
            .collect()
    }

    pub(super) fn lives(&mut self, key: SandboxKey, facts: Arc<ClaimFacts>) -> Option<Change> {
        self.stays(&key);
        let kept = self.leftovers.then(|| Arc::clone(&facts));
        self.living.insert(key.clone(), kept);
        let told = self.beside(&key, facts);
        Some(Change::Claim(key, Some(told)))
    }

    pub(super) fn is_remembered(
        &mut self,
        key: SandboxKey,
        uid: Arc<str>,
        facts: Arc<ClaimFacts>,
    ) -> Option<Change> {
        self.stays(&key);
        self.remembered
            .insert(key.clone(), (uid, Arc::clone(&facts)));
        match self.living.get(&key) {
            None => self.settled.then_some(Change::Claim(key, Some(facts))),
            Some(living) => self.again(&key, living.clone()),
        }
    }

    /// The living claim is gone; what was told of it stays until `hold` unless something takes its place.
    pub(super) fn died(&mut self, key: SandboxKey, hold: Instant) -> Option<Change> {
        self.living.remove(&key);
        let Some((_, facts)) = self.remembered.get(&key) else {
            self.leave(key, hold);
            return None;
        };
        let facts = Arc::clone(facts);
        Some(Change::Claim(key, Some(facts)))
    }

    /// The memory is gone, likewise.
    pub(super) fn is_forgotten(&mut self, key: SandboxKey, hold: Instant) -> Option<Change> {
        self.remembered.remove(&key);
        match self.living.get(&key) {
            None => {
                self.leave(key, hold);
                None
            }
            Some(living) => self.again(&key, living.clone()),
        }
    }

    /// When [`Self::let_go`] has something to say.
    pub(super) fn due(&self) -> Option<Instant> {
        self.leaving.front().map(|leaving| leaving.due)
    }

    /// One of the watches does not run: what is in neither may be in the other.
    pub(super) fn hold_on(&mut self, until: Instant) {
        for leaving in &mut self.leaving {
            leaving.due = until.min(leaving.last).max(leaving.due);
        }
    }

    /// Names whose time is over and that nothing has taken.
    pub(super) fn let_go(&mut self, now: Instant) -> Vec<SandboxKey> {
        let mut gone = Vec::new();
        while self.leaving.front().is_some_and(|it| it.due <= now) {
            gone.extend(self.leaving.pop_front().map(|leaving| leaving.key));
        }
        gone
    }

    fn leave(&mut self, key: SandboxKey, due: Instant) {
        let last = due + LONGEST;
        self.leaving.push_back(Leaving { due, last, key });
    }

    /// A name that was to be let go is taken again. Hardly ever are there any.
    fn stays(&mut self, key: &SandboxKey) {
        self.leaving.retain(|leaving| leaving.key != *key);
    }

    /// A living claim told again because the memory beside it came, changed or went.
    fn again(&self, key: &SandboxKey, living: Option<Arc<ClaimFacts>>) -> Option<Change> {
        let told = self.beside(key, living?);
        Some(Change::Claim(key.clone(), Some(told)))
    }

    /// `living` with what stands beside it.
    fn beside(&self, key: &SandboxKey, living: Arc<ClaimFacts>) -> Arc<ClaimFacts> {
        let Some((uid, _)) = self.remembered.get(key).filter(|_| self.leftovers) else {
            return living;
        };
        Arc::new(ClaimFacts {
            leftover: Some(Arc::clone(uid)),
            ..ClaimFacts::clone(&living)
        })
    }
}
