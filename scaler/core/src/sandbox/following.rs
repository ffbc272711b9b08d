//! Wakes that another scaler has written: who waits is told by that one, but only the one that leads puts to
//! sleep, so every scaler follows every wake, without a word, and knows when it is to be taken back.

use std::time::Instant;

use super::Sandbox;
use crate::act::SleepReason;
use crate::view::{ClaimView, Desired, View};

impl Sandbox {
    /// A scaler may have woken it since `before`, or before it was first seen: then not so long ago that it
    /// may have been up since. Where the epoch stays, somebody else has changed its mode.
    pub(super) fn see_wake(&mut self, before: &View, now: Instant) {
        let claim = self.view.claim.as_ref().zip(before.claim.as_ref());
        let is_bound =
            |(now, before): (&ClaimView, &ClaimView)| !now.released && now.epoch > before.epoch;
        if before.desired() == Desired::Released && claim.is_some_and(is_bound) {
            self.woken = Some(now);
        }
        let Some(sandbox) = &self.view.sandbox else {
            return;
        };
        let known = before.sandbox.as_ref();
        let known = known.filter(|known| known.uid == sandbox.uid);
        if known.is_some_and(|known| known.epoch == sandbox.epoch) {
            return;
        }
        // A slow starter that is met later may as well have been up.
        let limit = match known {
            Some(_) => self.progress_limit(),
            None => self.wake_limit(),
        };
        let is_woken = sandbox.woken.is_some_and(|ago| ago < limit);
        if known.is_some() {
            // Also where a wake before it was under way, whose sleep was not seen.
            self.woken = is_woken.then_some(now);
        } else if is_woken {
            self.woken.get_or_insert(now);
        }
    }

    /// A wake may have been put to sleep and its target woken once more without this scaler's having seen it
    /// asleep: it is another wake by now, which has all the time of one, and has not failed with that one.
    pub(super) fn see_woken_again(&mut self, before: &View, now: Instant) {
        let sandboxes = self.view.sandbox.as_ref().zip(before.sandbox.as_ref());
        let is_woken = sandboxes
            .is_some_and(|(now, before)| (&now.uid, now.epoch) != (&before.uid, before.epoch));
        // The epoch of a claim is counted on also where it is kept, but that one is never made anew.
        let claims = self.view.claim.as_ref().zip(before.claim.as_ref());
        let is_bound = claims.is_some_and(|(now, before)| {
            !before.released && now.uid != before.uid && now.epoch > before.epoch
        });
        if !is_woken && !is_bound {
            return;
        }
        self.hurry
            .take_if(|hurry| *hurry == SleepReason::WakeFailed);
        if let Some(attempt) = &mut self.attempt {
            attempt.begin_again(now);
        }
    }

    /// A wake is under way until it is up, or asleep again.
    pub(super) fn end_wake(&mut self, is_up: bool) {
        let under_way = matches!(self.view.desired(), Desired::Running | Desired::Unbound);
        self.woken.take_if(|_| is_up || !under_way);
    }

    /// Takes back a wake that fails where nobody has asked this scaler for it.
    pub(super) fn follow_wake(&mut self, now: Instant) {
        let is_late = self.follows_until().is_some_and(|end| now >= end);
        let is_followed = self.woken.is_some() && self.attempt.is_none();
        if is_late || (is_followed && self.fault(now).is_some()) {
            self.hurry.get_or_insert(SleepReason::WakeFailed);
        }
    }

    /// When a wake that is followed is late.
    pub(super) fn follows_until(&self) -> Option<Instant> {
        let woken = self.woken.filter(|_| self.attempt.is_none())?;
        Some(woken + self.progress_limit())
    }
}
