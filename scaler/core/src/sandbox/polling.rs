//! The one place where a machine acts: wakes, drains, questions, and the instant to look again.

use std::sync::Arc;
use std::time::Instant;

use super::{ASK_COUNTS, Poll, Sandbox, Stage, Writing};
use crate::act::{Act, Note, Write};
use crate::decide::{AskedAgent, Decision, Observation, Phase, decide};
use crate::lease::Source;
use crate::roster::Roster;
use crate::view::PodView;
use crate::wake::{self, Attempt, Cause, Plan, plan};

impl Sandbox {
    /// Does what is due: answers with acts, and when to ask again if nothing is heard before.
    pub fn poll<K: Clone + Ord>(&mut self, roster: &Roster<K>, now: Instant) -> Poll {
        self.stop_believing(now);
        self.refresh(now);
        let is_waking = self.attempt.is_some();
        self.advance_attempt(now);
        self.tell_late(false, now);
        if is_waking && self.attempt.is_none() {
            // Where nobody waits any more Ready is proof enough.
            self.refresh(now);
        }
        self.follow_wake(now);
        self.advance_drain(roster, now);
        self.tell_called_off(now);
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
        let answers =
            |pod: &PodView| pod.proven_by_ready || self.answered.as_ref() == Some(&pod.uid);
        let answers = self.pod(now).is_some_and(answers);
        if answers || attempt.parked == 0 {
            self.note_woke(&attempt, answers, now);
        } else {
            // Whoever waited for it has left before anything listened.
            self.unproven = Some(attempt);
        }
    }

    pub(super) fn note_woke(&mut self, attempt: &Attempt, answers: bool, now: Instant) {
        if !attempt.is_ours(&self.view) {
            return;
        }
        let woke = attempt.woke(answers, now);
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

    /// Has this written when its turn comes, rather than whatever waited for its turn until now.
    pub(super) fn queue(&mut self, write: Write) {
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
        let late = attempt.filter(|attempt| !attempt.is_late_told);
        let late = late.and_then(|attempt| attempt.late_from());
        let attempt = attempt.map(|attempt| attempt.ends());
        let settling = self.drain.as_ref().filter(|_| self.settling.is_some());
        [
            attempt,
            late,
            self.follows_until().filter(|at| *at > now),
            retry,
            self.fault_counts_from().filter(|at| *at > now),
            self.no_place_counts_from(now),
            self.pod_counts_from(now),
            self.ready_counts_from(now),
            drain,
            self.settling,
            settling.and_then(|drain| drain.asks_again()),
            self.tells_called_off(),
            self.believes_until(),
            self.calm_from(now),
        ]
        .into_iter()
        .flatten()
    }
}
