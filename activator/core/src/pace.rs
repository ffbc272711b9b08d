//! How fast a lot empties (`park.releaseConcurrency`).
//!
//! A fixed `n` allows at most `n` released and unanswered requests. Zero starts with a few and adds one
//! place per answer, so that the window doubles with each round. An agent that takes long to answer is
//! not an overloaded one: the slow start also doubles after each [`PATIENCE`] without an answer, else
//! one long call would hold everybody behind it until they expire.

use std::time::{Duration, Instant};

/// Requests released at once when a slow start begins.
pub const FIRST_WINDOW: u32 = 8;
/// Time without an answer after which the slow start's window doubles all the same.
pub const PATIENCE: Duration = Duration::from_millis(500);
/// The window grows no further; more than the connections one agent can take.
const LARGEST_WINDOW: u32 = 1 << 16;

/// Counts released requests that have not been answered.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    fixed: bool,
    window: u32,
    unanswered: u32,
    last_move: Instant,
}

impl Pace {
    /// `concurrency` as in the policy: 0 starts slow.
    #[must_use]
    pub fn new(concurrency: u32, now: Instant) -> Self {
        let fixed = concurrency > 0;
        let window = if fixed { concurrency } else { FIRST_WINDOW };
        Self {
            fixed,
            window,
            unanswered: 0,
            last_move: now,
        }
    }

    /// How many may be released now.
    #[must_use]
    pub fn allowance(&self) -> usize {
        self.window.saturating_sub(self.unanswered) as usize
    }

    /// `n` requests were released.
    pub fn released(&mut self, n: usize, now: Instant) {
        if n > 0 {
            self.unanswered = self
                .unanswered
                .saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
            self.last_move = now;
        }
    }

    /// One released request got its first response byte, or failed.
    pub fn answered(&mut self, now: Instant) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.last_move = now;
        if !self.fixed {
            self.window = (self.window + 1).min(LARGEST_WINDOW);
        }
    }

    /// Lets a slow start's window grow with time.
    pub fn poll(&mut self, now: Instant) {
        if self.next().is_some_and(|at| at <= now) {
            self.window = self.window.saturating_mul(2).min(LARGEST_WINDOW);
            self.last_move = now;
        }
    }

    /// When a window that is used up grows by time alone.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        (!self.fixed && self.allowance() == 0).then(|| self.last_move + PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::any_instant;

    #[test]
    fn a_fixed_concurrency_is_never_exceeded() {
        let now = any_instant();
        let mut pace = Pace::new(2, now);
        assert_eq!(pace.allowance(), 2);
        pace.released(2, now);
        assert_eq!((pace.allowance(), pace.next()), (0, None));
        pace.poll(now + Duration::from_secs(3600));
        assert_eq!(pace.allowance(), 0);
        pace.answered(now);
        assert_eq!(pace.allowance(), 1);
    }

    #[test]
    fn a_slow_start_doubles_with_each_round_of_answers() {
        let now = any_instant();
        let mut pace = Pace::new(0, now);
        for round in 0..4 {
            let n = pace.allowance();
            assert_eq!(n, (FIRST_WINDOW as usize) << round);
            pace.released(n, now);
            for _ in 0..n {
                pace.answered(now);
            }
        }
    }

    #[test]
    fn a_slow_answer_does_not_hold_the_rest() {
        let now = any_instant();
        let mut pace = Pace::new(0, now);
        pace.released(FIRST_WINDOW as usize, now);
        assert_eq!(pace.next(), Some(now + PATIENCE));
        pace.poll(now + PATIENCE);
        assert_eq!(pace.allowance(), FIRST_WINDOW as usize);
    }
}
