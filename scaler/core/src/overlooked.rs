//! Reports about targets that this scaler did not know yet: they are passed over, and asked for again once
//! the target is known, all of them with one question.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Shortest time between two questions: each makes every activator report all that it has under way.
pub const ASK_EVERY: Duration = Duration::from_secs(5);
/// Most names that are remembered: 127 bytes each, so 1,024 of them are under 256 KiB. With more, every new
/// target may be one of them.
const MOST: usize = 1024;

/// What was passed over since the last question.
#[derive(Debug)]
pub struct Overlooked<K> {
    targets: BTreeSet<K>,
    /// There were more than are remembered.
    more: bool,
    asked: Option<Instant>,
    due: Option<Instant>,
}

impl<K> Default for Overlooked<K> {
    fn default() -> Self {
        Self {
            targets: BTreeSet::new(),
            more: false,
            asked: None,
            due: None,
        }
    }
}

impl<K: Clone + Ord> Overlooked<K> {
    /// A report of this target was passed over.
    pub fn pass_over(&mut self, target: &K) {
        if self.targets.contains(target) {
            return;
        }
        if self.targets.len() < MOST {
            self.targets.insert(target.clone());
        } else {
            self.more = true;
        }
    }

    /// This target is known from now on.
    pub fn known(&mut self, target: &K, now: Instant) {
        if self.targets.remove(target) || self.more {
            let earliest = self.asked.map_or(now, |asked| now.max(asked + ASK_EVERY));
            self.due.get_or_insert(earliest);
        }
    }

    /// When to ask for full reports; `None` while nothing that is known was passed over.
    #[must_use]
    pub const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether to ask now. What is still unknown is passed over anew when the answers come.
    pub fn take(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            self.asked(now);
        }
        is_due
    }

    /// Full reports are asked for now, for whatever reason.
    pub fn asked(&mut self, now: Instant) {
        *self = Self {
            asked: Some(now),
            ..Self::default()
        };
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a case has to begin somewhere")]
mod tests {
    use super::*;

    #[test]
    fn what_was_passed_over_is_asked_for_once_it_is_known() {
        let now = Instant::now();
        let mut overlooked = Overlooked::default();
        overlooked.known(&1, now);
        assert_eq!(overlooked.due(), None, "nothing was said of it");
        overlooked.pass_over(&2);
        assert_eq!(overlooked.due(), None, "an answer would be passed over too");
        overlooked.known(&2, now);
        assert!(overlooked.take(now));
        assert_eq!(overlooked.due(), None, "once");
    }

    #[test]
    fn one_question_serves_all_that_come_to_be_known_within_a_while() {
        let now = Instant::now();
        let mut overlooked = Overlooked::default();
        let mut questions = 0;
        for target in 0..1000_u32 {
            let at = now + Duration::from_millis(10) * target;
            overlooked.pass_over(&target);
            overlooked.known(&target, at);
            questions += u32::from(overlooked.take(at));
        }
        assert_eq!(questions, 2, "in ten seconds");
        assert_eq!(overlooked.due(), Some(now + ASK_EVERY * 2));
    }

    #[test]
    fn strangers_without_end_are_not_remembered_and_none_is_lost() {
        let now = Instant::now();
        let mut overlooked = Overlooked::default();
        for target in 0..10_000 {
            overlooked.pass_over(&target);
        }
        assert_eq!(overlooked.targets.len(), MOST);
        overlooked.known(&9_999, now);
        assert!(overlooked.take(now));
        assert!(overlooked.targets.is_empty());
    }
}
