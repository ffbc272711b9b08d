//! How long the wakes of one policy took lately, and so how long the next one may still take.

use std::time::Duration;

/// Wakes that are remembered; the oldest is forgotten first.
const REMEMBERED: usize = 16;
/// The shortest time anybody is sent away for.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// The longest, where the past says nothing.
pub const LONGEST_GUESS: Duration = Duration::from_secs(30);

/// The last wakes of one policy: 16 durations, whatever comes.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// In milliseconds; the first `seen` are filled.
    took: [u32; REMEMBERED],
    seen: usize,
    next: usize,
}

impl Past {
    /// A wake took so long, from asleep to answering.
    pub fn note(&mut self, took: Duration) {
        let millis = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        self.took[self.next] = millis;
        self.next = (self.next + 1) % REMEMBERED;
        self.seen = (self.seen + 1).min(REMEMBERED);
    }

    /// How long one that has gone on for `elapsed` is likely to take yet: the median of those that took
    /// longer. Where none did, half as long again, within bounds.
    #[must_use]
    pub fn left(&self, elapsed: Duration) -> Duration {
        let passed = u32::try_from(elapsed.as_millis()).unwrap_or(u32::MAX);
        let took = &self.took[..self.seen];
        let mut longer: Vec<u32> = took.iter().copied().filter(|took| *took > passed).collect();
        longer.sort_unstable();
        match longer.get(longer.len() / 2) {
            Some(median) => Duration::from_millis((median - passed).into()).max(SHORTEST),
            None => (elapsed / 2).clamp(SHORTEST, LONGEST_GUESS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn without_a_past_the_time_that_has_gone_by_says_how_long_it_may_take() {
        let past = Past::default();
        let told = [0, 4, 20, 60, 500].map(|elapsed| past.left(secs(elapsed)));
        assert_eq!(told, [1, 2, 10, 30, 30].map(secs));
    }

    #[test]
    fn past_wakes_that_took_longer_than_this_one_say_how_long_it_may_still_take() {
        let mut past = Past::default();
        for took in [20, 100, 90, 5, 110] {
            past.note(secs(took));
        }
        assert_eq!(past.left(secs(0)), secs(90));
        assert_eq!(past.left(secs(60)), secs(40));
        assert_eq!(past.left(secs(105)), secs(5));
        assert_eq!(past.left(secs(120)), LONGEST_GUESS, "the slowest so far");
    }

    #[test]
    fn only_the_last_sixteen_count() {
        let mut past = Past::default();
        (0..1000).for_each(|_| past.note(secs(300)));
        (0..REMEMBERED).for_each(|_| past.note(secs(10)));
        assert_eq!(past.left(secs(0)), secs(10));
        assert!(size_of::<Past>() <= 80);
    }
}
