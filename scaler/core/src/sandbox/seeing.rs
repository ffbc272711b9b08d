//! What a machine sees: the watch's picture, corrected by its own writes, and what follows from it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{ASK_COUNTS, Sandbox, Stage};
use crate::act::{Intent, SleepReason, Write};
use crate::decide::AskedAgent;
use crate::drain::Ending;
use crate::view::{Desired, Fault, Mode, PodView, View};
use crate::wake;

/// How long the pod of before a sleep is not taken for the one of the wake after it. A controller that
/// never saw the sleep keeps that pod, so it counts again afterwards, or as soon as an activator says so.
const OLD_POD: Duration = Duration::from_secs(2);
/// Reason of a pod that the scheduler finds no place for.
const NO_PLACE: &str = "Unschedulable";
/// Reason of a Sandbox whose controller met an error and tries again: an old pod of its name may still be
/// there, for as long as its grace period.
const RETRIED: &str = "ReconcilerError";
/// A fault of the Sandbox itself may be of the moment; so long a wake waits for it to pass.
const FAULT_GRACE: Duration = Duration::from_secs(2);

impl Sandbox {
    /// Takes what the watch shows. What it shows of before our own last write is corrected by that, for as
    /// long as the watch may be behind it: the object is the truth, whoever has replaced it since.
    pub fn observe(&mut self, view: View, now: Instant) {
        let before = std::mem::replace(&mut self.view, view);
        self.correct(now);
        self.see_made_again(&before, now);
        if self.view.identity() != before.identity() {
            self.meet(now);
        }
        // Whoever wrote it first, it needs no turn any more.
        self.writing.take_if(|writing| {
            !writing.begun
                && writing.write.what.is_wake()
                && !wake::is_due(&self.view, &writing.write)
        });
        let pod = |view: &View| view.pod.as_ref().map(|pod| Arc::clone(&pod.uid));
        if pod(&self.view) != pod(&before) {
            // What the last pod died of is nothing against this one, unless the wake has had its time.
            self.hurry
                .take_if(|hurry| *hurry == SleepReason::WakeFailed);
        }
        let written = self.view.uid() != before.uid() || self.view.epoch() != before.epoch();
        self.see_wake(&before, now);
        self.see_woken_again(&before, now);
        if written {
            // Another wake or another replica: it begins anew, and no gate is closed for it.
            self.since = now;
            self.outlive_sleep(now);
            self.call_off_sleep(Ending::Changed, now);
        }
        if (written || self.view.desired() != before.desired())
            && let Some(attempt) = &mut self.attempt
        {
            attempt.retry = None;
        }
        self.refresh(now);
    }

    /// Another object bears the name: what was known of the last one ends.
    fn meet(&mut self, now: Instant) {
        self.met = self.view.age().map(|age| (now, age));
        self.leases.forget();
        self.agent_given_up = false;
        if self.attempt.is_none() {
            self.failures = None;
            self.woken = None;
        }
        self.hurry = None;
        self.since = now;
    }

    /// Our own write is known before the watch shows it. Where the watch was faster, it may show more
    /// than this write by now.
    pub(super) fn believe(&mut self, write: &Write, epoch: u64, now: Instant) {
        self.believed = Some(Box::new(Believed {
            what: write.what,
            uid: Arc::clone(&write.uid),
            epoch,
            until: now + self.rules.write_timeout,
            seen: View::default(),
        }));
        self.correct(now);
    }

    /// Puts what we have written in place of what the watch shows of before it.
    fn correct(&mut self, now: Instant) {
        let Some(mut believed) = self.believed.take() else {
            return;
        };
        if now < believed.until && believed.is_ahead_of(&self.view) {
            believed.seen = self.view.clone();
            believed.apply(&mut self.view);
            self.believed = Some(believed);
        }
    }

    /// What the watch has not shown in time is not so, or not any more.
    pub(super) fn stop_believing(&mut self, now: Instant) {
        if let Some(believed) = self.believed.take_if(|believed| now >= believed.until) {
            self.observe(believed.seen, now);
        }
    }

    /// When that is.
    pub(super) fn believes_until(&self) -> Option<Instant> {
        self.believed.as_ref().map(|believed| believed.until)
    }

    /// Brings what follows from the view up to date.
    pub(super) fn refresh(&mut self, now: Instant) {
        self.see_old_pod(now);
        let answering = self.ready_pod.clone();
        let running = self.view.desired() == Desired::Running;
        let pod = self.pod(now).cloned();
        self.leases.see(pod.as_ref().map(|pod| &pod.uid));
        if let Some(pod) = pod.filter(|_| running) {
            if pod.fault.is_some() {
                self.ready_pod.take_if(|ready| *ready == pod.uid);
            } else if pod.ready && self.unproven_until(&pod, now).is_none() {
                self.ready_pod = Some(Arc::clone(&pod.uid));
            }
            if pod.addressed
                && let Some(attempt) = &mut self.attempt
            {
                attempt.addressed.get_or_insert(now);
            }
        }
        let stage = match self.view.desired() {
            Desired::Gone => Stage::Gone,
            Desired::Suspended | Desired::Released => Stage::Asleep,
            Desired::Unbound => Stage::Binding,
            Desired::Running if self.is_ready(now) => Stage::Awake,
            Desired::Running => Stage::Starting,
        };
        self.end_wake(stage == Stage::Awake);
        if stage == Stage::Asleep {
            self.leases.clear();
            self.ready_pod = None;
            self.hurry = None;
            self.answered = None;
            let limit = self.wake_limit();
            if let Some(attempt) = &mut self.attempt {
                attempt.restart(limit, now);
            }
        }
        if stage != self.stage || (answering.is_some() && self.ready_pod != answering) {
            // Another agent, which has not been asked yet.
            self.asked_agent = AskedAgent::Never;
            self.agent_silent = 0;
        }
        if stage != self.stage {
            if self.stage == Stage::Asleep && stage != Stage::Gone {
                self.note_woken(now);
            }
            self.stage = stage;
            self.since = now;
            self.unproven = None;
            if stage == Stage::Awake {
                // Late, but up: nothing to take back.
                self.hurry
                    .take_if(|hurry| *hurry == SleepReason::WakeFailed);
            }
        }
    }

    /// A pod that is there while it is to sleep is not the one of the next wake.
    fn see_old_pod(&mut self, now: Instant) {
        match self.view.desired() {
            Desired::Suspended | Desired::Released => {
                let pod = self.view.pod.as_ref().map(|pod| Arc::clone(&pod.uid));
                let old = pod.or_else(|| self.old_pod.take().map(|(old, _)| old));
                self.old_pod = old.map(|old| (old, None));
            }
            Desired::Running => {
                if let Some((_, wanted)) = &mut self.old_pod {
                    wanted.get_or_insert(now);
                }
            }
            Desired::Gone | Desired::Unbound => {}
        }
    }

    /// The present pod, unless it is that of before the last sleep.
    pub(super) fn pod(&self, now: Instant) -> Option<&PodView> {
        let pod = self.view.pod.as_ref()?;
        let is_old = self.ready_pod.as_ref() != Some(&pod.uid)
            && self.old_pod.as_ref().is_some_and(|(old, wanted)| {
                *old == pod.uid && wanted.is_none_or(|wanted| now < wanted + OLD_POD)
            });
        (!is_old).then_some(pod)
    }

    /// When the pod of before the last sleep counts again, if it is still there.
    pub(super) fn pod_counts_from(&self, now: Instant) -> Option<Instant> {
        let (old, wanted) = self.old_pod.as_ref()?;
        let from = wanted.as_ref()?.checked_add(OLD_POD)?;
        let there = self.view.pod.as_ref().is_some_and(|pod| pod.uid == *old);
        (there && now < from).then_some(from)
    }

    /// While a wake has requests parked, Ready does not end it where no probe is behind it: an activator
    /// says when the pod answers. Until when it is so; `now`, where that is not known.
    fn unproven_until(&self, pod: &PodView, now: Instant) -> Option<Instant> {
        if pod.proven_by_ready || self.attempt.is_none() {
            return None;
        }
        let asked = self.asked.as_ref().map(|(_, at)| *at + ASK_COUNTS);
        let parked = self.ledger.demand(now).parked > 0;
        let asked = asked.filter(|until| now < *until);
        asked.or_else(|| parked.then_some(now))
    }

    /// When Ready ends the wake if nobody asks any more.
    pub(super) fn ready_counts_from(&self, now: Instant) -> Option<Instant> {
        let pod = self.pod(now).filter(|pod| pod.ready)?;
        self.unproven_until(pod, now).filter(|until| *until > now)
    }

    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.view.desired() == Desired::Running
            && self
                .pod(now)
                .is_some_and(|pod| self.ready_pod.as_ref() == Some(&pod.uid))
    }

    /// What no waiting will mend.
    pub(crate) fn fault(&self, now: Instant) -> Option<&Fault> {
        let no_place_yet = self.no_place_counts_from(now).is_some();
        let of_pod = self
            .pod(now)
            .filter(|_| !no_place_yet)
            .and_then(|pod| pod.fault.as_ref());
        let grace = self.fault_counts_from();
        let of_object = || {
            self.view
                .fault()
                .filter(|_| grace.is_none_or(|at| now >= at))
        };
        of_pod.or_else(of_object)
    }

    /// When it counts that the scheduler finds no place for the present pod, if it finds none: not before the
    /// wake has had its time, since a place may come free, an autoscaler may bring a node, and volumes that are
    /// still being provisioned look the same. Who waits reads why.
    pub(super) fn no_place_counts_from(&self, now: Instant) -> Option<Instant> {
        let fault = self.pod(now)?.fault.as_ref()?;
        let attempt = self.attempt.as_deref();
        let begun = attempt.map_or(self.since, |attempt| attempt.begun.unwrap_or(attempt.asked));
        let from = begun + self.progress_limit();
        (*fault.reason == *NO_PLACE && now < from).then_some(from)
    }

    /// How long a fault is waited out that may heal by itself.
    fn patience(&self) -> Duration {
        (self.wake_limit() / 3).max(FAULT_GRACE)
    }

    /// When a fault of the Sandbox or the claim ends the wake under way, if there is such a fault.
    pub(super) fn fault_counts_from(&self) -> Option<Instant> {
        let attempt = self.attempt.as_deref();
        let attempt = attempt.map(|attempt| attempt.begun.unwrap_or(attempt.asked));
        let begun = attempt.or(self.woken)?;
        let fault = self.view.fault()?;
        let grace = if *fault.reason == *RETRIED {
            self.patience()
        } else {
            FAULT_GRACE
        };
        Some(begun + grace)
    }
}

/// A write of ours that was done, until the watch shows it, or must have.
#[derive(Debug)]
pub(super) struct Believed {
    what: Intent,
    /// The object's, of the Sandbox or the claim.
    uid: Arc<str>,
    epoch: u64,
    until: Instant,
    /// What the watch has shown last.
    seen: View,
}

impl Believed {
    /// Whether the watch shows that object as it was before.
    fn is_ahead_of(&self, seen: &View) -> bool {
        let (uid, epoch) = match self.what {
            Intent::Restore | Intent::Suspend => {
                let sandbox = seen.sandbox.as_ref();
                (seen.uid(), sandbox.map(|sandbox| sandbox.epoch))
            }
            Intent::Bind | Intent::Release => {
                let claim = seen.claim.as_ref();
                (claim.map(|it| &it.uid), claim.map(|claim| claim.epoch))
            }
        };
        uid == Some(&self.uid) && epoch.is_some_and(|epoch| epoch < self.epoch)
    }

    fn apply(&self, view: &mut View) {
        let View { sandbox, claim, .. } = view;
        match (self.what, sandbox.as_mut(), claim) {
            (Intent::Restore | Intent::Suspend, Some(seen), _) => {
                seen.epoch = self.epoch;
                seen.busy_until = None;
                seen.mode = match self.what {
                    Intent::Restore => Mode::Running,
                    _ => Mode::Suspended,
                };
            }
            (Intent::Bind | Intent::Release, _, Some(seen)) => {
                seen.epoch = self.epoch;
                seen.released = self.what == Intent::Release;
                *sandbox = None;
            }
            _ => {}
        }
    }
}
