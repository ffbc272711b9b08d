//! What the fleet keeps of one target, from when it is first seen until it is gone.

use std::sync::Arc;
use std::time::Instant;

use reveille_crds::SandboxKey;
use reveille_crds::change::Misread;
use reveille_scaler_core::explain::State;
use reveille_scaler_core::sandbox::Sandbox;

use super::{Fleet, now};
use crate::observe::{self, Clocks};
use crate::status::{Counted, Rule};

/// One target.
pub(super) struct Entry {
    pub(super) machine: Sandbox,
    pub(super) due: Option<Instant>,
    pub(super) state: Option<State>,
    pub(super) rule: Rule,
    pub(super) counted: Option<Counted>,
    /// Why the agent gave no usable answer when it was last asked whether it is busy, of a fixed set.
    pub(super) agent_trouble: Option<&'static str>,
    /// What its annotations say that is not known, as it was last told.
    pub(super) misread: Option<Box<Misread>>,
    /// That its claim stays bound is being written.
    pub(super) keeping_bound: bool,
}

impl Fleet {
    /// A target looks different.
    pub(super) fn see(&mut self, key: &SandboxKey) {
        let target = self.index.target(key).filter(|target| target.key == *key);
        self.see_record(key, target.as_ref());
        let Some(target) = target else {
            return self.drop_entry(key);
        };
        let clocks = Clocks::read();
        let view = observe::view(&target, self.objects.may_release(), clocks);
        let entry = self.entries.entry(key.clone()).or_insert_with(|| {
            self.overlooked.known(key, clocks.now);
            // Far enough apart that no machine reaches another's numbers.
            self.nonce = self.nonce.wrapping_add(1 << 24);
            let machine = Sandbox::new(Arc::clone(&self.rules), self.nonce, clocks.now);
            Entry {
                machine,
                due: None,
                state: None,
                rule: Rule::default(),
                counted: None,
                agent_trouble: None,
                misread: None,
                keeping_bound: false,
            }
        });
        entry.machine.observe(view, clocks.now);
        let rule = Rule::of(&target, &self.index);
        self.tallies.ruled(&entry.rule, &rule, clocks.now);
        entry.rule = rule;
        self.see_annotations(&target);
        self.see_made_again(key);
        self.touch(key);
    }

    pub(super) fn drop_entry(&mut self, key: &SandboxKey) {
        let Some(entry) = self.entries.remove(key) else {
            return;
        };
        if let Some(due) = entry.due {
            self.timers.remove(&(due, key.clone()));
        }
        self.journal.metrics.state(entry.state, None);
        self.tallies
            .recount(key, entry.counted.as_ref(), None, now());
        self.tallies.ruled(&entry.rule, &Rule::default(), now());
    }

    /// Something about a target changed: lets its machine act.
    pub(super) fn touch(&mut self, key: &SandboxKey) {
        if self.synced_at.is_none() {
            return;
        }
        let now = now();
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let poll = entry.machine.poll(&self.roster, now);
        if entry.due != poll.next {
            if let Some(due) = entry.due {
                self.timers.remove(&(due, key.clone()));
            }
            if let Some(next) = poll.next {
                self.timers.insert((next, key.clone()));
            }
            entry.due = poll.next;
        }
        self.count(key, now);
        for act in poll.acts {
            self.act(key, act);
        }
    }
}
