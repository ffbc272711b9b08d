//! Status of each ScaledSandbox: counts and conditions, written at most once a second and on change only.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use reveille_crds::SandboxKey;
use reveille_crds::index::Index;
use reveille_crds::scaled_sandbox::ScaledSandboxStatus;
use reveille_scaler_core::explain::State;

/// Shortest time between two status writes.
const EVERY: Duration = Duration::from_secs(1);

/// What each policy governs.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    by_policy: BTreeMap<SandboxKey, Tally>,
    due: Option<Instant>,
}

#[derive(Debug, Default)]
struct Tally {
    sandboxes: u32,
    awake: u32,
    asleep: u32,
    waking: u32,
    last_wake: Option<Timestamp>,
    /// How many targets another policy took, and which.
    overruled: Option<(usize, SandboxKey)>,
    written: Option<ScaledSandboxStatus>,
    changed: bool,
}

/// A target as it was counted: its policy and its state.
pub(crate) type Counted = (SandboxKey, State);

impl Tallies {
    /// A target was counted as `before` and is `after` now.
    pub(crate) fn recount(
        &mut self,
        before: Option<&Counted>,
        after: Option<&Counted>,
        now: Instant,
    ) {
        if let Some((policy, state)) = before
            && let Some(tally) = self.by_policy.get_mut(policy)
        {
            tally.add(*state, u32::saturating_sub);
            self.due.get_or_insert(now + EVERY);
        }
        if let Some((policy, state)) = after {
            self.by_policy
                .entry(policy.clone())
                .or_default()
                .add(*state, u32::saturating_add);
            self.due.get_or_insert(now + EVERY);
        }
    }

    /// A target of this policy was woken.
    pub(crate) fn woke(&mut self, policy: &SandboxKey, at: Timestamp) {
        if let Some(tally) = self.by_policy.get_mut(policy) {
            tally.last_wake = Some(at);
            tally.changed = true;
        }
    }

    /// A policy of `namespace` came, went or changed: all of them may govern something else now.
    pub(crate) fn policies_changed(&mut self, namespace: &str, index: &Index, now: Instant) {
        self.by_policy
            .retain(|key, _| index.policies().get(key).is_some());
        for (key, _) in index
            .policies()
            .iter()
            .filter(|(key, _)| key.namespace() == namespace)
        {
            let tally = self.by_policy.entry(key.clone()).or_default();
            let overruled = index.overruled(key);
            tally.overruled = overruled
                .first()
                .map(|first| (overruled.len(), first.by.clone()));
            tally.changed = true;
        }
        self.due.get_or_insert(now + EVERY);
    }

    /// When there is something to write.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What is to be written now.
    pub(crate) fn take(
        &mut self,
        index: &Index,
        wall: Timestamp,
    ) -> Vec<(SandboxKey, ScaledSandboxStatus)> {
        self.due = None;
        let changed = self.by_policy.iter_mut().filter(|(_, tally)| tally.changed);
        let write = |(key, tally): (&SandboxKey, &mut Tally)| {
            tally.changed = false;
            let generation = index.policies().get(key)?.generation;
            let status = tally.status(generation, wall);
            (tally.written.as_ref() != Some(&status)).then(|| {
                tally.written = Some(status.clone());
                (key.clone(), status)
            })
        };
        changed.filter_map(write).collect()
    }

    /// A write failed: once more.
    pub(crate) fn again(&mut self, policy: &SandboxKey, now: Instant) {
        if let Some(tally) = self.by_policy.get_mut(policy) {
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

    fn status(&self, generation: i64, wall: Timestamp) -> ScaledSandboxStatus {
        let ready = match &self.overruled {
            Some((count, by)) if self.sandboxes == 0 => {
                let message = format!(
                    "all {count} it names or selects are governed by {by}, which takes precedence"
                );
                (false, "Overruled", message)
            }
            Some((count, by)) => {
                let message = format!(
                    "governs {}; {count} more are governed by {by}, which takes precedence",
                    self.sandboxes
                );
                (true, "PartlyOverruled", message)
            }
            None if self.sandboxes == 0 => {
                (true, "NothingToGovern", "no sandbox matches yet".to_owned())
            }
            None => (true, "Governing", format!("governs {}", self.sandboxes)),
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
