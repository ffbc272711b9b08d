//! One activator: what it said last, and which of its reports come too late to count.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Incarnations of one activator whose late reports are known to be late.
const RETIRED: usize = 4;

#[derive(Debug)]
pub(super) struct Activator<K> {
    pub(super) member: bool,
    pub(super) heard: Option<Heard<K>>,
    pub(super) retired: VecDeque<Arc<str>>,
}

#[derive(Debug)]
pub(super) struct Heard<K> {
    pub(super) incarnation: Arc<str>,
    pub(super) sequence: u64,
    pub(super) full: bool,
    pub(super) at: Instant,
    /// Targets it last said to be active.
    pub(super) active: BTreeSet<K>,
}

impl<K> Heard<K> {
    pub(super) fn is_silent(&self, limit: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.at) > limit
    }
}

impl<K: Clone + Ord> Activator<K> {
    pub(super) const fn unheard() -> Self {
        Self {
            member: false,
            heard: None,
            retired: VecDeque::new(),
        }
    }

    pub(super) fn is_late(&self, incarnation: &str, sequence: u64) -> bool {
        let doubled =
            |heard: &Heard<K>| *heard.incarnation == *incarnation && sequence <= heard.sequence;
        self.heard.as_ref().is_some_and(doubled)
            || self.retired.iter().any(|old| **old == *incarnation)
    }

    /// Answers what was active and is not mentioned by a report that would mention it.
    pub(super) fn take(
        &mut self,
        incarnation: &str,
        (sequence, full): (u64, bool),
        entries: &[(K, bool)],
        now: Instant,
    ) -> Vec<K> {
        let same = self
            .heard
            .take_if(|heard| *heard.incarnation == *incarnation);
        let mut unmentioned = Vec::new();
        let mut active = BTreeSet::new();
        let mut complete = full;
        if let Some(heard) = same {
            complete |= heard.full && sequence == heard.sequence + 1;
            active = heard.active;
            self.heard = Some(Heard {
                active: BTreeSet::new(),
                ..heard
            });
        } else if let Some(old) = self.heard.take() {
            if self.retired.len() == RETIRED {
                self.retired.pop_front();
            }
            self.retired.push_back(old.incarnation);
            unmentioned.extend(old.active);
        }
        if full {
            unmentioned.extend(std::mem::take(&mut active));
        }
        for (key, is_active) in entries {
            if *is_active {
                active.insert(key.clone());
            } else {
                active.remove(key);
            }
        }
        let mentioned: BTreeSet<&K> = entries.iter().map(|(key, _)| key).collect();
        unmentioned.retain(|key| !mentioned.contains(key));
        let name = self
            .heard
            .take()
            .map_or_else(|| Arc::from(incarnation), |heard| heard.incarnation);
        self.heard = Some(Heard {
            incarnation: name,
            sequence,
            full: complete,
            at: now,
            active,
        });
        unmentioned
    }
}
