//! What is counted of each target: its state, for metrics, and whom its policies govern, for their status.

use std::time::Instant;

use reveille_crds::SandboxKey;
use reveille_scaler_core::explain::State;

use super::{Fleet, now};
use crate::observe::Clocks;
use crate::status::Rule;

impl Fleet {
    /// Policies that name or select a target may have come or gone, whether they govern it or not.
    pub(super) fn see_rule(&mut self, key: &SandboxKey) {
        let target = self.index.target(key).filter(|target| target.key == *key);
        if let (Some(target), Some(entry)) = (target, self.entries.get_mut(key)) {
            let rule = Rule::of(&target, &self.index);
            self.tallies.ruled(&entry.rule, &rule, now());
            entry.rule = rule;
        }
    }

    /// Its state may have changed; its policy is that of when it was last seen.
    pub(super) fn count(&mut self, key: &SandboxKey, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let state = entry.machine.state(now);
        if entry.state != Some(state) {
            self.journal.metrics.state(entry.state, Some(state));
            entry.state = Some(state);
        }
        let policy = entry.rule.policy.clone();
        let counted = policy.map(|policy| (policy, state));
        if let (Some((policy, State::Awake)), Some((_, State::Asleep | State::Waking))) =
            (&counted, &entry.counted)
        {
            self.tallies.woke(policy, Clocks::read().wall);
        }
        if entry.counted != counted {
            self.tallies
                .recount(entry.counted.as_ref(), counted.as_ref(), now);
            entry.counted = counted;
        }
    }
}
