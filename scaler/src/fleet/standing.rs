//! Where the scaler stands: whether it is heard, whether it leads, and whom it must hear before a sleep.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use reveille_crds::message::ToActivator;
use tracing::{info, warn};

use super::{Fleet, now};

impl Fleet {
    /// The carrier itself tells its loss.
    pub(super) fn set_linked(&mut self, up: bool) {
        self.roster.set_linked(up, now());
        if up {
            self.ask_reports(now());
        }
    }

    /// Asks all activators for full reports.
    pub(super) fn ask_reports(&mut self, now: Instant) {
        self.overlooked.asked(now);
        self.say(ToActivator::Sync);
    }

    /// Whether all watches run, and until when we lead, may have changed. A lost leader drops the drains it
    /// began.
    pub(super) fn look_at_lead(&mut self) {
        let current = *self.config.current.borrow();
        self.roster.set_current(current);
        if !self.config.leader.is_elected() {
            return;
        }
        let (until, now) = (self.config.leader.until(), now());
        self.roster.lead_until(until, now);
        let leads = until.is_some_and(|until| now < until);
        if leads == self.led {
            return;
        }
        self.led = leads;
        self.journal.metrics.leads(leads);
        let says = match leads {
            true => "leadership changed: this scaler puts sandboxes to sleep now",
            false => "leadership changed: this scaler only wakes, another puts sandboxes to sleep",
        };
        info!(leads, "{says}");
        if leads {
            self.ask_reports(now);
        }
        self.lead_changed(now);
        self.look_at_drains();
    }

    /// Who must be heard; a drain that did not ask somebody who is there now is off.
    pub(super) fn set_members(&mut self, members: &[Arc<str>]) {
        if !self.config.is_beside_its_activator {
            match members {
                [] => warn!(
                    "no activator is known, so nothing is put to sleep: start one, or see --activator-selector"
                ),
                _ => info!(
                    ?members,
                    "sandboxes sleep only when these activators agree: {}",
                    members.join(", ")
                ),
            }
        }
        self.roster.set_members(members);
        self.look_at_silence();
        self.look_at_drains();
    }

    /// Says whose silence keeps everything awake, and when that is over.
    pub(super) fn look_at_silence(&mut self) {
        let now = now();
        let members = self.roster.silent_members(now);
        self.journal.metrics.silent(members);
        let silent: BTreeSet<Arc<str>> = self.roster.lapsed(now).cloned().collect();
        if !self.config.is_beside_its_activator {
            for name in silent.difference(&self.silent) {
                warn!(
                    activator = %name,
                    "activator {name} is silent, so nothing is put to sleep until it reports again or its pod is gone"
                );
            }
            for name in self.silent.difference(&silent) {
                info!(activator = %name, "activator {name} reports again, or is gone");
            }
        }
        self.silent = silent;
    }

    fn look_at_drains(&mut self) {
        let draining = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.machine.is_draining());
        let keys: Vec<_> = draining.map(|(key, _)| key.clone()).collect();
        for key in &keys {
            self.touch(key);
        }
    }
}
