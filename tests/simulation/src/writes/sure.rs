//! A sleep that got no answer within half of its time: its writer counts on the epoch under the same fence,
//! and so makes sure that it comes to nothing, or finds out what became of it. Otherwise a request that
//! something holds back on its way could take a sandbox away from those who use it by then.

use std::time::{Duration, Instant};

use reveille_scaler_core::act::Written;
use reveille_scaler_core::sandbox::Rules;
use reveille_scaler_core::view::Mode;

use super::{Pending, WriteId};
use crate::api::Write;
use crate::claims::{Done, Next, Stage};
use crate::mutant::Mutant;
use crate::sim::{Event, NodeKind};
use crate::world::World;

/// Longest time that a request is held back beyond the time of its write.
const HELD: Duration = Duration::from_secs(20);

impl Pending {
    fn is_mode_of_sleep(&self) -> bool {
        let to = Mode::Suspended;
        matches!(&self.write, Write::Mode { to: mode, .. } if *mode == to)
    }

    fn half(&self) -> Instant {
        self.issued + Rules::default().write_timeout / 2
    }
}

impl World {
    /// Half of the time of a sleep is for the sleep itself.
    pub(super) fn plan_half(&mut self, id: WriteId) {
        let pending = &self.writes[id];
        if pending.is_mode_of_sleep() {
            let (by, half) = (pending.by, pending.half());
            self.sim.queue.at(half, Event::WriteHalf(by, id));
        }
    }

    /// Until when an answer to its present request is waited for.
    pub(super) fn heard_until(&self, id: WriteId) -> Instant {
        let pending = &self.writes[id];
        if pending.is_mode_of_sleep() && pending.stage == Stage::Patch {
            pending.half()
        } else {
            pending.issued + Rules::default().write_timeout
        }
    }

    /// How long something between writer and server holds a sleep back, if it does.
    pub(super) fn held_back(&mut self, id: WriteId) -> Option<Duration> {
        let pending = &self.writes[id];
        let limit = pending.issued + Rules::default().write_timeout;
        let is_first = pending.is_mode_of_sleep() && pending.stage == Stage::Patch;
        let latest = self.calm.checked_duration_since(limit)?.min(HELD);
        if !is_first || !self.sim.goes_wrong(self.sim.plan.writes.hold) {
            return None;
        }
        self.writes[id].held = true;
        self.sim.coverage.writes_held += 1;
        let delay = limit + self.sim.up_to(latest) - self.sim.now();
        self.sim
            .trace(|| format!("a sleep is held back for {delay:?}"));
        self.sim.trouble_for(delay);
        Some(delay)
    }

    /// There was no answer to a sleep in half of its time.
    pub(crate) fn write_half(&mut self, id: WriteId) {
        let now = self.sim.now();
        let pending = &self.writes[id];
        if pending.is_over || pending.stage != Stage::Patch {
            return;
        }
        if self.sim.mutant == Some(Mutant::LostSleepLeft) {
            return;
        }
        self.writes[id].made_sure = true;
        if now < self.writes[id].issued + Rules::default().write_timeout {
            self.writes[id].stage = Stage::Keep;
            self.send_write(id);
        }
    }

    /// The epoch alone is written, or what is there is looked at.
    pub(crate) fn serve_sure(&mut self, pending: &Pending) -> Done {
        if pending.stage == Stage::Keep {
            return match self.api.keep(&pending.write) {
                Ok(_) => {
                    self.sim.coverage.sleeps_made_sure += 1;
                    Done::over(Written::Conflict)
                }
                Err(_) => Done::then(Stage::See),
            };
        }
        let (uid, epoch) = pending.write.fence();
        let there = self.api.before(&pending.write);
        let has_slept =
            there.is_some_and(|there| there == (uid.clone(), epoch + 1, Mode::Suspended));
        Done {
            result: None,
            next: Next::Done(if has_slept {
                Written::Done(epoch + 1)
            } else {
                Written::Lost
            }),
        }
    }

    /// Whether nothing but its fences can hold a write: it left its writer after that had been suspended, or
    /// was held back where its writer could not make sure of it.
    pub(crate) fn is_loose(&self, pending: &Pending) -> bool {
        let by = &self.scalers[pending.by.index];
        let is_gone = !by.is_up || by.node != pending.by;
        let cannot = is_gone || self.is_paused(NodeKind::Scaler, pending.by.index);
        pending.stuck.is_some() || (pending.held && (pending.made_sure || cannot))
    }
}
