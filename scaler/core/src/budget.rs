//! The write budget: a token bucket with a queue per class, so that a storm of sleeps never delays a wake.
//!
//! Every scaler hears of about every wake of a herd, since who waits asks again. So that they do not all
//! write the same ones at the same time, each takes its own share first ([`is_mine`]) and the rest once
//! that is answered; by then the watch has shown most of it done. It is an order and no more: whoever is
//! alone writes everything.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a write is for; earlier ones go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Somebody waits.
    Wake,
    /// A hold or a busy lease: whoever asked for it waits, and can ask again.
    Mark,
    /// It saves money.
    Sleep,
    /// It informs whoever looks.
    Status,
    /// It tells what happened; nothing is lost without it.
    Event,
}

/// The longest that a wake can lose by going after our own: no more than the longest pause before a waiting
/// activator asks again. So long the wakes of one turn take at the rate, and so long one of the rest waits.
const TURN: Duration = Duration::from_secs(2);
/// Own wakes under way at which the rest waits for them.
const MANY: usize = 8;
/// And so long after, until the watch has shown what the others did meanwhile.
const LOOK: Duration = Duration::from_millis(100);

/// Whether a wake is among those that this scaler writes first: one half of all names is the leader's.
#[must_use]
pub fn is_mine(name: &str, leads: bool) -> bool {
    (name.bytes().fold(0, |sum, byte| sum ^ byte) & 1 == 0) == leads
}

/// Writes waiting for their turn. Bounded by its user: each target has one write at a time, and a bounded
/// number of marks.
#[derive(Debug)]
pub struct Budget<T> {
    queues: [VecDeque<T>; 5],
    /// Wakes of the present turn that others write first, and since when they are in it.
    rest: VecDeque<(Instant, T)>,
    /// Wakes that came when the present turn was full, and whether they are ours to write first.
    coming: VecDeque<(T, bool)>,
    /// Wakes that the present turn has taken in, of `turn`, and how many of them wait; it ends with the last.
    taken: usize,
    left: usize,
    turn: usize,
    /// What was taken last was a mark.
    marked: bool,
    /// When many of our own were last under way.
    crowded: Option<Instant>,
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
            queues: [const { VecDeque::new() }; 5],
            rest: VecDeque::new(),
            coming: VecDeque::new(),
            taken: 0,
            left: 0,
            turn: (TURN.as_secs() as usize).saturating_mul(rate.max(1) as usize),
            marked: false,
            crowded: None,
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

    /// Queues a wake, by whether it is ours to write first.
    pub fn push_wake(&mut self, write: T, is_mine: bool, now: Instant) {
        self.coming.push_back((write, is_mine));
        self.take_in(now);
    }

    /// The next write that may go now.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        self.pop_down_to(Class::Event, 0, now)
    }

    /// The next write that may go now, of this class or one that goes before it, while so many wakes of ours
    /// are under way.
    pub fn pop_down_to(&mut self, last: Class, under_way: usize, now: Instant) -> Option<T> {
        if under_way >= MANY {
            self.crowded = Some(now);
        }
        self.refill(now);
        self.take_in(now);
        let at = self.rest_goes(under_way, now);
        if self.tokens == 0 || at.is_some_and(|at| at > now) {
            return None;
        }
        let is_wake = at.is_some() || !self.queues[Class::Wake as usize].is_empty();
        let write = match at {
            Some(_) => self.rest.pop_front().map(|(_, write)| write),
            None => self.first(last),
        }?;
        self.left = self.left.saturating_sub(usize::from(is_wake));
        self.tokens -= 1;
        Some(write)
    }

    /// What goes next of the classes down to `last`. Marks and sleeps take turns: leases that are set without
    /// end leave sleeps theirs.
    fn first(&mut self, last: Class) -> Option<T> {
        let is_turn_of_sleeps =
            self.marked && last >= Class::Sleep && self.queues[Class::Wake as usize].is_empty();
        self.marked = false;
        if is_turn_of_sleeps && let Some(sleep) = self.queues[Class::Sleep as usize].pop_front() {
            return Some(sleep);
        }
        let classes = self.queues.iter_mut().take(last as usize + 1);
        let (class, write) = classes
            .enumerate()
            .find_map(|(class, queue)| Some((class, queue.pop_front()?)))?;
        self.marked = class == Class::Mark as usize;
        Some(write)
    }

    /// What was taken last was not written after all: its token serves another.
    pub fn give_back(&mut self) {
        self.tokens = self.burst.min(self.tokens + 1);
    }

    /// When [`Budget::pop`] may next have something.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.next_down_to(Class::Event, 0, now)
    }

    /// When [`Budget::pop_down_to`] may next have something, if no more is answered until then.
    #[must_use]
    pub fn next_down_to(&self, last: Class, under_way: usize, now: Instant) -> Option<Instant> {
        let rest = self.rest_goes(under_way, now);
        let mut queues = self.queues.iter().take(last as usize + 1);
        if rest.is_none() && queues.all(VecDeque::is_empty) {
            return None;
        }
        let token = match self.tokens {
            0 => self.refilled + self.grain,
            _ => now,
        };
        Some(rest.map_or(token, |rest| rest.max(token)))
    }

    /// Writes waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        let queued: usize = self.queues.iter().map(VecDeque::len).sum();
        queued + self.rest.len() + self.coming.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes wakes into the present turn, or begins another.
    fn take_in(&mut self, now: Instant) {
        if self.left == 0 {
            self.taken = 0;
        }
        let room = self.turn.saturating_sub(self.taken).min(self.coming.len());
        self.taken += room;
        self.left += room;
        for (write, is_mine) in self.coming.drain(..room) {
            if is_mine {
                self.queues[Class::Wake as usize].push_back(write);
            } else {
                self.rest.push_back((now, write));
            }
        }
    }

    /// When it is the turn of the rest; `None` while something else goes before it.
    fn rest_goes(&self, under_way: usize, now: Instant) -> Option<Instant> {
        let (since, _) = self.rest.front()?;
        let latest = *since + TURN;
        let own = !self.queues[Class::Wake as usize].is_empty();
        match () {
            () if now >= latest => Some(now),
            () if own => None,
            () if under_way >= MANY => Some(latest),
            () => Some(self.crowded.map_or(now, |at| latest.min(at + LOOK))),
        }
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
        budget.push(Class::Mark, "mark");
        budget.push(Class::Wake, "wake");
        let order: Vec<_> = std::iter::from_fn(|| budget.pop(now)).collect();
        assert_eq!(order, ["wake", "mark", "sleep", "status", "event"]);
    }

    #[test]
    fn what_only_informs_can_be_left_waiting() {
        let now = Instant::now();
        let mut budget = Budget::new(10, 10, now);
        budget.push(Class::Event, "event");
        assert_eq!(budget.next_down_to(Class::Sleep, 0, now), None);
        assert_eq!(budget.pop_down_to(Class::Sleep, 0, now), None);
        budget.push(Class::Wake, "wake");
        assert_eq!(budget.pop_down_to(Class::Sleep, 0, now), Some("wake"));
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

    /// A thousand agents that renew their busy leases four times a minute are more than the rate.
    #[test]
    fn marks_above_the_rate_keep_no_wake_waiting() {
        let start = Instant::now();
        let mut budget = Budget::new(50, 100, start);
        let (mut woken, mut longest) = (0, Duration::ZERO);
        for step in 0..60_000_u32 {
            let now = start + Duration::from_millis(10) * step;
            if step % 5 < 3 {
                budget.push(Class::Mark, None);
            }
            if step % 50 == 0 {
                budget.push_wake(Some(now), step % 100 == 0, now);
            }
            while let Some(write) = budget.pop_down_to(Class::Event, 0, now) {
                if let Some(at) = write {
                    woken += 1;
                    longest = longest.max(now - at);
                }
            }
        }
        assert_eq!(woken, 1200);
        assert!(longest <= Duration::from_millis(20), "{longest:?}");
    }

    #[test]
    fn a_write_that_was_not_begun_costs_nothing() {
        let now = Instant::now();
        let mut budget = Budget::new(1, 1, now);
        budget.push(Class::Wake, "done by another");
        budget.push(Class::Wake, "wanted");
        assert_eq!(budget.pop(now), Some("done by another"));
        budget.give_back();
        assert_eq!(budget.pop(now), Some("wanted"));
        budget.give_back();
        budget.give_back();
        assert_eq!(budget.tokens, 1, "no more than the burst");
    }

    #[test]
    fn an_idle_bucket_never_holds_more_than_its_burst() {
        let start = Instant::now();
        let mut budget = Budget::new(50, 2, start);
        (0..10).for_each(|write| budget.push(Class::Sleep, write));
        let later = start + Duration::from_secs(3600);
        assert_eq!(std::iter::from_fn(|| budget.pop(later)).count(), 2);
    }

    #[test]
    fn marks_without_end_leave_sleeps_their_turns() {
        let now = Instant::now();
        let mut budget = Budget::new(50, 100, now);
        for n in 0..10 {
            budget.push(Class::Mark, ("mark", n));
            budget.push(Class::Sleep, ("sleep", n));
        }
        let taken: Vec<_> = (0..6).filter_map(|_| budget.pop(now)).collect();
        let expected = [
            ("mark", 0),
            ("sleep", 0),
            ("mark", 1),
            ("sleep", 1),
            ("mark", 2),
            ("sleep", 2),
        ];
        assert_eq!(taken, expected);
        budget.push(Class::Wake, ("wake", 0));
        assert_eq!(budget.pop(now), Some(("wake", 0)));
    }
}
