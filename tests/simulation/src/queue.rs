//! The one clock and the one queue: everything that will happen, in the order of (time, sequence).
//!
//! Time stands still while an event is handled and jumps to the next one after it. Two events of the
//! same instant happen in the order in which they were put in, so a seed decides the whole run.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// How far the simulated clock starts from the machine's: every age that a model gives an object can
/// be subtracted from it.
const HEAD_START: Duration = Duration::from_secs(365 * 24 * 3600);

/// Future events and the present instant.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    start: Instant,
    now: Instant,
    sequence: u64,
    heap: BinaryHeap<Due<E>>,
}

#[derive(Debug)]
struct Due<E> {
    at: Instant,
    sequence: u64,
    event: E,
}

impl<E> Queue<E> {
    /// An empty queue at its first instant.
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant cannot be made otherwise; only differences to it are ever used"
    )]
    pub(crate) fn new() -> Self {
        let start = Instant::now() + HEAD_START;
        Self {
            start,
            now: start,
            sequence: 0,
            heap: BinaryHeap::new(),
        }
    }

    /// The present instant.
    pub(crate) const fn now(&self) -> Instant {
        self.now
    }

    /// The first instant.
    pub(crate) const fn start(&self) -> Instant {
        self.start
    }

    /// `event` happens at `at`, or at once where that has passed.
    pub(crate) fn at(&mut self, at: Instant, event: E) {
        self.sequence += 1;
        self.heap.push(Due {
            at: at.max(self.now),
            sequence: self.sequence,
            event,
        });
    }

    /// `event` happens after `delay`.
    pub(crate) fn after(&mut self, delay: Duration, event: E) {
        self.at(self.now + delay, event);
    }

    /// Jumps to the next event, if it is not later than `end`.
    pub(crate) fn pop(&mut self, end: Instant) -> Option<E> {
        if self.heap.peek()?.at > end {
            return None;
        }
        let due = self.heap.pop()?;
        self.now = due.at;
        Some(due.event)
    }
}

impl<E> Ord for Due<E> {
    /// The earliest is the greatest, as the heap gives out the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Due<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_they_were_put_in() {
        let mut queue = Queue::new();
        let start = queue.start();
        queue.after(Duration::from_secs(2), 'c');
        queue.after(Duration::from_secs(1), 'a');
        queue.after(Duration::from_secs(1), 'b');
        let end = start + Duration::from_secs(1);
        assert_eq!(
            (queue.pop(end), queue.pop(end), queue.pop(end)),
            (Some('a'), Some('b'), None)
        );
        assert_eq!(queue.now(), end);
        queue.at(start, 'd');
        assert_eq!(queue.pop(end), Some('d'), "the past is now");
    }
}
