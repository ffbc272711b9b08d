//! The one place where a machine acts: wakes, drains, questions, and the instant to look again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{ASK_COUNTS, Poll, Sandbox, Stage, Writing};
use crate::act::{Act, Intent, Note, SleepReason, Write};
use crate::decide::{AskedAgent, Decision, Observation, Phase, decide};
use crate::drain::{Drain, Ending, Standing};
use crate::lease::Source;
use crate::roster::Roster;
use crate::view::{Desired, Mode, PodView};
use crate::wake::{self, Attempt, Cause, Plan, plan};

/// First pauses after a drain that was answered Busy, and after one that was not answered; they double.
const BUSY_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
const SILENT_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

impl Sandbox {
    /// Does what is due: answers with acts, and when to ask again if nothing is heard before.
    pub fn poll<K: Clone + Ord>(&mut self, roster: &Roster<K>, now: Instant) -> Poll {
        self.stop_believing(now);
        self.refresh(now);
        let is_waking = self.attempt.is_some();
        self.advance_attempt(now);
        if is_waking && self.attempt.is_none() {
            // Where nobody waits any more Ready is proof enough.
            self.refresh(now);
        }
        self.follow_wake(now);
        self.advance_drain(roster, now);
        let until = match decide(&self.observation(roster, now), now) {
            Decision::Stay { until, .. } => until,
            Decision::Wake(cause) => {
                self.start_wake(cause, now);
                None
            }
            Decision::AskBusy => {
                self.ask_agent(now);
                None
            }
            Decision::Sleep(reason) => {
                self.start_drain(reason, roster, now);
                None
            }
        };
        let next = until.into_iter().chain(self.deadlines(now)).min();
        Poll {
            acts: std::mem::take(&mut self.acts),
            next,
        }
    }

    /// What is known, for [`decide`].
    pub(crate) fn observation<K: Clone + Ord>(
        &self,
        roster: &Roster<K>,
        now: Instant,
    ) -> Observation {
        let asked_until = self.asked.as_ref().and_then(|(member, at)| {
            let told = roster.heard_at(member).is_some_and(|heard| heard > *at);
            Some(*at + ASK_COUNTS).filter(|until| !told && now < *until)
        });
        let policy = self.view.policy;
        let settled = self
            .met
            .zip(policy)
            .map(|((met, age), policy)| met + policy.initial_cooldown.saturating_sub(age));
        let wanted = self
            .attempt
            .as_ref()
            .filter(|attempt| attempt.begun.is_none());
        let wake_after = self.failures.as_ref().and_then(|failures| {
            Some((failures.until(now)?, Arc::clone(&failures.fault().reason)))
        });
        Observation {
            phase: self.phase(now),
            blocked: self.view.blocked(now),
            hold: self.view.hold(),
            policy,
            wanted: wanted.map(|attempt| (attempt.cause, attempt.retry.unwrap_or(attempt.asked))),
            asked_until,
            demand: self.ledger.demand(now),
            lease: self.lease(now),
            unknown_until: roster.since(),
            settled,
            hurry: self.hurry,
            silence: roster.silence(now),
            drain_after: self.drain_after,
            wake_after,
            asked_agent: self.asked_agent,
            pod_ended: self.view.pod.as_ref().is_some_and(PodView::has_ended),
        }
    }

    /// The longest busy lease of all sources.
    fn lease(&self, now: Instant) -> Option<(Instant, Source)> {
        let stands = self.view.sandbox.as_ref();
        let stands = stands.and_then(|sandbox| sandbox.busy_until);
        let stands = stands.filter(|until| *until > now);
        let stands = stands.map(|until| (until, Source::Api));
        let said = self.leases.longest(now);
        said.into_iter()
            .chain(stands)
            .max_by_key(|(until, _)| *until)
    }

    pub(crate) fn phase(&self, now: Instant) -> Phase {
        let since = self.since;
        match (self.stage, &self.attempt) {
            (Stage::Gone, _) => Phase::Gone,
            (Stage::Asleep, _) => Phase::Asleep,
            (Stage::Awake, _) => Phase::Awake { since },
            (_, Some(attempt)) => Phase::Waking(attempt.cause),
            (Stage::Binding, None) => Phase::Binding,
            (Stage::Starting, None) => Phase::Starting {
                since,
                faulty: self.fault(now).is_some(),
            },
        }
    }

    /// Ends the wake under way if it is ready, refused, faulty or late.
    fn advance_attempt(&mut self, now: Instant) {
        let Some(attempt) = &self.attempt else { return };
        let ends = attempt.ends();
        if self.writing.as_ref().is_some_and(|writing| writing.begun) && now < ends {
            return;
        }
        if attempt.begun.is_some() && self.stage == Stage::Awake {
            return self.succeed(now);
        }
        if let Plan::Refuse(refusal) = plan(&self.view, attempt.cause, true, now) {
            let cause = attempt.cause;
            self.attempt = None;
            self.writing
                .take_if(|writing| !writing.begun && writing.write.what.is_wake());
            return self.refuse(cause, refusal, now);
        }
        if self.stage == Stage::Awake && self.writing.is_none() && self.settling.is_none() {
            // The sleep that it waited for did not come about.
            self.attempt = None;
            return self.tell_waking(now);
        }
        let fault = self.fault(now).filter(|_| attempt.begun.is_some()).cloned();
        let pod = match attempt.begun {
            Some(_) => self.pod(now),
            None => self.view.pod.as_ref(),
        };
        let late = || (now >= ends).then(|| attempt.lateness(pod));
        if let Some(fault) = fault.or_else(late) {
            self.fail(fault, now);
        } else if self.writing.is_none() && self.settling.is_none() && self.stage != Stage::Asleep {
            self.note_begun(now);
        }
    }

    /// Somebody else's write, or one of ours that was thought lost, has begun the wake.
    fn note_begun(&mut self, now: Instant) {
        if let Some(attempt) = self
            .attempt
            .as_mut()
            .filter(|attempt| attempt.begun.is_none())
        {
            attempt.begun = Some(now);
            self.told = None;
            self.tell_waking(now);
            self.refresh(now);
        }
    }

    fn succeed(&mut self, now: Instant) {
        let Some(attempt) = self.attempt.take() else {
            return;
        };
        self.failures = None;
        self.drains_off = 0;
        self.drain_after = None;
        self.ledger.touch(now);
        let proven = |pod: &PodView| {
            pod.proven_by_ready || self.answered.as_ref() == Some(&pod.uid) || attempt.parked == 0
        };
        if self.pod(now).is_some_and(proven) {
            self.note_woke(&attempt, now);
        } else {
            // Whoever waited for it has left before anything listened.
            self.unproven = Some(attempt);
        }
    }

    pub(super) fn note_woke(&mut self, attempt: &Attempt, now: Instant) {
        if !attempt.is_ours(&self.view) {
            return;
        }
        let woke = attempt.woke(now);
        self.woke = Some(Box::new((now, woke)));
        self.acts.push(Act::Note(Note::Woke(woke)));
    }

    pub(super) fn begin_attempt(&self, cause: Cause, now: Instant) -> Attempt {
        Attempt::new(cause, self.wake_limit(), self.progress_limit(), now)
    }

    fn start_wake(&mut self, cause: Cause, now: Instant) {
        if self.writing.is_some() || self.settling.is_some() {
            return;
        }
        let Some(write) = wake::write(&self.view, cause) else {
            return;
        };
        if self.attempt.is_none() {
            self.attempt = Some(Box::new(self.begin_attempt(cause, now)));
            self.told = None;
        }
        self.queue(write);
    }

    fn ask_agent(&mut self, now: Instant) {
        if let Some(pod) = self.pod(now).map(|pod| Arc::clone(&pod.uid)) {
            self.asked_agent = AskedAgent::Awaited;
            self.acts.push(Act::AskBusy { pod });
        }
    }

    fn start_drain<K: Clone + Ord>(
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
        let hold = grace + self.rules.drain_hold;
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
                nonce: drain.nonce(),
                hold: drain.holds_until().saturating_duration_since(now),
                order: drain.is_order(),
            });
        }
    }

    /// Tells an order once more when it is time: who had something in flight may have nothing by now, and who
    /// was told to hold its gate for all its grace may need to no longer.
    pub(super) fn tell_order_again(&mut self, now: Instant) {
        let is_due = |drain: &mut Box<Drain>| drain.ask_again(now);
        if self.drain.as_mut().is_some_and(is_due) {
            self.tell_drain(now);
        }
    }

    /// Not all have drained, or have no more: its write does not go yet.
    fn wait_for_order(&mut self, now: Instant) {
        self.writing
            .take_if(|writing| !writing.begun && !writing.write.what.is_wake());
        self.tell_order_again(now);
    }

    /// Takes a drain one step on, or calls it off.
    fn advance_drain<K: Clone + Ord>(&mut self, roster: &Roster<K>, now: Instant) {
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
            Decision::AskBusy => drain.reason(),
            Decision::Stay { .. } | Decision::Wake(_) => {
                return self.call_off_sleep(Ending::Changed, now);
            }
        };
        match drain.standing(roster.present(), self.rules.drain_timeout, now) {
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

    /// Has this written when its turn comes, rather than whatever waited for its turn until now.
    fn queue(&mut self, write: Write) {
        if self
            .writing
            .as_ref()
            .is_some_and(|writing| writing.write == write)
        {
            return;
        }
        self.writing = Some(Box::new(Writing {
            write: write.clone(),
            begun: false,
        }));
        self.acts.push(Act::Write(write));
    }

    /// Opens the gates and remembers to wait before the next try: the sleep was certainly not written.
    pub(super) fn end_drain(&mut self, ending: Ending, now: Instant) {
        if let Some(drain) = &self.drain {
            let nonce = drain.nonce();
            self.acts.push(Act::Undrain { nonce });
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

    /// Every instant at which something is due by itself.
    fn deadlines(&self, now: Instant) -> impl Iterator<Item = Instant> {
        let writing = self.writing.as_ref().is_some_and(|writing| writing.begun);
        let attempt = self.attempt.as_ref();
        let retry = attempt
            .and_then(|attempt| attempt.retry)
            .filter(|retry| *retry > now);
        let drain = self
            .drain
            .as_ref()
            .filter(|_| !writing && self.settling.is_none() && self.writing.is_none());
        let drain = drain.map(|drain| drain.due(self.rules.drain_timeout));
        let attempt = attempt.map(|attempt| attempt.ends());
        let settling = self.drain.as_ref().filter(|_| self.settling.is_some());
        [
            attempt,
            self.follows_until().filter(|at| *at > now),
            retry,
            self.fault_counts_from().filter(|at| *at > now),
            self.no_place_counts_from(now),
            self.pod_counts_from(now),
            self.ready_counts_from(now),
            drain,
            self.settling,
            settling.and_then(|drain| drain.asks_again()),
            self.believes_until(),
            self.calm_from(now),
        ]
        .into_iter()
        .flatten()
    }
}
