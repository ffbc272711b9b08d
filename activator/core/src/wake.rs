//! When a Wake is sent: at once for the first ticket, then again while anyone waits.
//!
//! A Wake is a hint that may be lost, so it is repeated; the step grows, so that a slow wake is not a
//! flood of messages.

use std::time::{Duration, Instant};

/// Steps between repeated Wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// Between the first and the second.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Default for Steps {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(250),
            longest: Duration::from_secs(2),
        }
    }
}

/// The repetition of one wake.
#[derive(Clone, Copy, Debug)]
pub struct Repeat {
    due: Instant,
    step: Duration,
    longest: Duration,
}

impl Repeat {
    /// Due at once.
    #[must_use]
    pub const fn start(steps: Steps, now: Instant) -> Self {
        Self {
            due: now,
            step: steps.first,
            longest: steps.longest,
        }
    }

    /// The first Wake can wait for one step.
    pub fn put_off(&mut self, now: Instant) {
        self.due = now + self.step;
    }

    /// When the next Wake is due.
    #[must_use]
    pub const fn due(&self) -> Instant {
        self.due
    }

    /// Whether one is due; counts it as sent.
    pub fn take(&mut self, now: Instant) -> bool {
        if now < self.due {
            return false;
        }
        self.due = now + self.step;
        self.step = (self.step * 2).min(self.longest);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::any_instant;

    #[test]
    fn a_wake_is_due_at_once_and_then_with_a_step_that_doubles_to_its_limit() {
        let start = any_instant();
        let mut repeat = Repeat::start(Steps::default(), start);
        let mut sent = Vec::new();
        for millis in 0..10_000 {
            if repeat.take(start + Duration::from_millis(millis)) {
                sent.push(millis);
            }
        }
        assert_eq!(sent, [0, 250, 750, 1750, 3750, 5750, 7750, 9750]);
    }
}
