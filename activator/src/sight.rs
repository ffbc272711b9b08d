//! Whether what the watch has said is up to date: one word that all slots read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reveille_activator_core::view::Sight as Seen;

use crate::slot::now;

/// The watch does not run.
const BLIND: u64 = u64::MAX;

/// Read with every request, so it is no lock.
pub(crate) struct Sight {
    /// Milliseconds count from here.
    began: Instant,
    /// When the watch began to run without a gap, or [`BLIND`].
    since: AtomicU64,
}

impl Sight {
    pub(crate) fn new() -> Self {
        Self {
            began: now(),
            since: AtomicU64::new(0),
        }
    }

    pub(crate) fn get(&self) -> Seen {
        match self.since.load(Ordering::Relaxed) {
            BLIND => Seen::Blind,
            since => Seen::Since(self.began + Duration::from_millis(since)),
        }
    }

    /// The watch runs, or does not.
    pub(crate) fn set(&self, is_current: bool) {
        let was_blind = self.get() == Seen::Blind;
        if is_current && was_blind {
            let since = now().saturating_duration_since(self.began).as_millis();
            let since = u64::try_from(since).unwrap_or(BLIND - 1);
            self.since.store(since, Ordering::Relaxed);
        } else if !is_current {
            self.since.store(BLIND, Ordering::Relaxed);
        }
    }
}
