//! What a machine notices over several lives of its sandbox: that it is woken right after each sleep, and
//! that somebody makes its claim again.

use std::time::{Duration, Instant};

use super::{Sandbox, Stage};
use crate::act::{Act, Note};
use crate::flapping::Flapping;
use crate::view::{Strategy, View};

/// A tool that holds the cluster to what its repository says looks this often at the latest (Argo CD: 3 min,
/// Flux: 10): a claim that comes back sooner after its release was not made by a person who wants it awake.
const TOOLS: Duration = Duration::from_mins(15);

impl Sandbox {
    /// It was asleep and is to be awake.
    pub(super) fn note_woken(&mut self, now: Instant) {
        let by = self.asked_by.take();
        let cooldown = self.view.policy.unwrap_or_default().cooldown;
        let before = self.flapping.as_deref();
        let row = Flapping::woken(before, self.slept, cooldown, by.as_ref(), now);
        if let Some(row) = row.as_ref().filter(|row| row.has_begun()) {
            self.acts.push(Act::Note(Note::Flapping {
                wakes: row.wakes(),
                cooldown,
                by: row.by().clone(),
            }));
        }
        self.flapping = row.map(Box::new);
    }

    /// What it is woken by again and again right after its sleep, if it is.
    #[must_use]
    pub fn flapping(&self, now: Instant) -> Option<&Flapping> {
        self.flapping.as_deref().filter(|row| row.is_on(now))
    }

    /// When it no longer flaps, if nothing wakes it until then.
    pub(super) fn calm_from(&self, now: Instant) -> Option<Instant> {
        self.flapping(now).map(Flapping::ends)
    }

    /// Somebody else makes its claim again whenever it is released, and its claim does not say so yet.
    #[must_use]
    pub fn is_made_again(&self) -> bool {
        let claim = self.view.claim.as_ref();
        self.made_again && claim.is_some_and(|claim| !claim.released && !claim.stays_bound)
    }

    /// Its claim, which is released, is there again, and not by our binding: that counts its epoch on.
    pub(super) fn see_made_again(&mut self, before: &View, now: Instant) {
        let binds = |policy: crate::view::Policy| policy.strategy == Strategy::Bind;
        if !self.view.policy.is_some_and(binds) {
            self.made_again = false;
            return;
        }
        let (Some(was), Some(is)) = (&before.claim, &self.view.claim) else {
            return;
        };
        let by_another = was.released && !is.released && is.uid != was.uid && is.epoch <= was.epoch;
        let after = now.saturating_duration_since(self.since);
        let is_soon = after <= TOOLS && self.stage == Stage::Asleep;
        if by_another && is_soon && !self.made_again {
            self.made_again = true;
            self.acts.push(Act::Note(Note::MadeAgain { after }));
        }
    }
}
