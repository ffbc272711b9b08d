//! What the leader does besides putting to sleep: the status of policies, and the records of claims that
//! live again or have ended. And what everyone tells the users of the API: events.

use std::sync::Arc;
use std::time::Instant;

use reveille_crds::SandboxKey;
use reveille_crds::index::Target;
use reveille_scaler_core::budget::Class;

use super::Fleet;
use super::doing::Job;
use super::records::Removal;
use crate::apply::{Event, Severity};
use crate::observe::Clocks;

/// Events that wait for their turn; what comes on top is dropped. At 50 writes a second 256 are five
/// seconds' worth, 300 bytes each.
const EVENTS: usize = 256;
/// A record that is to be removed is left alone for so many write timeouts: the release or the binding that
/// it may be part of has ended by then, whoever began it.
const SETTLED: u32 = 3;

impl Fleet {
    pub(super) fn push_status(&mut self) {
        for policy in self.tallies.take() {
            self.budget.push(Class::Status, Job::Status { policy });
        }
    }

    /// What the leader writes is due by itself at this instant.
    pub(super) fn upkeep_due(&self) -> Option<Instant> {
        if !self.led {
            return None;
        }
        let record = self.records.next();
        self.tallies.due().into_iter().chain(record).min()
    }

    /// Does what is due.
    pub(super) fn keep_up(&mut self, now: Instant) {
        if !self.led {
            return;
        }
        if self.tallies.due().is_some_and(|due| due <= now) {
            self.push_status();
        }
        while let Some((claim, removal)) = self.records.take(now) {
            self.budget
                .push(Class::Status, Job::Remove { claim, removal });
        }
    }

    /// A new leader writes all status anew: what the last one wrote it does not know.
    pub(super) fn lead_changed(&mut self, now: Instant) {
        if self.led {
            self.tallies.rewrite(now);
            self.see_all_annotations();
        }
    }

    /// Remembers a record that is to be removed, from when it is first seen to be so.
    pub(super) fn see_record(&mut self, key: &SandboxKey, target: Option<&Target>) {
        let facts = target.and_then(|target| target.claim.as_ref());
        let removal = facts.and_then(|(_, facts)| match (&facts.leftover, &facts.ends) {
            (Some(record), _) => Some(Removal::Leftover(Arc::clone(record))),
            (None, Some(ends)) if facts.released && !facts.deleting => {
                Some(Removal::Ended(Arc::clone(&facts.uid), **ends))
            }
            _ => None,
        });
        let removal = removal.map(|removal| {
            let due = self.removable(&removal);
            (removal, due)
        });
        self.records.see(key, removal);
    }

    /// One was removed, or not: again after a while, if it is still seen by then.
    pub(super) fn removed(&mut self, claim: &SandboxKey) {
        if let Some(due) = self.records.get(claim).map(|it| self.removable(it)) {
            self.records.again(claim, due);
        }
    }

    fn removable(&self, removal: &Removal) -> Instant {
        let clocks = Clocks::read();
        let from = match removal {
            Removal::Leftover(_) => None,
            Removal::Ended(_, ends) => clocks.instant(*ends),
        };
        from.unwrap_or(clocks.now) + self.config.write_timeout * SETTLED
    }

    /// Publishes an event about a target, unless too many wait.
    pub(super) fn publish(
        &mut self,
        key: &SandboxKey,
        severity: Severity,
        words: (&'static str, &'static str),
        note: String,
    ) {
        if !self.may_publish() {
            return;
        }
        let target = self.index.target(key);
        if let Some(event) = target.and_then(|target| Event::new(&target, severity, words, note)) {
            self.publish_event(event);
        }
    }

    /// The same of any event.
    pub(super) fn publish_event(&mut self, event: Event) {
        if self.may_publish() {
            self.events_waiting += 1;
            self.budget.push(Class::Event, Job::Event(Box::new(event)));
        }
    }

    const fn may_publish(&self) -> bool {
        self.events_waiting < EVENTS && self.objects.has_events()
    }
}
