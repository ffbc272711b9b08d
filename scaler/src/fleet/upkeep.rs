//! What the leader does besides putting to sleep: the status of policies, and the records of claims that
//! live again, have ended or were forgotten. And what everyone tells the users of the API: events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use reveille_crds::SandboxKey;
use reveille_crds::change::ClaimFacts;
use reveille_crds::index::Target;
use reveille_scaler_core::budget::Class;
use tracing::warn;

use super::Fleet;
use super::doing::Job;
use super::records::Removal;
use crate::apply::{self, Event, Failure, Objects, Severity};
use crate::observe::Clocks;

/// Events that wait for their turn; what comes on top is dropped. At 50 writes a second 256 are five
/// seconds' worth, 300 bytes each.
const EVENTS: usize = 256;
/// A record that is to be removed is left alone for so many write timeouts: the release or the binding that
/// it may be part of has ended by then, whoever began it.
const SETTLED: u32 = 3;

/// How long before its removal a record is said to be removed.
const NOTICE: SignedDuration = SignedDuration::from_hours(24);

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
            if let Removal::Announced(uid, at) = removal {
                self.announce(&claim, uid, at);
            } else {
                self.budget
                    .push(Class::Status, Job::Remove { claim, removal });
            }
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
        let removal = facts.and_then(|(_, facts)| removal(facts, Clocks::read().wall));
        let removal = removal.map(|removal| {
            let due = self.removable(&removal);
            (removal, due)
        });
        self.records.see(key, removal);
    }

    /// A day ahead: nobody has asked for the claim of this UID, and what is kept of it goes.
    fn announce(&mut self, claim: &SandboxKey, uid: Arc<str>, at: Timestamp) {
        let target = self.index.target(claim);
        let facts = target
            .and_then(|target| target.claim)
            .map(|(_, facts)| facts);
        if let Some(lapse) = facts.and_then(|facts| facts.lapse.clone()) {
            let name = claim.name();
            let at = lapse.at.round(jiff::Unit::Second).unwrap_or(lapse.at);
            warn!(%claim, %at, "nobody asks for {claim}: what is kept of it is removed at {at}");
            let text = format!(
                "Nobody has asked for this claim since it was released to sleep: at {at} this ReleasedClaim is \
                 removed, and {name} answers 404 from then on. To keep it, ask for it once, or write a later \
                 spec.removalTime here; a longer wake.ttlSecondsAfterReleased in its policy holds for later \
                 releases"
            );
            self.publish_event(Event::of_record(claim, &lapse.record, "RemovalDue", text));
        }
        let removal = Removal::Lapsed(uid, at);
        let due = self.removable(&removal);
        self.records.see(claim, Some((removal, due)));
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
            Removal::Ended(_, at) | Removal::Lapsed(_, at) => clocks.instant(*at),
            Removal::Announced(_, at) => {
                let told = at.checked_sub(NOTICE).unwrap_or(*at);
                return clocks.instant(told).unwrap_or(clocks.now);
            }
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

/// What is to become of the record of a claim, if anything. In its last day a removal has been told, by whoever
/// led then.
fn removal(facts: &ClaimFacts, wall: Timestamp) -> Option<Removal> {
    if let Some(record) = &facts.leftover {
        return Some(Removal::Leftover(Arc::clone(record)));
    }
    if !facts.released || facts.deleting {
        return None;
    }
    let uid = Arc::clone(&facts.uid);
    match (facts.ends.as_deref(), facts.lapse.as_deref()) {
        (Some(ends), lapse) if lapse.is_none_or(|lapse| *ends <= lapse.at) => {
            Some(Removal::Ended(uid, *ends))
        }
        (_, Some(lapse)) if lapse.at.duration_since(wall) > NOTICE => {
            Some(Removal::Announced(uid, lapse.at))
        }
        (_, Some(lapse)) => Some(Removal::Lapsed(uid, lapse.at)),
        (_, None) => None,
    }
}

/// Removes the record of a claim.
pub(super) async fn remove(
    objects: &Objects,
    claim: &SandboxKey,
    removal: Removal,
    limit: Duration,
) -> Result<(), Failure> {
    match removal {
        Removal::Leftover(record) => apply::collect(objects, claim, &record, limit).await,
        Removal::Ended(uid, _) | Removal::Announced(uid, _) | Removal::Lapsed(uid, _) => {
            apply::bury(objects, claim, &uid, limit).await
        }
    }
}
