//! What an [`Entry`] is told: by the watch, by the scalers, and by those who tried its pod.

use std::sync::Arc;
use std::time::Instant;

use super::{
    Denied, Entry, FORGET_FOR, Forgotten, LONGEST_BACK_OFF, Leaving, OLD_POD, Outcome,
    REFUSAL_HOLDS, Youth,
};
use crate::gate::{Drain, DrainAnswer};
use crate::view::{Denial, DenialKind, Sight, State, View};

impl<W> Entry<W> {
    /// The watch said something.
    pub fn observe(&mut self, view: View, now: Instant) {
        if view == self.view {
            return;
        }
        let was_open = self.is_open(now);
        let before = std::mem::replace(&mut self.view, view);
        self.gate.observe(self.view.epoch, self.view.uid.as_ref());
        self.observe_pod(&before, now);
        self.observe_leaving(&before, now);
        if self
            .denied
            .as_ref()
            .is_some_and(|denied| self.outlives(denied))
        {
            self.denied = None;
        }
        if was_open && !self.is_open(now) && self.is_gate_open(now) {
            // It fell asleep, or lost its pod, while its lot was emptying: a wake of its own begins.
            let limits = self.view.limits;
            let is_asleep = self.view.state == State::Asleep;
            self.generation = self.generation.wrapping_add(1);
            if let Some(wait) = &mut self.wait {
                wait.restart(limits, is_asleep, now);
            }
        }
    }

    /// Whether what the watch says is up to date; to be told before anything that depends on the time.
    /// While it is not, nothing that only the watch could contradict runs out: a closed gate, the pod of
    /// before a sleep. What happened meanwhile is told within [`OLD_POD`] of the watch running again.
    pub fn see(&mut self, sight: Sight) {
        self.blind = sight == Sight::Blind;
        let Sight::Since(since) = sight else {
            return;
        };
        let told = since + OLD_POD;
        self.gate.prolong(told);
        self.asleep_since = self.asleep_since.map(|at| at.max(since));
        if let Some(until) = self
            .leaving
            .as_mut()
            .and_then(|leaving| leaving.until.as_mut())
        {
            *until = (*until).max(told);
        }
    }

    /// The pod of that UID took a connection and passed its probe. False if it is not the present one, or
    /// is the one of before a sleep.
    pub fn opened(&mut self, pod: &Arc<str>) -> bool {
        let is_leaving = self
            .leaving
            .as_ref()
            .is_some_and(|leaving| leaving.pod == *pod);
        let is_present = self.pod().is_some_and(|present| present.uid == *pod) && !is_leaving;
        if is_present {
            self.opened = Some(Arc::clone(pod));
            self.note_answer();
        }
        is_present
    }

    /// The pod of that UID did not take a connection: it is ignored until the watch says something
    /// newer, at most for [`FORGET_FOR`].
    pub fn forget(&mut self, pod: &Arc<str>, now: Instant) {
        let Some(present) = self.pod().filter(|present| present.uid == *pod) else {
            return;
        };
        let (pod, epoch) = (present.clone(), self.view.epoch);
        self.opened = None;
        self.forgotten = Some(Box::new(Forgotten {
            pod,
            epoch,
            until: now + FORGET_FOR,
        }));
    }

    /// A scaler says how the wake goes, or that a sleep is off.
    pub fn outcome(&mut self, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Undrain { nonce } => self.gate.undrain(nonce),
            Outcome::Waking => {
                if let Some(wait) = &mut self.wait {
                    (wait.heard, wait.delay) = (true, None);
                }
            }
            Outcome::Delayed(delay) => {
                if let Some(wait) = &mut self.wait {
                    (wait.heard, wait.delay) = (true, Some(delay));
                }
            }
            // A denial that nobody waits for may be an echo of a wake long over.
            Outcome::Denied(denial) => {
                if self.wait.is_some() && !self.is_open(now) {
                    self.denied = Some(Box::new(Denied::new(denial, self.view.epoch, now)));
                }
            }
        }
    }

    /// A scaler wants the target to sleep.
    pub fn drain(&mut self, drain: Drain, now: Instant) -> DrainAnswer {
        if drain.order {
            let present = (self.view.epoch, self.view.uid.as_ref());
            let answer = self.gate.drain(drain, present, false, now);
            // Closed all the same: the scaler asks again, until nothing is in flight or its grace is over.
            let is_in_flight = self.activity.begun() > self.parked();
            return if is_in_flight {
                DrainAnswer::Busy
            } else {
                answer
            };
        }
        // A pod that nothing but its port could prove is Ready at once, so that its scaler may take it for
        // awake while nobody waits; but it has not come up yet.
        let is_unproven = self.wait.is_some() && self.pod().is_some_and(|pod| pod.ready);
        let is_busy = self.activity.is_busy(now)
            || self.parked() > 0
            || (is_unproven && self.is_starting(now));
        let present = (self.view.epoch, self.view.uid.as_ref());
        self.gate.drain(drain, present, is_busy, now)
    }

    /// Takes over what a new view says about the pod.
    fn observe_pod(&mut self, before: &View, now: Instant) {
        let old = match &before.state {
            State::Awake(pod) => Some(pod),
            _ => None,
        };
        let new = match &self.view.state {
            State::Awake(pod) => Some(pod),
            _ => None,
        };
        let is_same = old.map(|pod| &pod.uid) == new.map(|pod| &pod.uid);
        if !is_same {
            self.opened = None;
            self.announced = false;
            // Of a pod that was there before this process looked, Ready tells whether it is young.
            let is_old = before.state == State::Unknown
                && new.is_some_and(|pod| pod.ready && !pod.is_recent);
            self.youth = (new.is_some() && !is_old).then(|| Youth::new(now));
            self.activity.only_pod(new.map(|pod| &pod.uid));
        }
        let epoch = self.view.epoch;
        if self
            .forgotten
            .as_ref()
            .is_some_and(|old| old.epoch != epoch || new != Some(&old.pod))
        {
            self.forgotten = None;
        }
        if new.is_some_and(|pod| pod.ready && pod.proven_by_ready) {
            self.note_answer();
        }
    }

    /// Takes over which pod is of before a sleep. That sleep may have gone by between two views: then only
    /// the epoch tells, which one write after a sleep has counted on for the wake alone.
    fn observe_leaving(&mut self, before: &View, now: Instant) {
        let old = if self.view.is_wanted {
            self.asleep_since = None;
            let is_next = Some(self.view.epoch) == before.epoch.checked_add(1);
            let is_woken = is_next && !before.is_wanted;
            let slept = before.epoch != self.view.epoch && !is_woken;
            before.pod.as_ref().filter(|_| slept)
        } else {
            let since = *self.asleep_since.get_or_insert(now);
            let is_told = !self.blind && now >= since + OLD_POD;
            self.view.pod.as_ref().filter(|_| !is_told)
        };
        if let Some(pod) = old.cloned() {
            self.opened = None;
            self.announced = false;
            self.leaving = Some(Box::new(Leaving { pod, until: None }));
        }
        if self.view.is_wanted
            && let Some(leaving) = &mut self.leaving
        {
            leaving.until.get_or_insert(now + OLD_POD);
        }
    }

    /// Whether the present view makes a denial pointless.
    fn outlives(&self, denied: &Denied) -> bool {
        match denied.denial.kind {
            DenialKind::Refused => true,
            DenialKind::Failed => {
                let is_wanted = matches!(self.view.state, State::Waking | State::Awake(_));
                is_wanted && self.view.epoch != denied.epoch
            }
        }
    }
}

impl Denied {
    fn new(denial: Denial, epoch: u64, now: Instant) -> Self {
        let holds = match denial.kind {
            DenialKind::Refused => REFUSAL_HOLDS,
            DenialKind::Failed => denial
                .retry_after
                .unwrap_or(REFUSAL_HOLDS)
                .min(LONGEST_BACK_OFF),
        };
        Self {
            denial,
            epoch,
            until: now + holds,
        }
    }
}
