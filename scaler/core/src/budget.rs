//! The write budget: a token bucket with a queue per class, so that a storm of sleeps never delays a wake.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a write is for; earlier ones go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Somebody waits.
    Wake,
    /// It saves money.
    Sleep,
    /// It informs whoever looks.
    Status,
    /// It tells what happened; nothing is lost without it.
    Event,
}

/// Writes waiting for their turn. Bounded by its user: each target has one write at a time.
#[derive(Debug)]
pub struct Budget<T> {
    queues: [VecDeque<T>; 4],
    /// Time in which one token grows.
    grain: Duration,
    burst: u32,
    tokens: u32,
    /// Up to here growth has been counted.
    refilled: Instant,
}

impl<T> Budget<T> {
    /// `rate` writes a second in the long run, `burst` at once. Both at least 1.
    #[must_use]
    pub fn new(rate: u32, burst: u32, now: Instant) -> Self {
        Self {
            queues: [const { VecDeque::new() }; 4],
            grain: Duration::from_secs(1) / rate.max(1),
            burst: burst.max(1),
            tokens: burst.max(1),
            refilled: now,
        }
    }

    /// Queues a write.
    pub fn push(&mut self, class: Class, write: T) {
        self.queues[class as usize].push_back(write);
    }

    /// The next write that may go now.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        self.pop_down_to(Class::Event, now)
    }

    /// The next write that may go now, of this class or one that goes before it.
    pub fn pop_down_to(&mut self, last: Class, now: Instant) -> Option<T> {
        self.refill(now);
        if self.tokens == 0 {
            return None;
        }
        let mut queues = self.queues.iter_mut().take(last as usize + 1);
        let write = queues.find_map(VecDeque::pop_front)?;
        self.tokens -= 1;
        Some(write)
    }

    /// When [`Budget::pop`] may next have something.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.next_down_to(Class::Event, now)
    }

    /// When [`Budget::pop_down_to`] may next have something.
    #[must_use]
    pub fn next_down_to(&self, last: Class, now: Instant) -> Option<Instant> {
        let mut queues = self.queues.iter().take(last as usize + 1);
        if queues.all(VecDeque::is_empty) {
            None
        } else if self.tokens > 0 {
            Some(now)
        } else {
            Some(self.refilled + self.grain)
        }
    }

    /// Writes waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    fn refill(&mut self, now: Instant) {
        let grown =
            now.saturating_duration_since(self.refilled).as_nanos() / self.grain.as_nanos().max(1);
        let grown = u32::try_from(grown).unwrap_or(u32::MAX);
        if grown >= self.burst - self.tokens {
            self.tokens = self.burst;
            self.refilled = now;
        } else {
            self.tokens += grown;
            self.refilled += self.grain * grown;
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a case has to begin somewhere")]
mod tests {
    use super::*;

    #[test]
    fn wakes_go_before_sleeps_and_sleeps_before_what_only_informs() {
        let now = Instant::now();
        let mut budget = Budget::new(10, 10, now);
        budget.push(Class::Event, "event");
        budget.push(Class::Status, "status");
        budget.push(Class::Sleep, "sleep");
        budget.push(Class::Wake, "wake");
        let order: Vec<_> = std::iter::from_fn(|| budget.pop(now)).collect();
        assert_eq!(order, ["wake", "sleep", "status", "event"]);
    }

    #[test]
    fn what_only_informs_can_be_left_waiting() {
        let now = Instant::now();
        let mut budget = Budget::new(10, 10, now);
        budget.push(Class::Event, "event");
        assert_eq!(budget.next_down_to(Class::Sleep, now), None);
        assert_eq!(budget.pop_down_to(Class::Sleep, now), None);
        budget.push(Class::Wake, "wake");
        assert_eq!(budget.pop_down_to(Class::Sleep, now), Some("wake"));
        assert_eq!(budget.pop(now), Some("event"));
    }

    #[test]
    fn after_the_burst_writes_go_at_the_rate() {
        let start = Instant::now();
        let mut budget = Budget::new(50, 5, start);
        (0..1000).for_each(|write| budget.push(Class::Wake, write));
        let (mut now, mut sent) = (start, 0);
        while let Some(next) = budget.next(now) {
            now = now.max(next);
            sent += u32::from(budget.pop(now).is_some());
        }
        assert_eq!(sent, 1000);
        let seconds = (now - start).as_secs_f64();
        assert!((19.8..=20.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn an_idle_bucket_never_holds_more_than_its_burst() {
        let start = Instant::now();
        let mut budget = Budget::new(50, 2, start);
        (0..10).for_each(|write| budget.push(Class::Sleep, write));
        let later = start + Duration::from_secs(3600);
        assert_eq!(std::iter::from_fn(|| budget.pop(later)).count(), 2);
    }
}
