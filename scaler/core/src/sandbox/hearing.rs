//! What a machine hears: asks, reports, replies, commands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Sandbox, TELL_EVERY};
use crate::act::{Act, Note, SleepReason, Tell};
use crate::command::{Answer, Command};
use crate::decide::{AskedAgent, Decision, Phase, decide};
use crate::drain::{Drain, Ending};
use crate::lease::{LONGEST_LEASE, Source};
use crate::ledger::Report;
use crate::roster::Roster;
use crate::view::{Desired, Fault, Hold, Policy};
use crate::wake::{Ask, Attempt, Cause, Plan, plan};
use crate::why::Why;

impl Sandbox {
    /// Somebody asks for it.
    pub fn ask(&mut self, ask: &Ask, now: Instant) {
        match plan(&self.view, ask.cause, self.rules.wake_unmanaged, now) {
            Plan::Refuse(refusal) => return self.refuse(ask.cause, refusal, now),
            Plan::Join | Plan::Start => {}
        }
        let ready = self.is_ready(now);
        if let Some((retry_after, fault)) = self.back_off(ask.cause, now) {
            let tell = Tell::Failed {
                reason: Arc::clone(&fault.reason),
                message: Arc::clone(&fault.for_clients),
                retry_after,
            };
            return self.acts.push(Act::Tell(tell));
        }
        if self.asked_by.is_none() {
            self.asked_by.clone_from(&ask.by);
        }
        if let Some(member) = &ask.member {
            self.asked = Some((Arc::clone(member), now));
        }
        self.ledger.touch(now);
        // It is needed after all.
        self.hurry = self.hurry.filter(|hurry| match hurry {
            SleepReason::Forced => true,
            SleepReason::Asked => false,
            _ => ready,
        });
        if !self.is_ordered_to_sleep() {
            self.call_off_sleep(Ending::Woken, now);
        }
        if ready && self.writing.is_none() && self.settling.is_none() {
            return self.tell_waking(now);
        }
        self.join(ask, now);
    }

    /// An activator reports.
    pub fn report(&mut self, member: &Arc<str>, report: &Report, now: Instant) {
        self.ledger.note(member, report, now);
        self.asked.take_if(|(asking, _)| asking == member);
        if let Some((pod, length)) = &report.busy {
            let present = self.view.pod.as_ref().map(|pod| &pod.uid);
            let length = (*length).min(LONGEST_LEASE);
            if self.view.desired().is_asleep() {
                // Its activator sees a wake that this watch has yet to show.
                self.leases.expect(Source::Header, pod, length, now);
            } else {
                self.leases.set(Source::Header, pod, present, length, now);
            }
        }
        if let Some(attempt) = &mut self.attempt {
            attempt.parked = attempt.parked.max(self.ledger.demand(now).parked);
        }
    }

    /// An activator has nothing of it under way any more.
    pub fn quiet(&mut self, member: &Arc<str>, now: Instant) {
        self.ledger.quiet(member, now);
    }

    /// An activator answers a drain.
    pub fn reply(&mut self, member: &str, incarnation: &str, nonce: u64, drained: bool) {
        if let Some(drain) = &mut self.drain {
            drain.reply(member, incarnation, nonce, drained);
        }
    }

    /// An activator has connected to this pod.
    pub fn ready(&mut self, pod: &Arc<str>, now: Instant) {
        if self.view.desired() != Desired::Running {
            return;
        }
        self.answered = Some(Arc::clone(pod));
        if !self.is_ready(now) {
            self.ready_pod = Some(Arc::clone(pod));
            self.refresh(now);
        } else if self.pod(now).is_some_and(|present| present.uid == *pod)
            && let Some(attempt) = self.unproven.take()
        {
            self.note_woke(&attempt, true, now);
        }
    }

    /// The agent in `pod` was asked whether it is busy: for so long (zero: it is not), or no usable answer.
    pub fn probed(&mut self, pod: &Arc<str>, answer: Option<Duration>, now: Instant) {
        let present = self.view.pod.as_ref().map(|pod| &pod.uid);
        if present != Some(pod) {
            return;
        }
        self.agent_given_up &= answer.is_none();
        let awaited = self.asked_agent == AskedAgent::Awaited;
        // An answer to a question of before it faltered: busy it is all the same.
        if let Some(length) = answer.filter(|length| awaited || !length.is_zero()) {
            let length = length.min(LONGEST_LEASE);
            self.leases.set(Source::Probe, pod, present, length, now);
        }
        if !awaited {
            return;
        }
        let policy = self.view.policy.unwrap_or_default();
        let again = now + policy.busy_period.unwrap_or_default();
        self.agent_silent = match answer {
            Some(_) => 0,
            None => self.agent_silent.saturating_add(1),
        };
        self.asked_agent = match answer {
            Some(Duration::ZERO) => AskedAgent::Idle { until: again },
            Some(_) => AskedAgent::Again { from: again },
            None if self.is_agent_silent() => AskedAgent::Idle { until: again },
            None => AskedAgent::Unknown { from: again },
        };
        if self.agent_silent == policy.busy_failure_limit {
            self.agent_given_up = true;
            let asked = self.agent_silent;
            self.acts.push(Act::Note(Note::AgentSilent { asked }));
        }
    }

    /// Whether the agent was asked in vain as often as its policy allows.
    #[must_use]
    pub fn is_agent_silent(&self) -> bool {
        let limit = self.view.policy.map(|policy| policy.busy_failure_limit);
        limit.is_some_and(|limit| self.agent_silent >= limit)
    }

    /// Whether it was, in this life or an earlier one, and has not answered since.
    #[must_use]
    pub fn is_agent_given_up(&self) -> bool {
        let asks = |policy: Policy| policy.busy_period.is_some();
        self.agent_given_up && self.view.policy.is_some_and(asks)
    }

    /// An operator commands.
    pub fn command<K: Clone + Ord>(
        &mut self,
        command: Command,
        roster: &Roster<K>,
        now: Instant,
    ) -> Answer {
        match command {
            Command::Wake { cause, waiting } => self.command_wake(cause, waiting, now),
            Command::Sleep { force } => self.command_sleep(force, roster, now),
        }
    }

    /// Whether a busy lease may be set on it: a lease keeps awake, it does not wake.
    ///
    /// # Errors
    /// Why it may not.
    pub fn may_lease(&self, now: Instant) -> Result<(), Why> {
        match self.view.desired() {
            Desired::Running => Ok(()),
            _ => Err(self.idle_why(now)),
        }
    }

    fn command_wake(&mut self, cause: Cause, waiting: u32, now: Instant) -> Answer {
        if let Plan::Refuse(refusal) = plan(&self.view, cause, self.rules.wake_unmanaged, now) {
            return Answer::Refused(refusal);
        }
        if let Some((retry_after, fault)) = self.back_off(cause, now) {
            // An activator that asks through the API tells it to a client.
            let message = match cause {
                Cause::Http => &fault.for_clients,
                _ => &fault.message,
            };
            return Answer::BackedOff {
                reason: Arc::clone(&fault.reason),
                message: Arc::clone(message),
                retry_after,
            };
        }
        self.ask(
            &Ask {
                cause,
                waiting,
                member: None,
                by: None,
            },
            now,
        );
        if self.attempt.is_none() {
            Answer::Awake
        } else {
            Answer::Waking
        }
    }

    /// What is left of the grace of an order that is under way.
    fn grace_left(&self, now: Instant) -> Option<Duration> {
        let drain = self.drain.as_ref().filter(|drain| drain.is_order())?;
        let end = drain.started() + self.rules.order_grace;
        Some(end.saturating_duration_since(now))
    }

    fn is_ordered_to_sleep(&self) -> bool {
        let order = |drain: &Drain| drain.is_order();
        self.hurry == Some(SleepReason::Forced) || self.drain.as_deref().is_some_and(order)
    }

    fn command_sleep<K: Clone + Ord>(
        &mut self,
        force: bool,
        roster: &Roster<K>,
        now: Instant,
    ) -> Answer {
        if self.view.desired().is_asleep() && self.attempt.is_none() {
            return Answer::Asleep;
        }
        if self
            .drain
            .as_ref()
            .is_some_and(|drain| drain.is_order() || !force)
        {
            return Answer::Draining {
                grace: self.grace_left(now),
            };
        }
        let mut seen = self.observation(roster, now);
        seen.hurry = Some(if force {
            SleepReason::Forced
        } else {
            SleepReason::Asked
        });
        seen.drain_after = None;
        match decide(&seen, now) {
            Decision::Sleep(reason) => {
                self.drain_after = None;
                self.hurry = Some(reason);
                let grace = reason.is_order().then_some(self.rules.order_grace);
                Answer::Draining { grace }
            }
            Decision::Stay {
                why: Why::Silence(silence),
                ..
            } => Answer::Unheard(silence),
            Decision::Stay { why, .. } => Answer::Conflict(why),
            Decision::Wake(cause) => Answer::Conflict(Why::Waking(cause)),
            Decision::AskBusy => Answer::Conflict(Why::AskingBusy),
        }
    }

    /// Calls off a sleep that is not on its way to the server yet.
    pub(super) fn call_off_sleep(&mut self, ending: Ending, now: Instant) {
        let on_its_way = self.writing.as_ref().is_some_and(|writing| writing.begun);
        if self.drain.is_none() || self.settling.is_some() || on_its_way {
            return;
        }
        self.writing
            .take_if(|writing| !writing.write.what.is_wake());
        self.end_drain(ending, now);
    }

    /// While the back-off of failed wakes is on: how long it lasts, and what the last one died of.
    fn back_off(&self, cause: Cause, now: Instant) -> Option<(Duration, &Fault)> {
        if cause == Cause::Api || self.attempt.is_some() || self.is_ready(now) {
            return None;
        }
        let failures = self.failures.as_ref()?;
        let until = failures.until(now)?;
        Some((until.saturating_duration_since(now), failures.fault()))
    }

    pub(super) fn tell_waking(&mut self, now: Instant) {
        if self.told.is_none_or(|told| now >= told + TELL_EVERY) {
            self.told = Some(now);
            self.acts.push(Act::Tell(Tell::Waking {
                epoch: self.view.epoch(),
            }));
        }
    }

    /// Tells who waits that the wake is late, once by itself and then whoever asks.
    pub(super) fn tell_late(&mut self, is_asked: bool, now: Instant) {
        let is_late = |attempt: &&mut Box<Attempt>| attempt.late_from().is_some_and(|at| at <= now);
        let Some(attempt) = self.attempt.as_mut().filter(is_late) else {
            return;
        };
        let is_first = !std::mem::replace(&mut attempt.is_late_told, true);
        let is_due = self.told.is_none_or(|told| now >= told + TELL_EVERY);
        if is_first || (is_asked && is_due) {
            self.told = Some(now);
            self.acts.push(Act::Tell(Attempt::late()));
        }
    }

    fn join(&mut self, ask: &Ask, now: Instant) {
        let under_way = matches!(self.view.desired(), Desired::Running | Desired::Unbound);
        // A sleep on its way to the server decides first what this wake will find.
        let settled = self.writing.is_none() && self.settling.is_none();
        if self.attempt.is_none() {
            let mut attempt = self.begin_attempt(ask.cause, now);
            if under_way && settled {
                attempt.begun = Some(now);
                attempt.ours = None;
            }
            self.attempt = Some(Box::new(attempt));
            self.told = None;
            self.refresh(now);
        }
        let demand = self.ledger.demand(now).parked;
        if let Some(attempt) = &mut self.attempt {
            attempt.parked = attempt.parked.max(ask.waiting).max(demand);
            if attempt.begun.is_some() {
                self.tell_waking(now);
            }
        }
        self.tell_late(true, now);
    }

    fn idle_why(&self, now: Instant) -> Why {
        let blocked = self.view.blocked(now).map(Why::Blocked);
        blocked.unwrap_or_else(|| match (self.phase(now), self.view.hold()) {
            (Phase::Waking(cause), _) => Why::Waking(cause),
            (_, Some(Hold::Asleep)) => Why::HeldAsleep,
            _ => Why::Asleep,
        })
    }
}
