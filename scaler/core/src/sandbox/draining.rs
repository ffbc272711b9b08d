//! The handshake before a sleep, from the first question to what became of its write.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Sandbox, Stage};
use crate::act::{Act, Intent, Note, SleepReason, Write};
use crate::decide::{Decision, decide};
use crate::drain::{Drain, Ending, Standing};
use crate::roster::Roster;
use crate::view::{Desired, Mode};

/// First pauses after a drain that was answered Busy, and after one that was not answered; they double.
const BUSY_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
const SILENT_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// An order that was called off is told of so often, for as long as a gate may be closed that has not heard.
/// Other gates open soon by themselves.
const UNDRAIN_EVERY: Duration = Duration::from_secs(1);
/// Orders called off that are told of at a time: as many drains as hold a gate.
const MOST_CALLED_OFF: usize = 4;

/// An order that was called off.
#[derive(Clone, Copy, Debug)]
pub(super) struct CalledOff {
    nonce: u64,
    again: Instant,
    /// When the last gate opens by itself.
    until: Instant,
}

impl Sandbox {
    /// Tells once more of the orders that were called off.
    pub(super) fn tell_called_off(&mut self, now: Instant) {
        self.called_off.retain(|order| now < order.until);
        for order in self.called_off.iter_mut().filter(|it| it.again <= now) {
            order.again = now + UNDRAIN_EVERY;
            let nonce = order.nonce;
            self.acts.push(Act::Undrain { nonce });
        }
        if self.called_off.is_empty() {
            // Idle machines own no memory for it.
            self.called_off = Vec::new();
        }
    }

    /// When that is due.
    pub(super) fn tells_called_off(&self) -> Option<Instant> {
        self.called_off.iter().map(|order| order.again).min()
    }

    pub(super) fn start_drain<K: Clone + Ord>(
        &mut self,
        reason: SleepReason,
        roster: &Roster<K>,
        now: Instant,
    ) {
        if self.drain.is_some() || self.writing.is_some() || self.sleep_write(reason).is_none() {
            return;
        }
        self.nonce = self.nonce.wrapping_add(1);
        let order = reason.is_order();
        let grace = if order {
            self.rules.order_grace
        } else {
            Duration::ZERO
        };
        let hold = self.rules.drain_hold;
        let drain = Drain::start(self.nonce, reason, roster.present(), hold, now)
            .standing_since(self.since, self.stage == Stage::Awake);
        let drain = if order { drain.within(grace) } else { drain };
        self.drain = Some(Box::new(drain));
        self.tell_drain(now);
    }

    /// Asks all activators to stop sending, for as long as their gates have left to stay closed.
    fn tell_drain(&mut self, now: Instant) {
        if let Some(drain) = &self.drain {
            self.acts.push(Act::Drain {
                epoch: self.view.epoch(),
                uid: self.view.uid().cloned(),
                nonce: drain.nonce(),
                hold: drain.holds_until().saturating_duration_since(now),
                order: drain.is_order(),
            });
        }
    }

    /// Tells an order once more when it is time: who had something in flight may have nothing by now, and each
    /// telling holds the gates anew, so that they open soon where nobody tells it any more. Once its write may have
    /// been done they are held to the end of that, and no longer.
    pub(super) fn tell_order_again(&mut self, now: Instant) {
        let Some(drain) = self.drain.as_mut().filter(|drain| drain.is_order()) else {
            return;
        };
        if !drain.ask_again(now) {
            return;
        }
        if self.settling.is_none() {
            drain.hold_until(now + self.rules.drain_hold);
        }
        self.tell_drain(now);
    }

    /// Not all have drained, or have no more: its write does not go yet.
    fn wait_for_order(&mut self, now: Instant) {
        self.writing
            .take_if(|writing| !writing.begun && !writing.write.what.is_wake());
        self.tell_order_again(now);
    }

    /// Takes a drain one step on, or calls it off.
    pub(super) fn advance_drain<K: Clone + Ord>(&mut self, roster: &Roster<K>, now: Instant) {
        if let Some(until) = self.settling {
            if self.stage == Stage::Asleep {
                self.fell_asleep(now);
            } else if now >= until {
                // It will not be done any more, but it may have been: the gates open by themselves, each
                // when its activator can see what it opens to.
                self.settling = None;
                self.leave_drain(Ending::NotWritten, now);
            } else {
                self.tell_order_again(now);
            }
            return;
        }
        let Some(drain) = &self.drain else { return };
        if self.writing.as_ref().is_some_and(|writing| writing.begun) {
            return;
        }
        let mut seen = self.observation(roster, now);
        seen.drain_after = None;
        let reason = match decide(&seen, now) {
            Decision::Sleep(reason) => reason,
            Decision::AskBusy if !drain.is_order() => drain.reason(),
            Decision::AskBusy => return self.call_off_sleep(Ending::Changed, now),
            Decision::Stay { .. } | Decision::Wake(_) => {
                return self.call_off_sleep(Ending::Changed, now);
            }
        };
        match drain.standing(roster.present(), self.rules.drain_timeout, now) {
            // Ordered, and taken back since: who answered for the order has not been asked for this.
            _ if drain.is_order() && !reason.is_order() => {
                self.call_off_sleep(Ending::Changed, now);
            }
            // Begun politely, and ordered since.
            Standing::Asking | Standing::Off(_) if reason.is_order() && !drain.is_order() => {
                self.call_off_sleep(Ending::Changed, now);
            }
            // Also while the write waits for its turn: a gate that was lost since keeps it from going.
            Standing::Off(ending) => self.call_off_sleep(ending, now),
            Standing::Asking => self.wait_for_order(now),
            // Who is not heard may have something in flight, and that has its grace, too.
            Standing::Drained if seen.silence.is_some() && !drain.is_grace_over(now) => {
                self.wait_for_order(now);
            }
            Standing::Drained => {
                if let Some(write) = self.sleep_write(reason) {
                    self.queue(write);
                }
            }
        }
    }

    /// Opens the gates and remembers to wait before the next try: the sleep was certainly not written.
    pub(super) fn end_drain(&mut self, ending: Ending, now: Instant) {
        if let Some(drain) = &self.drain {
            let nonce = drain.nonce();
            self.acts.push(Act::Undrain { nonce });
            if drain.is_order() {
                if self.called_off.len() == MOST_CALLED_OFF {
                    self.called_off.remove(0);
                }
                self.called_off.push(CalledOff {
                    nonce,
                    again: now + UNDRAIN_EVERY,
                    until: drain.holds_until(),
                });
            }
        }
        self.leave_drain(ending, now);
    }

    /// Remembers to wait before the next try; the gates stay as they are.
    pub(super) fn leave_drain(&mut self, ending: Ending, now: Instant) {
        let Some(drain) = self.drain.take() else {
            return;
        };
        let took = now.saturating_duration_since(drain.started());
        self.acts.push(Act::Note(Note::Drained { ending, took }));
        let (first, cap) = match ending {
            Ending::Busy => {
                self.ledger.touch(now);
                BUSY_PAUSE
            }
            Ending::TimedOut | Ending::NotWritten => SILENT_PAUSE,
            Ending::Slept | Ending::Woken | Ending::Changed => (Duration::ZERO, Duration::ZERO),
        };
        if !first.is_zero() {
            let pause = first.saturating_mul(1 << self.drains_off.min(16)).min(cap);
            self.drains_off = self.drains_off.saturating_add(1);
            self.drain_after = Some(now + pause);
        }
        let once = matches!(drain.reason(), SleepReason::Asked | SleepReason::Forced);
        self.hurry.take_if(|hurry| once && *hurry == drain.reason());
    }

    /// The write that puts it to sleep.
    fn sleep_write(&self, reason: SleepReason) -> Option<Write> {
        let cause = reason.as_str();
        let taken_back =
            reason == SleepReason::WakeFailed && self.view.desired() == Desired::Unbound;
        // A hold is written on the Sandbox and would go with it.
        let release =
            self.view.sleeps_by_release() && self.view.hold().is_none() && !self.made_again;
        if release || taken_back {
            let claim = self.view.claim.as_ref()?;
            return Some(Write {
                what: Intent::Release,
                uid: Arc::clone(&claim.uid),
                epoch: claim.epoch,
                cause,
            });
        }
        let sandbox = self
            .view
            .sandbox
            .as_ref()
            .filter(|sandbox| sandbox.mode == Mode::Running)?;
        Some(Write {
            what: Intent::Suspend,
            uid: Arc::clone(&sandbox.uid),
            epoch: sandbox.epoch,
            cause,
        })
    }
}
