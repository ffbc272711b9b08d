//! The part of an [`Entry`](super::Entry) that only a waking target has.

use std::time::Instant;

use crate::lot::Lot;
use crate::pace::Pace;
use crate::view::{Delay, Limits};
use crate::wake::Repeat;

/// What exists only while somebody waits, or a wake goes on.
#[derive(Debug)]
pub(super) struct Wait<W> {
    pub(super) lot: Lot<W>,
    pub(super) repeat: Repeat,
    pub(super) pace: Pace,
    /// When the wake began.
    pub(super) since: Instant,
    /// The target was asleep then: what comes up took all of a wake.
    pub(super) is_whole: bool,
    pub(super) asked: bool,
    pub(super) heard: bool,
    /// What a scaler has said last that holds the wake up.
    pub(super) delay: Option<Delay>,
    /// Since when the present pod is probed.
    pub(super) probed_since: Option<Instant>,
    /// When the present pod was found to answer.
    pub(super) opened_at: Option<Instant>,
}

impl<W> Wait<W> {
    pub(super) fn start(limits: Limits, is_whole: bool, now: Instant) -> Self {
        Self {
            lot: Lot::default(),
            repeat: Repeat::start(limits.wake_steps, now),
            pace: Pace::new(limits.release_concurrency, now),
            since: now,
            is_whole,
            asked: false,
            heard: false,
            delay: None,
            probed_since: None,
            opened_at: None,
        }
    }

    pub(super) fn restart(&mut self, limits: Limits, is_whole: bool, now: Instant) {
        let lot = std::mem::take(&mut self.lot);
        *self = Self {
            lot,
            ..Self::start(limits, is_whole, now)
        };
    }
}
