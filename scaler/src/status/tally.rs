//! What one policy governs, and what its status says of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use reveille_crds::SandboxKey;
use reveille_crds::scaled_sandbox::{PolicyFacts, ScaledSandboxStatus};
use reveille_scaler_core::explain::State;

use super::Counted;
use super::trouble::{Trouble, busy_path_answers, flapping};
use crate::policy::Mistake;

#[derive(Debug, Default)]
pub(super) struct Tally {
    sandboxes: u32,
    awake: u32,
    asleep: u32,
    waking: u32,
    pub(super) last_wake: Option<Timestamp>,
    /// How many targets each other policy took.
    overruled: BTreeMap<SandboxKey, u32>,
    /// Of the targets, those that a condition names.
    troubled: BTreeMap<SandboxKey, Trouble>,
    pub(super) written: Option<ScaledSandboxStatus>,
    /// As it was last told.
    pub(super) mistake: Option<Mistake>,
    pub(super) changed: bool,
    /// A write of it is queued or under way: there is one at a time, so that the last one counts.
    pub(super) outstanding: bool,
}

impl Tally {
    /// One more target.
    pub(super) fn join(&mut self, target: &SandboxKey, counted: &Counted) {
        self.add(counted.state, u32::saturating_add);
        if let Some(trouble) = &counted.trouble {
            self.troubled.insert(target.clone(), (**trouble).clone());
        }
    }

    /// One target less, which was counted so.
    pub(super) fn leave(&mut self, target: &SandboxKey, counted: &Counted) {
        self.add(counted.state, u32::saturating_sub);
        self.troubled.remove(target);
    }

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
    pub(super) fn lose(&mut self, by: &SandboxKey) {
        let count = self.overruled.entry(by.clone()).or_default();
        *count = count.saturating_add(1);
        self.changed = true;
    }

    /// Another policy has one less.
    pub(super) fn win_back(&mut self, by: &SandboxKey) {
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

    /// What there is to write of it.
    pub(super) fn status(
        &self,
        facts: &PolicyFacts,
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
                observed_generation: Some(facts.generation),
            }
        };
        let mut conditions = vec![condition("Ready", ready), condition("Active", active)];
        conditions.push(condition("Flapping", flapping(&self.troubled, &facts.spec)));
        if facts.spec.busy.is_some() {
            let answers = busy_path_answers(&self.troubled, &facts.spec);
            conditions.push(condition("BusyPathAnswers", answers));
        }
        ScaledSandboxStatus {
            conditions,
            sandboxes: self.sandboxes,
            awake: self.awake,
            asleep: self.asleep,
            waking: self.waking,
            last_wake: self.last_wake.map(Time),
            observed_generation: Some(facts.generation),
        }
    }
}
