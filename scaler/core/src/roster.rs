//! The activators: who must be heard before anything may sleep, and whether they all have been.
//!
//! No news is not idle. A member that is silent, that was never heard, or whose picture is incomplete
//! (a gap in its sequence, a new start) blocks every sleep. After a change of leader, a restart or a lost
//! carrier everything counts as active from that moment on ([`Roster::reset`]).

mod activator;
mod silence;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::activator::{Activator, Heard};
pub use self::silence::Silence;

/// Reporters that are no members but still count: a pod that is leaving, or one that the list does not
/// show yet. More than that many are strangers.
const MAX_GUESTS: usize = 64;

/// All activators, over targets named by `K`.
#[derive(Debug)]
pub struct Roster<K> {
    activators: BTreeMap<Arc<str>, Activator<K>>,
    silence: Duration,
    since: Instant,
    /// Until when this scaler leads.
    lead: Lead,
    linked: bool,
    current: bool,
}

/// Until when a scaler leads.
#[derive(Clone, Copy, Debug)]
enum Lead {
    /// It is the only one.
    Always,
    Until(Option<Instant>),
}

impl Lead {
    fn holds(self, now: Instant) -> bool {
        match self {
            Self::Always => true,
            Self::Until(until) => until.is_some_and(|until| now < until),
        }
    }
}

/// What a report means beyond its entries.
#[derive(Debug, PartialEq, Eq)]
pub struct Hearing<K> {
    /// Its entries count. A double, or one that came too late, says nothing.
    pub accepted: bool,
    /// The picture is incomplete: ask for a full report.
    pub ask_full: bool,
    /// What some activator had under way and has no more, without saying since when.
    pub quiet: Vec<(Arc<str>, K)>,
}

impl<K: Clone + Ord> Roster<K> {
    /// Nobody is known yet; a member is silent after `silence` without a report. Until it is told
    /// otherwise this scaler leads.
    #[must_use]
    pub fn new(silence: Duration, now: Instant) -> Self {
        Self {
            activators: BTreeMap::new(),
            silence,
            since: now,
            lead: Lead::Always,
            linked: true,
            current: true,
        }
    }

    /// Who must be heard, from now on. Who left counts until it has been silent for a while.
    pub fn set_members<'a>(&mut self, names: impl IntoIterator<Item = &'a Arc<str>>) {
        for activator in self.activators.values_mut() {
            activator.member = false;
        }
        for name in names {
            self.activators
                .entry(Arc::clone(name))
                .or_insert_with(Activator::unheard)
                .member = true;
        }
        self.activators
            .retain(|_, activator| activator.member || activator.heard.is_some());
    }

    /// We lost sight of what happened: everything counts as active now, and everyone must report in full.
    pub fn reset(&mut self, now: Instant) {
        self.since = now;
        for heard in self
            .activators
            .values_mut()
            .filter_map(|activator| activator.heard.as_mut())
        {
            heard.full = false;
        }
    }

    /// This scaler leads until then; none: it does not. A new leader starts from nothing, a renewal
    /// changes nothing. The end needs no telling: a process that was suspended may find itself beyond it.
    pub fn lead_until(&mut self, until: Option<Instant>, now: Instant) {
        let lead = Lead::Until(until);
        if lead.holds(now) && !self.lead.holds(now) {
            self.reset(now);
        }
        self.lead = lead;
    }

    /// Whether the carrier is up; what was said while it was not is lost.
    pub fn set_linked(&mut self, up: bool, now: Instant) {
        if up != self.linked {
            self.reset(now);
        }
        self.linked = up;
    }

    /// Whether all watches run, so that what is seen is what there is.
    pub fn set_current(&mut self, current: bool) {
        self.current = current;
    }

    /// Takes a report of `from`: its place in the sequence, and for each target it mentions whether that
    /// one is active.
    pub fn report(
        &mut self,
        from: &Arc<str>,
        incarnation: &str,
        (sequence, full): (u64, bool),
        entries: &[(K, bool)],
        now: Instant,
    ) -> Hearing<K> {
        let mut hearing = Hearing {
            accepted: false,
            ask_full: false,
            quiet: self.sweep(now),
        };
        if !self.activators.contains_key(from) {
            if self
                .activators
                .values()
                .filter(|activator| !activator.member)
                .count()
                >= MAX_GUESTS
            {
                return hearing;
            }
            self.activators
                .insert(Arc::clone(from), Activator::unheard());
        }
        let Some(activator) = self.activators.get_mut(from) else {
            return hearing;
        };
        if activator.is_late(incarnation, sequence) {
            return hearing;
        }
        let gone = activator.take(incarnation, (sequence, full), entries, now);
        hearing.accepted = true;
        hearing.ask_full = activator.heard.as_ref().is_some_and(|heard| !heard.full);
        hearing
            .quiet
            .extend(gone.into_iter().map(|key| (Arc::clone(from), key)));
        hearing
    }

    /// Everyone a drain has to ask: name and incarnation.
    pub fn present(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.activators
            .iter()
            .filter_map(|(name, activator)| Some((name, &activator.heard.as_ref()?.incarnation)))
    }

    /// When `member` last reported.
    #[must_use]
    pub fn heard_at(&self, member: &str) -> Option<Instant> {
        self.activators
            .get(member)?
            .heard
            .as_ref()
            .map(|heard| heard.at)
    }

    /// The moment before which nothing is known: everything counts as active until then.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// Drops who is no member and has fallen silent; what they had under way ended with them.
    fn sweep(&mut self, now: Instant) -> Vec<(Arc<str>, K)> {
        let mut quiet = Vec::new();
        let silence = self.silence;
        self.activators.retain(|name, activator| {
            let left = |heard: &Heard<K>| heard.is_silent(silence, now);
            let goes = !activator.member && activator.heard.as_ref().is_none_or(left);
            if goes && let Some(heard) = activator.heard.take() {
                quiet.extend(heard.active.into_iter().map(|key| (Arc::clone(name), key)));
            }
            !goes
        });
        quiet
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a case has to begin somewhere")]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(3);

    fn roster(now: Instant) -> (Roster<&'static str>, Arc<str>) {
        let mut roster = Roster::new(SILENCE, now);
        let a: Arc<str> = "a".into();
        roster.set_members([&a]);
        (roster, a)
    }

    #[test]
    fn a_member_that_was_never_heard_blocks_every_sleep() {
        let now = Instant::now();
        let (roster, a) = roster(now);
        assert_eq!(roster.silence(now), Some(Silence::Unheard(a)));
        assert_eq!(roster.silent_members(now), 1);
    }

    #[test]
    fn no_members_at_all_is_no_evidence_either() {
        let now = Instant::now();
        assert_eq!(
            Roster::<u8>::new(SILENCE, now).silence(now),
            Some(Silence::NoMembers)
        );
    }

    #[test]
    fn a_gap_in_the_sequence_asks_for_everything_again() {
        let now = Instant::now();
        let (mut roster, a) = roster(now);
        assert!(!roster.report(&a, "i", (1, true), &[], now).ask_full);
        assert!(!roster.report(&a, "i", (2, false), &[], now).ask_full);
        assert_eq!(roster.silence(now), None);
        assert!(roster.report(&a, "i", (4, false), &[], now).ask_full);
        assert_eq!(roster.silence(now), Some(Silence::Partial(Arc::clone(&a))));
        assert!(
            roster.report(&a, "i", (5, false), &[], now).ask_full,
            "still not complete"
        );
        assert!(!roster.report(&a, "i", (6, true), &[], now).ask_full);
        assert_eq!(roster.silence(now), None);
    }

    #[test]
    fn silence_is_counted_from_the_last_report() {
        let now = Instant::now();
        let (mut roster, a) = roster(now);
        roster.report(&a, "i", (1, true), &[], now);
        assert_eq!(roster.silence(now + SILENCE), None);
        let later = now + SILENCE + Duration::from_nanos(1);
        assert_eq!(roster.silence(later), Some(Silence::Silent(a)));
    }

    #[test]
    fn doubles_and_reports_of_an_earlier_start_say_nothing() {
        let now = Instant::now();
        let (mut roster, a) = roster(now);
        roster.report(&a, "one", (1, true), &[("x", true)], now);
        assert!(!roster.report(&a, "one", (1, true), &[], now).accepted);
        let restarted = roster.report(&a, "two", (1, true), &[], now);
        assert_eq!(restarted.quiet, [(Arc::clone(&a), "x")]);
        assert!(!roster.report(&a, "one", (2, true), &[], now).accepted);
    }

    #[test]
    fn a_full_report_ends_what_it_does_not_mention() {
        let now = Instant::now();
        let (mut roster, a) = roster(now);
        roster.report(&a, "i", (1, true), &[("x", true), ("y", true)], now);
        assert!(
            roster
                .report(&a, "i", (2, false), &[], now)
                .quiet
                .is_empty()
        );
        let full = roster.report(&a, "i", (3, true), &[("y", true)], now);
        assert_eq!(full.quiet, [(a, "x")]);
    }

    thread_local! {
        static COMPARED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    /// A target that counts how often it is compared.
    #[derive(Clone, Debug)]
    struct Counted(u32);

    impl Ord for Counted {
        fn cmp(&self, other: &Self) -> std::cmp::Ordering {
            COMPARED.set(COMPARED.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Counted {}

    #[test]
    fn a_full_report_of_many_is_compared_about_once_each() {
        const MANY: u32 = 10_000;
        let now = Instant::now();
        let mut roster = Roster::new(SILENCE, now);
        let a: Arc<str> = "a".into();
        roster.set_members([&a]);
        let active = |from: u32| -> Vec<_> {
            (from..from + MANY)
                .map(|key| (Counted(key), true))
                .collect()
        };
        roster.report(&a, "i", (1, true), &active(0), now);
        let next = active(MANY / 2);
        COMPARED.set(0);
        let quiet = roster.report(&a, "i", (2, true), &next, now).quiet;
        assert_eq!(quiet.len(), MANY as usize / 2);
        // A search in order takes about log2 of 10,000, three times over.
        assert!(COMPARED.get() < MANY as usize * 60, "{}", COMPARED.get());
    }

    #[test]
    fn who_left_counts_until_it_falls_silent() {
        let now = Instant::now();
        let (mut roster, a) = roster(now);
        let b: Arc<str> = "b".into();
        roster.report(&b, "i", (1, true), &[("x", true)], now);
        roster.report(&a, "i", (1, true), &[], now);
        assert_eq!(roster.present().count(), 2);
        let later = now + SILENCE + SILENCE;
        let hearing = roster.report(&a, "i", (2, false), &[], later);
        assert_eq!(hearing.quiet, [(b, "x")]);
        assert_eq!(roster.present().count(), 1);
    }

    #[test]
    fn a_lost_carrier_makes_everything_active_and_everyone_incomplete() {
        let now = Instant::now();
        let (mut roster, a) = roster(now);
        roster.report(&a, "i", (1, true), &[], now);
        roster.set_linked(false, now);
        assert_eq!(roster.silence(now), Some(Silence::LinkDown));
        let back = now + Duration::from_secs(1);
        roster.set_linked(true, back);
        assert_eq!(roster.since(), back);
        assert_eq!(roster.silence(back), Some(Silence::Partial(a)));
    }
}
