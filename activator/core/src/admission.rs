//! The places for parked requests of the whole process.

use std::sync::atomic::{AtomicU32, Ordering};

/// Counts places; many threads take and give them back without a lock.
#[derive(Debug)]
pub struct Places {
    limit: u32,
    taken: AtomicU32,
}

impl Places {
    /// `limit` places.
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        Self {
            limit,
            taken: AtomicU32::new(0),
        }
    }

    /// Takes a place; false if there is none.
    #[must_use]
    pub fn take(&self) -> bool {
        // Only the count is shared: no other memory is published by it, so relaxed order suffices.
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < self.limit).then_some(taken + 1)
            })
            .is_ok()
    }

    /// Gives a place back.
    pub fn give(&self) {
        let before = self.taken.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a place is given back once");
    }

    /// Places taken now.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_places_as_the_limit_and_one_given_back_can_be_taken() {
        let places = Places::new(2);
        assert!(places.take() && places.take() && !places.take());
        places.give();
        assert_eq!(places.taken(), 1);
        assert!(places.take() && !places.take());
        assert!(!Places::new(0).take());
    }
}
