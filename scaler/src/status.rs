//! Status of each ScaledSandbox: counts and conditions, written at most once a second and on change only.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reveille_crds::SandboxKey;
use reveille_crds::index::{Index, Target};
use reveille_crds::scaled_sandbox::ScaledSandboxStatus;
use reveille_scaler_core::explain::State;

use crate::policy::Mistake;

mod tally;
#[cfg(test)]
mod tests;
mod trouble;

use self::tally::Tally;
pub(crate) use self::trouble::Trouble;

/// Shortest time between two status writes.
const EVERY: Duration = Duration::from_secs(1);

/// What each policy governs.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    by_policy: BTreeMap<SandboxKey, Tally>,
    due: Option<Instant>,
    /// Tallies looked at because of a target.
    #[cfg(test)]
    looks: usize,
}

/// A status to be written.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) status: ScaledSandboxStatus,
    /// The one before was written by us.
    pub(crate) again: bool,
    /// What its author should mend, where that has not been told.
    pub(crate) mistake: Option<Mistake>,
}

/// A target as it was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) policy: SandboxKey,
    pub(crate) state: State,
    /// What a condition of its policy names it for.
    pub(crate) trouble: Option<Box<Trouble>>,
}

/// Which policy governs a target, and which others name or select it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) policy: Option<SandboxKey>,
    pub(crate) overruled: Box<[SandboxKey]>,
}

impl Rule {
    /// That of `target`.
    pub(crate) fn of(target: &Target, index: &Index) -> Self {
        Self {
            policy: target.policy.as_ref().map(|(key, _)| key.clone()),
            overruled: index.overruled(target),
        }
    }
}

impl Tallies {
    /// A target was ruled as `before` and is as `after` now.
    pub(crate) fn ruled(&mut self, before: &Rule, after: &Rule, now: Instant) {
        if before == after {
            return;
        }
        if let Some(by) = &before.policy {
            for loser in &before.overruled {
                if let Some(tally) = self.look(loser) {
                    tally.win_back(by);
                }
            }
        }
        if let Some(by) = &after.policy {
            for loser in &after.overruled {
                self.make(loser).lose(by);
            }
        }
        self.due.get_or_insert(now + EVERY);
    }

    fn look(&mut self, policy: &SandboxKey) -> Option<&mut Tally> {
        #[cfg(test)]
        {
            self.looks += 1;
        }
        self.by_policy.get_mut(policy)
    }

    fn make(&mut self, policy: &SandboxKey) -> &mut Tally {
        #[cfg(test)]
        {
            self.looks += 1;
        }
        self.by_policy.entry(policy.clone()).or_default()
    }

    /// A target was counted as `before` and is `after` now.
    pub(crate) fn recount(
        &mut self,
        target: &SandboxKey,
        before: Option<&Counted>,
        after: Option<&Counted>,
        now: Instant,
    ) {
        if let Some(before) = before
            && let Some(tally) = self.look(&before.policy)
        {
            tally.leave(target, before);
            self.due.get_or_insert(now + EVERY);
        }
        if let Some(after) = after {
            self.make(&after.policy).join(target, after);
            self.due.get_or_insert(now + EVERY);
        }
    }

    /// A target of this policy was woken.
    pub(crate) fn woke(&mut self, policy: &SandboxKey, at: Timestamp) {
        if let Some(tally) = self.look(policy) {
            tally.last_wake = Some(at);
            tally.changed = true;
        }
    }

    /// A policy of `namespace` came, went or changed: all of them may govern something else now.
    pub(crate) fn policies_changed(&mut self, namespace: &str, index: &Index, now: Instant) {
        self.by_policy
            .retain(|key, _| index.policies().get(key).is_some());
        for (key, _) in index.policies().iter() {
            if key.namespace() == namespace {
                self.by_policy.entry(key.clone()).or_default().changed = true;
            }
        }
        self.due.get_or_insert(now + EVERY);
    }

    /// When there is something to write.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Policies whose status is to be written; each in its turn by [`Tallies::begin`].
    pub(crate) fn take(&mut self) -> Vec<SandboxKey> {
        self.due = None;
        let changed = self
            .by_policy
            .iter_mut()
            .filter(|(_, tally)| tally.changed && !tally.outstanding);
        let take = |(key, tally): (&SandboxKey, &mut Tally)| {
            tally.outstanding = true;
            key.clone()
        };
        changed.map(take).collect()
    }

    /// Its turn has come: what is to be written now, if that is news and ours to tell.
    pub(crate) fn begin(
        &mut self,
        policy: &SandboxKey,
        leads: bool,
        index: &Index,
        wall: Timestamp,
    ) -> Option<Due> {
        let tally = self.by_policy.get_mut(policy)?;
        tally.outstanding = false;
        let facts = index.policies().get(policy)?;
        if !leads {
            return None;
        }
        tally.changed = false;
        let mistake = Mistake::of(&facts.spec);
        let status = tally.status(facts, mistake.as_ref(), wall);
        let again = tally.written.is_some();
        if tally.written.as_ref() == Some(&status) {
            return None;
        }
        tally.outstanding = true;
        tally.written = Some(status.clone());
        let told = std::mem::replace(&mut tally.mistake, mistake);
        let mistake = tally.mistake.clone().filter(|it| told.as_ref() != Some(it));
        Some(Due {
            status,
            again,
            mistake,
        })
    }

    /// This is there now.
    pub(crate) fn wrote(
        &mut self,
        policy: &SandboxKey,
        there: Option<Box<ScaledSandboxStatus>>,
        now: Instant,
    ) {
        let Some(tally) = self.by_policy.get_mut(policy) else {
            return;
        };
        tally.outstanding = false;
        if tally.changed {
            self.due.get_or_insert(now + EVERY);
        }
        if let Some(there) = there {
            let known = there.last_wake.as_ref().map(|at| at.0);
            tally.last_wake = tally.last_wake.max(known);
            tally.written = tally.written.take().map(|ours| continued(ours, &there));
        }
    }

    /// What is there was written by another, and may differ in whatever way.
    pub(crate) fn rewrite(&mut self, now: Instant) {
        for tally in self.by_policy.values_mut() {
            tally.written = None;
            tally.changed = true;
        }
        self.due.get_or_insert(now + EVERY);
    }

    /// A write failed: once more.
    pub(crate) fn again(&mut self, policy: &SandboxKey, now: Instant) {
        if let Some(tally) = self.by_policy.get_mut(policy) {
            tally.outstanding = false;
            tally.written = None;
            tally.changed = true;
            self.due.get_or_insert(now + EVERY);
        }
    }
}

/// A status that goes on from the one that is there.
pub(crate) fn continued(
    mut status: ScaledSandboxStatus,
    there: &ScaledSandboxStatus,
) -> ScaledSandboxStatus {
    status.last_wake = status.last_wake.or_else(|| there.last_wake.clone());
    for condition in &mut status.conditions {
        let same = there
            .conditions
            .iter()
            .find(|old| old.type_ == condition.type_ && old.status == condition.status);
        if let Some(same) = same {
            condition
                .last_transition_time
                .clone_from(&same.last_transition_time);
        }
    }
    status
}
