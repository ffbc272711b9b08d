//! Who was active when, for one target, merged over all activators.
//!
//! An entry exists only for an activator that has something under way; what went quiet leaves nothing
//! but the latest instant of activity. Idleness is never inferred from silence: that is the
//! [`crate::roster`]'s part.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// What one activator says of this target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Requests between their first and last byte, and upgraded connections that moved bytes lately.
    pub in_flight: u32,
    /// Requests parked.
    pub parked: u32,
    /// Time since the last activity ended.
    pub quiet_for: Duration,
    /// The agent's busy lease out of a response header: pod and time left.
    pub busy: Option<(Arc<str>, Duration)>,
}

impl Report {
    /// Whether something is under way.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.in_flight > 0 || self.parked > 0
    }
}

/// The merged sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Requests under way.
    pub in_flight: u32,
    /// Requests parked.
    pub parked: u32,
    /// When activity was last known of; `None`: never.
    pub last_active: Option<Instant>,
}

/// The ledger of one target.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    active: Vec<Entry>,
    last_active: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Entry {
    member: Arc<str>,
    in_flight: u32,
    parked: u32,
}

impl Ledger {
    /// Takes what `member` says; it replaces what it said before.
    pub fn note(&mut self, member: &Arc<str>, report: &Report, now: Instant) {
        self.active.retain(|entry| entry.member != *member);
        if report.is_active() {
            let (in_flight, parked) = (report.in_flight, report.parked);
            self.active.push(Entry {
                member: Arc::clone(member),
                in_flight,
                parked,
            });
            self.touch(now);
        } else if let Some(ended) = now.checked_sub(report.quiet_for) {
            self.touch(ended);
        }
    }

    /// `member` has nothing under way any more, and it is not known since when: since now.
    pub fn quiet(&mut self, member: &Arc<str>, now: Instant) {
        let before = self.active.len();
        self.active.retain(|entry| entry.member != *member);
        if self.active.len() != before {
            self.touch(now);
        }
    }

    /// Something was active at `at`.
    pub fn touch(&mut self, at: Instant) {
        self.last_active = self.last_active.max(Some(at));
    }

    /// The sum over all activators; while something is under way it is active right now.
    #[must_use]
    pub fn demand(&self, now: Instant) -> Demand {
        let sum =
            |part: fn(&Entry) -> u32| self.active.iter().map(part).fold(0, u32::saturating_add);
        let last_active = if self.active.is_empty() {
            self.last_active
        } else {
            Some(now)
        };
        Demand {
            in_flight: sum(|entry| entry.in_flight),
            parked: sum(|entry| entry.parked),
            last_active,
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a case has to begin somewhere")]
mod tests {
    use super::*;

    fn active(in_flight: u32, parked: u32) -> Report {
        Report {
            in_flight,
            parked,
            ..Report::default()
        }
    }

    fn quiet_for(seconds: u64) -> Report {
        Report {
            quiet_for: Duration::from_secs(seconds),
            ..Report::default()
        }
    }

    #[test]
    fn the_latest_activity_of_any_activator_counts() {
        let now = Instant::now() + Duration::from_secs(1000);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut ledger = Ledger::default();
        ledger.note(&a, &quiet_for(60), now);
        ledger.note(&b, &quiet_for(5), now);
        ledger.note(&a, &quiet_for(70), now);
        assert_eq!(
            ledger.demand(now).last_active,
            Some(now - Duration::from_secs(5))
        );
    }

    #[test]
    fn what_is_under_way_is_summed_and_active_now() {
        let now = Instant::now();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let later = now + Duration::from_secs(9);
        let mut ledger = Ledger::default();
        ledger.note(&a, &active(2, 0), now);
        ledger.note(&b, &active(1, 3), now);
        let all = Demand {
            in_flight: 3,
            parked: 3,
            last_active: Some(later),
        };
        assert_eq!(ledger.demand(later), all);
    }

    #[test]
    fn an_activator_that_no_longer_mentions_it_went_quiet_just_now() {
        let now = Instant::now();
        let a: Arc<str> = "a".into();
        let mut ledger = Ledger::default();
        ledger.note(&a, &active(1, 0), now);
        let later = now + Duration::from_secs(9);
        ledger.quiet(&a, later);
        assert_eq!(
            ledger.demand(later),
            Demand {
                last_active: Some(later),
                ..Demand::default()
            }
        );
    }
}
