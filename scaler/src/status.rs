//! Status of each ScaledSandbox: counts and conditions, written at most once a second and on change only.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use reveille_crds::SandboxKey;
use reveille_crds::index::{Index, Target};
use reveille_crds::scaled_sandbox::ScaledSandboxStatus;
use reveille_scaler_core::explain::State;

use crate::policy::Mistake;

#[cfg(test)]
mod tests;

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

#[derive(Debug, Default)]
struct Tally {
    sandboxes: u32,
    awake: u32,
    asleep: u32,
    waking: u32,
    last_wake: Option<Timestamp>,
    /// How many targets each other policy took.
    overruled: BTreeMap<SandboxKey, u32>,
    written: Option<ScaledSandboxStatus>,
    /// As it was last told.
    mistake: Option<Mistake>,
    changed: bool,
    /// A write of it is queued or under way: there is one at a time, so that the last one counts.
    outstanding: bool,
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

/// A target as it was counted: its policy and its state.
pub(crate) type Counted = (SandboxKey, State);

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
        before: Option<&Counted>,
        after: Option<&Counted>,
        now: Instant,
    ) {
        if let Some((policy, state)) = before
            && let Some(tally) = self.look(policy)
        {
            tally.add(*state, u32::saturating_sub);
            self.due.get_or_insert(now + EVERY);
        }
        if let Some((policy, state)) = after {
            self.make(policy).add(*state, u32::saturating_add);
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
        let status = tally.status(facts.generation, mistake.as_ref(), wall);
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

impl Tally {
    fn add(&mut self, state: State, change: fn(u32, u32) -> u32) {
        self.sandboxes = change(self.sandboxes, 1);
        match state {
            State::Awake | State::Draining => self.awake = change(self.awake, 1),
            State::Asleep => self.asleep = change(self.asleep, 1),
            State::Waking => self.waking = change(self.waking, 1),
            State::Blocked => {}
        }
        self.changed = true;
    }

    /// Another policy has one more of what it names or selects.
    fn lose(&mut self, by: &SandboxKey) {
        let count = self.overruled.entry(by.clone()).or_default();
        *count = count.saturating_add(1);
        self.changed = true;
    }

    /// Another policy has one less.
    fn win_back(&mut self, by: &SandboxKey) {
        if let Some(count) = self.overruled.get_mut(by) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.overruled.remove(by);
            }
        }
        self.changed = true;
    }

    fn ready(&self) -> (bool, &'static str, String) {
        let lost: u32 = self.overruled.values().sum();
        match self.overruled.keys().next() {
            Some(by) if self.sandboxes == 0 => {
                let message = format!(
                    "all {lost} it names or selects are governed by {by}, which takes precedence"
                );
                (false, "Overruled", message)
            }
            Some(by) => {
                let message = format!(
                    "governs {}; {lost} more are governed by {by}, which takes precedence",
                    self.sandboxes
                );
                (true, "PartlyOverruled", message)
            }
            None if self.sandboxes == 0 => {
                (true, "NothingToGovern", "no sandbox matches yet".to_owned())
            }
            None => (true, "Governing", format!("governs {}", self.sandboxes)),
        }
    }

    fn status(
        &self,
        generation: i64,
        mistake: Option<&Mistake>,
        wall: Timestamp,
    ) -> ScaledSandboxStatus {
        let (holds, reason, message) = self.ready();
        let ready = match mistake {
            Some(mistake) if mistake.is_fault => (false, mistake.reason, mistake.message.clone()),
            Some(mistake) => (holds, reason, format!("{message}; {}", mistake.message)),
            None => (holds, reason, message),
        };
        let up = self.awake + self.waking;
        let active = if up > 0 {
            (
                true,
                "Awake",
                format!("{up} of {} awake or waking", self.sandboxes),
            )
        } else {
            (false, "Asleep", "none awake".to_owned())
        };
        let condition = |kind: &str, (holds, reason, message): (bool, &str, String)| {
            let status = if holds { "True" } else { "False" };
            let before = self
                .written
                .as_ref()
                .and_then(|written| written.conditions.iter().find(|old| old.type_ == kind));
            let since = before
                .filter(|old| old.status == status)
                .map(|old| old.last_transition_time.clone());
            Condition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason: reason.to_owned(),
                message,
                last_transition_time: since.unwrap_or(Time(wall)),
                observed_generation: Some(generation),
            }
        };
        ScaledSandboxStatus {
            conditions: vec![condition("Ready", ready), condition("Active", active)],
            sandboxes: self.sandboxes,
            awake: self.awake,
            asleep: self.asleep,
            waking: self.waking,
            last_wake: self.last_wake.map(Time),
            observed_generation: Some(generation),
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
