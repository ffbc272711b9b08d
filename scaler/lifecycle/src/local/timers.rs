//! When to look at an object again, though nothing changes: expiry, grace, back-off.

use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;

use crate::store::Id;

/// At most one instant per object.
#[derive(Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Instant, Id)>,
    by_id: HashMap<Id, Instant>,
}

impl Timers {
    /// Looks at `id` again at `at`, and not at the instant set before.
    pub(super) fn set(&mut self, id: Id, at: Instant) {
        if let Some(old) = self.by_id.insert(id.clone(), at) {
            self.by_time.remove(&(old, id.clone()));
        }
        self.by_time.insert((at, id));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    pub(super) fn due(&mut self, now: Instant) -> Option<Id> {
        if self.next()? > now {
            return None;
        }
        let (_, id) = self.by_time.pop_first()?;
        self.by_id.remove(&id);
        Some(id)
    }
}
