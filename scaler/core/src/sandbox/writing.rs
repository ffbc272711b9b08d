//! What a machine does with the fate of its writes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Sandbox;
use crate::act::{Act, Note, Write, Written};
use crate::drain::Ending;
use crate::view::Fault;

/// First pause after a wake's write that did not succeed; it doubles.
const RETRY: Duration = Duration::from_millis(50);
/// The same after a conflict: the object has moved on, and the watch, which ends the pause, will show how.
const LOOK: Duration = Duration::from_secs(1);
/// Longest pause.
const RETRY_CAP: Duration = Duration::from_secs(2);
/// What a client is told of a wake that the API server, or a policy of the cluster, does not allow.
const DENIED: &str = "the cluster does not allow the sandbox to be woken; its operator reads why in the Events of \
                      the Sandbox and has to mend it before asking again helps";
/// A sleep must be done, or dead, so long before the first gate opens by itself.
const GATE_MARGIN: Duration = Duration::from_millis(250);

impl Sandbox {
    /// The turn of `write` has come: whether it is still to be written. If so its fate is awaited. The
    /// machine must have been polled at this `now`, so that what was heard since the write was asked for
    /// counts.
    pub fn begin_write(&mut self, write: &Write, now: Instant) -> bool {
        let awaited = self
            .writing
            .as_ref()
            .is_some_and(|writing| !writing.begun && writing.write == *write);
        if !awaited {
            return false;
        }
        let in_time = write.what.is_wake() || {
            let dead = now + self.rules.write_timeout + GATE_MARGIN;
            self.drain
                .as_ref()
                .is_some_and(|drain| dead <= drain.holds_until())
        };
        if !in_time {
            self.writing = None;
            self.end_drain(Ending::NotWritten, now);
            return false;
        }
        if let Some(writing) = &mut self.writing {
            writing.begun = true;
        }
        if let Some(attempt) = self.attempt.as_mut().filter(|_| write.what.is_wake()) {
            attempt.send(now);
        }
        true
    }

    /// What became of a write that was begun. An answer to any other write is ignored: it may be that of
    /// an earlier target of this name.
    pub fn written(&mut self, write: &Write, fate: &Written, now: Instant) {
        let Some(writing) = self
            .writing
            .take_if(|writing| writing.begun && writing.write == *write)
        else {
            return;
        };
        if let Written::Done(epoch) | Written::Overtaken(epoch) = fate {
            self.believe(&writing.write, *epoch, now);
            if writing.write.what.is_wake() {
                self.woken.get_or_insert(now);
            }
        }
        if writing.write.what.is_wake() {
            self.wake_written(&writing.write, fate, now);
        } else {
            self.sleep_written(fate, now);
        }
        self.refresh(now);
    }

    fn wake_written(&mut self, write: &Write, fate: &Written, now: Instant) {
        let Some(attempt) = &mut self.attempt else {
            // It came too late for everyone who had asked; but it is on its way up for who asks again.
            return;
        };
        match fate {
            Written::Done(_) | Written::Overtaken(_) => {
                attempt.hear();
                attempt.begun = Some(now);
                attempt.ours = match fate {
                    Written::Done(epoch) => Some((write.clone(), *epoch)),
                    _ => None,
                };
                self.told = None;
                self.tell_waking(now);
            }
            Written::Denied(message) => {
                let fault = Fault::quoting("WakeDenied", Arc::clone(message), DENIED);
                self.fail(fault, now);
            }
            Written::Conflict | Written::Unavailable(_) | Written::Lost => {
                let first = match fate {
                    Written::Conflict => {
                        attempt.hear();
                        LOOK
                    }
                    Written::Unavailable(message) => {
                        attempt.miss(message);
                        RETRY
                    }
                    _ => {
                        attempt.miss("there was no answer in time");
                        RETRY
                    }
                };
                let pause = first
                    .saturating_mul(1 << attempt.tries.min(16))
                    .min(RETRY_CAP);
                attempt.tries = attempt.tries.saturating_add(1);
                attempt.retry = Some(now + pause);
            }
        }
    }

    fn sleep_written(&mut self, fate: &Written, now: Instant) {
        match fate {
            Written::Done(_) => self.fell_asleep(now),
            // The gates stay closed until it is certain that the write will not be done any more, and what
            // became of it was to be seen; those of an order would for all its grace.
            Written::Lost => {
                let sure = now
                    + self
                        .rules
                        .drain_hold
                        .saturating_sub(self.rules.write_timeout);
                if let Some(drain) = &mut self.drain {
                    drain.hold_no_longer_than(sure);
                    let gates = drain.holds_until();
                    self.settling = Some(gates.checked_sub(GATE_MARGIN).unwrap_or(gates));
                }
                self.tell_order_again(now);
            }
            Written::Conflict
            | Written::Overtaken(_)
            | Written::Denied(_)
            | Written::Unavailable(_) => {
                if let (Written::Denied(message), Some(drain)) = (fate, &self.drain) {
                    self.acts.push(Act::Note(Note::SleepDenied {
                        reason: drain.reason(),
                        message: Arc::clone(message),
                    }));
                }
                self.end_drain(Ending::NotWritten, now);
            }
        }
    }

    /// The object is seen beyond a sleep whose write got no answer: done or not, it will not be done any
    /// more, and the gates that it closed open by what their activators see.
    pub(super) fn outlive_sleep(&mut self, now: Instant) {
        let is_asleep = self.view.desired().is_asleep();
        if !is_asleep && self.settling.take().is_some() {
            self.leave_drain(Ending::Changed, now);
        }
    }

    /// The sleep is written, or was seen to be.
    pub(super) fn fell_asleep(&mut self, now: Instant) {
        self.settling = None;
        let Some(drain) = self.drain.take() else {
            return;
        };
        let reason = drain.reason();
        let took = now.saturating_duration_since(drain.started());
        // The watch may have shown the sleep before its answer came: what was before counts.
        let since = drain.since();
        let active = self.ledger.demand(drain.started()).last_active;
        let active = active.map_or(since, |at| at.max(since));
        self.slept = Some((now, reason));
        self.drains_off = 0;
        self.drain_after = None;
        self.hurry = None;
        self.acts.push(Act::Note(Note::Drained {
            ending: Ending::Slept,
            took,
        }));
        let quiet = now.saturating_duration_since(active);
        self.acts.push(Act::Note(Note::Slept {
            reason,
            quiet,
            awake: drain.was_up().then(|| now.saturating_duration_since(since)),
        }));
    }
}
