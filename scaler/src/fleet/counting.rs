//! What is counted of each target: its state, for metrics, and whom its policies govern, for their status.

use std::sync::Arc;
use std::time::Instant;

use reveille_crds::SandboxKey;
use reveille_scaler_core::explain::State;
use reveille_scaler_core::sandbox::Sandbox;

use super::{Fleet, now};
use crate::observe::Clocks;
use crate::status::{Counted, Rule, Trouble};

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
        let trouble = trouble(&entry.machine, now);
        let counted = entry.rule.policy.clone().map(|policy| Counted {
            policy,
            state,
            trouble,
        });
        if entry.counted == counted {
            return;
        }
        if let (Some(after), Some(before)) = (&counted, &entry.counted)
            && after.state == State::Awake
            && matches!(before.state, State::Asleep | State::Waking)
        {
            self.tallies.woke(&after.policy, Clocks::read().wall);
        }
        let before = std::mem::replace(&mut entry.counted, counted);
        let after = entry.counted.as_ref();
        self.tallies.recount(key, before.as_ref(), after, now);
    }
}

/// What its policy is to name it for.
fn trouble(machine: &Sandbox, now: Instant) -> Option<Box<Trouble>> {
    let flapping = machine.flapping(now).map(|row| Arc::clone(row.by()));
    let is_agent_silent = machine.is_agent_given_up();
    (flapping.is_some() || is_agent_silent).then(|| {
        Box::new(Trouble {
            flapping,
            is_agent_silent,
        })
    })
}
