//! The part of an [`Entry`](super::Entry) that only a waking target has.

use std::time::Instant;

use crate::lot::Lot;
use crate::pace::Pace;
use crate::view::Limits;
use crate::wake::Repeat;

/// What exists only while somebody waits, or a wake goes on.
#[derive(Debug)]
pub(super) struct Wait<W> {
    pub(super) lot: Lot<W>,
    pub(super) repeat: Repeat,
    pub(super) pace: Pace,
    /// A wake nobody waits for any more is watched until then.
    pub(super) until: Instant,
    pub(super) asked: bool,
    pub(super) heard: bool,
    /// When the present pod was found to answer.
    pub(super) opened_at: Option<Instant>,
}

impl<W> Wait<W> {
    pub(super) fn start(limits: Limits, now: Instant) -> Self {
        Self {
            lot: Lot::default(),
            repeat: Repeat::start(limits.wake_steps, now),
            pace: Pace::new(limits.release_concurrency, now),
            until: now + limits.wake_deadline,
            asked: false,
            heard: false,
            opened_at: None,
        }
    }

    pub(super) fn restart(&mut self, limits: Limits, now: Instant) {
        let lot = std::mem::take(&mut self.lot);
        *self = Self {
            lot,
            ..Self::start(limits, now)
        };
    }
}
