//! What the leader does besides putting to sleep: the status of policies, and the records of claims that
//! live again. And what everyone tells the users of the API: events.

use std::sync::Arc;
use std::time::Instant;

use reveille_crds::SandboxKey;
use reveille_crds::index::Target;
use reveille_scaler_core::budget::Class;

use super::doing::Job;
use super::{Fleet, now};
use crate::apply::{Event, Severity};

/// Events that wait for their turn; what comes on top is dropped. At 50 writes a second 256 are five
/// seconds' worth, 300 bytes each.
const EVENTS: usize = 256;
/// A record beside a claim is left alone for so many write timeouts: the release or the binding that it is
/// part of has ended by then, whoever began it.
const SETTLED: u32 = 3;

/// A record of a claim that lives.
#[derive(Debug)]
pub(super) struct Leftover {
    uid: Arc<str>,
    /// When to remove it; none while that is under way.
    due: Option<Instant>,
}

impl Fleet {
    pub(super) fn push_status(&mut self) {
        for policy in self.tallies.take(&self.index) {
            self.budget.push(Class::Status, Job::Status { policy });
        }
    }

    /// What the leader writes is due by itself at this instant.
    pub(super) fn upkeep_due(&self) -> Option<Instant> {
        if !self.led {
            return None;
        }
        let leftover = self.leftovers.values().filter_map(|leftover| leftover.due);
        let leftover = leftover.min();
        self.tallies.due().into_iter().chain(leftover).min()
    }

    /// Does what is due.
    pub(super) fn keep_up(&mut self, now: Instant) {
        if !self.led {
            return;
        }
        if self.tallies.due().is_some_and(|due| due <= now) {
            self.push_status();
        }
        for (claim, leftover) in &mut self.leftovers {
            if leftover.due.take_if(|due| *due <= now).is_some() {
                let (claim, leftover) = (claim.clone(), Arc::clone(&leftover.uid));
                self.budget
                    .push(Class::Status, Job::Collect { claim, leftover });
            }
        }
    }

    /// A new leader writes all status anew: what the last one wrote it does not know.
    pub(super) fn lead_changed(&mut self, now: Instant) {
        if self.led {
            self.tallies.rewrite(now);
        }
    }

    /// Remembers a record beside a claim, from when it is first seen.
    pub(super) fn see_leftover(&mut self, key: &SandboxKey, target: Option<&Target>) {
        let claim = target.and_then(|target| target.claim.as_ref());
        let uid = claim.and_then(|(_, facts)| facts.leftover.clone());
        match (uid, self.leftovers.get(key)) {
            (Some(uid), Some(known)) if known.uid == uid => {}
            (Some(uid), _) => {
                let due = Some(now() + self.config.write_timeout * SETTLED);
                self.leftovers.insert(key.clone(), Leftover { uid, due });
            }
            (None, Some(_)) => {
                self.leftovers.remove(key);
            }
            (None, None) => {}
        }
    }

    /// One was removed, or not: again after a while, if it is still seen by then.
    pub(super) fn collected(&mut self, claim: &SandboxKey) {
        if let Some(leftover) = self.leftovers.get_mut(claim) {
            leftover.due = Some(now() + self.config.write_timeout * SETTLED);
        }
    }

    /// Publishes an event about a target, unless too many wait.
    pub(super) fn publish(
        &mut self,
        key: &SandboxKey,
        severity: Severity,
        words: (&'static str, &'static str),
        note: String,
    ) {
        if self.events_waiting >= EVENTS || !self.objects.has_events() {
            return;
        }
        let target = self.index.target(key);
        if let Some(event) = target.and_then(|target| Event::new(&target, severity, words, note)) {
            self.events_waiting += 1;
            self.budget.push(Class::Event, Job::Event(Box::new(event)));
        }
    }
}
