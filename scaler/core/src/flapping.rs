//! A sandbox that is woken again and again right after its own sleep: a client that reconnects by itself, a
//! forgotten tab. It costs a wake each time, and nobody gains by the sleep.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::act::SleepReason;

/// So many such wakes in a row are no accident.
const WAKES: u32 = 3;
/// A wake within so short a time comes right after the sleep, however short the cooldown.
const RIGHT_AFTER: Duration = Duration::from_secs(5);
/// It is over when so many cooldowns have passed without the next, and [`CALM`] on top.
const COOLDOWNS: u32 = 3;
/// Time for its start, which comes on top of each cooldown.
const CALM: Duration = Duration::from_secs(60);

/// Wakes in a row that came within one cooldown of an idle sleep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flapping {
    wakes: u32,
    cooldown: Duration,
    ends: Instant,
    by: Arc<str>,
}

impl Flapping {
    /// It was woken `now`, last put to sleep as `slept` says, under a policy with this cooldown. What counts
    /// goes on from `before`; nothing where this wake ends the row. `by` says who asked, where that is known.
    #[must_use]
    pub fn woken(
        before: Option<&Self>,
        slept: Option<(Instant, SleepReason)>,
        cooldown: Duration,
        by: Option<&Arc<str>>,
        now: Instant,
    ) -> Option<Self> {
        let (at, reason) = slept?;
        if reason != SleepReason::Idle || now > at + cooldown.max(RIGHT_AFTER) {
            return None;
        }
        let known = || before.map(|before| Arc::clone(&before.by));
        let before_this = before.filter(|before| now < before.ends);
        Some(Self {
            wakes: before_this
                .map_or(0, |before| before.wakes)
                .saturating_add(1),
            cooldown,
            ends: now + cooldown * COOLDOWNS + CALM,
            by: by.cloned().or_else(known).unwrap_or_default(),
        })
    }

    /// Whether these are enough.
    #[must_use]
    pub fn is_on(&self, now: Instant) -> bool {
        self.wakes >= WAKES && now < self.ends
    }

    /// Whether the last wake made them enough.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.wakes == WAKES
    }

    /// How many in a row.
    #[must_use]
    pub const fn wakes(&self) -> u32 {
        self.wakes
    }

    /// The cooldown within which it was woken last.
    #[must_use]
    pub const fn cooldown(&self) -> Duration {
        self.cooldown
    }

    /// When it is over, if no such wake comes until then.
    #[must_use]
    pub const fn ends(&self) -> Instant {
        self.ends
    }

    /// Who asked; empty where that is not known.
    #[must_use]
    pub const fn by(&self) -> &Arc<str> {
        &self.by
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a case has to begin somewhere")]
mod tests {
    use super::*;

    const COOLDOWN: Duration = Duration::from_secs(10);

    /// Woken so long after each of its idle sleeps, which are a cooldown apart.
    fn after(pauses: &[u64]) -> (Option<Flapping>, Instant) {
        let mut now = Instant::now();
        let mut row = None;
        for pause in pauses {
            let slept = (now, SleepReason::Idle);
            now += Duration::from_secs(*pause);
            row = Flapping::woken(row.as_ref(), Some(slept), COOLDOWN, Some(&"a".into()), now);
            now += COOLDOWN;
        }
        (row, now)
    }

    #[test]
    fn three_wakes_in_a_row_within_a_cooldown_of_an_idle_sleep_are_flapping() {
        for (pauses, expected) in [
            (&[1, 1][..], false),
            (&[1, 1, 1], true),
            (&[10, 10, 10], true),
            (&[1, 1, 11], false),
            (&[1, 11, 1, 1], false),
            (&[11, 1, 1, 1, 1], true),
        ] {
            let (row, now) = after(pauses);
            assert_eq!(
                row.is_some_and(|row| row.is_on(now)),
                expected,
                "{pauses:?}"
            );
        }
    }

    #[test]
    fn it_begins_once_and_ends_when_it_holds_for_a_while() {
        let (row, now) = after(&[1, 1, 1]);
        let row = row.unwrap();
        assert!(row.has_begun());
        assert!(row.is_on(now) && !row.is_on(row.ends()));
        let (later, _) = after(&[1, 1, 1, 1]);
        assert!(!later.unwrap().has_begun());
    }

    #[test]
    fn a_sleep_that_somebody_asked_for_is_no_part_of_it() {
        let now = Instant::now();
        let slept = Some((now, SleepReason::Asked));
        assert!(Flapping::woken(None, slept, COOLDOWN, None, now).is_none());
        assert!(Flapping::woken(None, None, COOLDOWN, None, now).is_none());
    }
}
