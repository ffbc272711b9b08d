//! One target: everything that decides where its requests go, joined in one machine.
//!
//! ```text
//!             arrive ─▶ Go            awake, proven to answer, gate open, nobody waits before it
//!                    ─▶ Parked ──┐    asleep, waking, draining, or behind others
//!                    ─▶ Refused  │    blocked, or a wake failed a moment ago
//!                                ▼
//! observe · opened · outcome ─▶ poll ─▶ wake to send · tickets expired, denied, released
//! drain · undrain · forget       ▲                                                │
//!                                └────────────────── answered ◀────────────────────┘
//! ```
//!
//! What waits for a wake lives in one box that exists only while somebody waits or a wake goes on, so
//! that an idle target stays small.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::activity::{Activity, Seen};
use crate::gate::Gate;
use crate::lot::{Ended, TicketId};
use crate::view::{Denial, DenialKind, Limits, Pod, State, View};
use crate::wake::Repeat;

mod step;
#[cfg(test)]
mod tests;
mod told;
mod wait;
mod youth;

use wait::Wait;
use youth::Youth;

pub use step::{Arrival, Ask, Outcome, Release, Role, Stage, Step};

/// A pod that did not take a connection is ignored until the watch says something newer about it; but
/// no longer than this, since nothing newer comes where only the network failed for a moment. After
/// that it has to prove anew that it answers.
pub const FORGET_FOR: Duration = Duration::from_secs(10);
/// How long the pod of before a sleep is not taken for the one that a wake brings up. Pods and Sandboxes
/// are two watches: the one may show the wake while the other still shows that pod, alive and ready. It
/// counts again after this, since a controller that saw neither sleep nor wake leaves it running. A pod that
/// appears so long after the sleep was seen is not of before it: that is the wake, shown by the other watch
/// first.
pub const OLD_POD: Duration = Duration::from_secs(2);
/// How long a failed wake answers new arrivals, whatever the scaler proposed.
pub const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);
/// How long a refusal answers new arrivals, unless the watch says something new.
pub const REFUSAL_HOLDS: Duration = Duration::from_secs(1);

/// The machine of one target. `W` is what the shell attaches to a ticket.
#[derive(Debug)]
pub struct Entry<W> {
    view: View,
    activity: Activity,
    gate: Gate,
    wait: Option<Box<Wait<W>>>,
    /// UID of the pod that has proven to answer.
    opened: Option<Arc<str>>,
    /// Whether the present pod has been told of as answering.
    announced: bool,
    /// Of the present pod, while it is young: then Ready alone is no proof for it if it has no readiness
    /// probe, and a port that refuses may yet listen.
    youth: Option<Youth>,
    leaving: Option<Box<Leaving>>,
    /// Since when the watch shows it not wanted awake, without a gap.
    asleep_since: Option<Instant>,
    forgotten: Option<Box<Forgotten>>,
    denied: Option<Box<Denied>>,
    generation: u32,
    /// What the watch said last may be out of date.
    blind: bool,
}

/// The pod of before a sleep.
#[derive(Debug)]
struct Leaving {
    pod: Arc<str>,
    /// Set when the target is wanted awake again.
    until: Option<Instant>,
}

#[derive(Debug)]
struct Forgotten {
    pod: Pod,
    epoch: u64,
    until: Instant,
}

#[derive(Debug)]
struct Denied {
    denial: Denial,
    epoch: u64,
    until: Instant,
}

impl<W> Default for Entry<W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W> Entry<W> {
    /// A target of which the watch has said nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            view: View {
                epoch: 0,
                uid: None,
                state: State::Unknown,
                is_wanted: false,
                pod: None,
                limits: Limits::default(),
            },
            activity: Activity::default(),
            gate: Gate::default(),
            wait: None,
            opened: None,
            announced: false,
            youth: None,
            leaving: None,
            asleep_since: None,
            forgotten: None,
            denied: None,
            generation: 0,
            blind: false,
        }
    }

    /// The present word of the watch.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// Requests parked.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.wait.as_ref().map_or(0, |wait| wait.lot.len())
    }

    /// Whether somebody has to [`Entry::poll`]: a request waits, or a wake goes on.
    #[must_use]
    pub const fn is_waking(&self) -> bool {
        self.wait.is_some()
    }

    /// Counts a request, or an upgraded connection that moves bytes again. Comes before
    /// [`Entry::arrive`], so that no drain slips between the two.
    pub fn begin(&mut self) {
        self.activity.begin();
    }

    /// The counterpart of [`Entry::begin`].
    pub fn end(&mut self, now: Instant) {
        self.activity.end(now);
    }

    /// The agent in `pod` asks to be left awake; zero ends that.
    pub fn busy(&mut self, pod: &Arc<str>, length: Duration, now: Instant) {
        if self.pod().is_some_and(|present| present.uid == *pod) {
            self.activity.lease(Arc::clone(pod), length, now);
        }
    }

    /// Whether there is something new to report.
    #[must_use]
    pub const fn is_changed(&self) -> bool {
        self.activity.is_changed()
    }

    /// Whether a full report has to name this target.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.activity.is_known()
    }

    /// What to report; counts as reported.
    pub fn report(&mut self, now: Instant) -> Seen {
        let parked = u32::try_from(self.parked()).unwrap_or(u32::MAX);
        self.activity.report(parked, now)
    }

    /// A request that has [begun](Entry::begin) wants to go. It waits at most `most`, and no longer than
    /// the policy says. `take` is asked for the payload of a ticket, told whether this request starts a
    /// wake; its refusal turns the request away.
    pub fn arrive<E>(
        &mut self,
        most: Option<Duration>,
        take: impl FnOnce(Role) -> Result<W, E>,
        now: Instant,
    ) -> Arrival<E> {
        self.refresh(now);
        if let State::Blocked(denial) = &self.view.state {
            return Arrival::Refused(denial.clone());
        }
        let limits = self.view.limits;
        let waiting = self.parked();
        if waiting == 0
            && let Some(release) = self.release(now)
        {
            self.announced = true;
            return Arrival::Go(release);
        }
        if let Some(denied) = &self.denied {
            let left = denied.until.saturating_duration_since(now);
            let retry_after = denied.denial.retry_after.map(|_| left);
            return Arrival::Refused(Denial {
                retry_after,
                ..denied.denial.clone()
            });
        }
        if waiting >= limits.max_requests as usize {
            return Arrival::Full;
        }
        let role = if self.wait.is_some() || self.is_starting(now) {
            Role::Joined
        } else {
            Role::Started
        };
        let payload = match take(role) {
            Ok(payload) => payload,
            Err(error) => return Arrival::Turned(error),
        };
        let is_gated = !self.is_gate_open(now);
        let is_unproven = self
            .pod()
            .is_some_and(|pod| pod.ready && self.is_allowed(pod, now));
        if self.wait.is_none() {
            self.generation = self.generation.wrapping_add(1);
        }
        let is_asleep = self.view.state == State::Asleep;
        let wait = self.wait.get_or_insert_with(|| {
            let mut wait = Box::new(Wait::start(limits, is_asleep, now));
            if is_unproven {
                // It is up already, only its port has to prove that it answers.
                wait.repeat.put_off(now);
            }
            wait
        });
        if is_gated && waiting == 0 {
            wait.repeat = Repeat::start(limits.wake_steps, now);
        }
        let patience = limits.patience();
        let deadline = now + most.map_or(patience, |most| most.min(patience));
        Arrival::Parked {
            ticket: wait.lot.park(deadline, payload, now),
            role,
        }
    }

    /// The client of a parked request left. The wake goes on. `None` if the ticket has ended before.
    pub fn abandon(&mut self, ticket: TicketId) -> Option<Ended<W>> {
        self.wait.as_mut()?.lot.abandon(ticket)
    }

    /// A request released by that generation of the wake got its first response byte, or failed.
    pub fn answered(&mut self, generation: u32, now: Instant) {
        if generation == self.generation
            && let Some(wait) = &mut self.wait
        {
            wait.pace.answered(now);
        }
    }

    /// Ends everything parked, and the wake: the target is gone, or the process goes.
    pub fn end_all(&mut self, kind: DenialKind) -> Vec<Ended<W>> {
        self.wait
            .take()
            .map_or_else(Vec::new, |mut wait| wait.lot.end_all(kind.ending()))
    }

    /// The pod the shell should probe now, until it is [`Entry::opened`].
    #[must_use]
    pub fn probe(&self, now: Instant) -> Option<&Pod> {
        let pod = self.pod()?;
        let is_wanted = self.wait.is_some()
            && self.opened.as_ref() != Some(&pod.uid)
            && self.is_allowed(pod, now);
        is_wanted.then_some(pod)
    }

    fn pod(&self) -> Option<&Pod> {
        match &self.view.state {
            State::Awake(pod) => Some(pod),
            _ => None,
        }
    }

    fn is_forgotten(&self, now: Instant) -> bool {
        self.forgotten
            .as_ref()
            .is_some_and(|forgotten| now < forgotten.until)
    }

    /// Whether a pod is the one of before the last sleep.
    fn is_leaving(&self, pod: &Pod, now: Instant) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| {
            leaving.pod == pod.uid && leaving.until.is_none_or(|until| self.blind || now < until)
        })
    }

    /// Whether a drain keeps requests back.
    #[must_use]
    pub fn is_gated(&self, now: Instant) -> bool {
        !self.is_gate_open(now)
    }

    /// A hold that runs out while nothing is seen ends in a sleep that is not seen: rather closed.
    fn is_gate_open(&self, now: Instant) -> bool {
        if self.blind {
            self.gate.is_unused()
        } else {
            self.gate.is_open(now)
        }
    }

    /// Whether the present pod may be spoken to at all.
    fn is_allowed(&self, pod: &Pod, now: Instant) -> bool {
        self.is_gate_open(now) && !self.is_forgotten(now) && !self.is_leaving(pod, now)
    }

    /// Whether the present pod is known to answer.
    fn is_proven(&self, pod: &Pod, now: Instant) -> bool {
        let is_young = self.young_until().is_some_and(|until| now < until);
        self.opened.as_ref() == Some(&pod.uid) || (pod.ready && (pod.proven_by_ready || !is_young))
    }

    /// The present pod, if it may be sent to.
    fn open(&self, now: Instant) -> Option<&Pod> {
        self.pod()
            .filter(|pod| self.is_proven(pod, now) && self.is_allowed(pod, now))
    }

    fn is_open(&self, now: Instant) -> bool {
        self.open(now).is_some()
    }

    fn release(&self, now: Instant) -> Option<Release> {
        let pod = self.open(now)?;
        Some(Release {
            pod: Arc::clone(&pod.uid),
            young_until: self.young_until().filter(|until| *until > now),
            patience: self.view.limits.patience(),
            generation: self.generation,
            opened_at: self
                .wait
                .as_ref()
                .and_then(|wait| wait.opened_at)
                .unwrap_or(now),
        })
    }

    /// Lets go of what has run out.
    fn refresh(&mut self, now: Instant) {
        if self.wait.is_none() && self.young_until().is_some_and(|until| until <= now) {
            self.youth = None;
        }
        if self
            .forgotten
            .as_ref()
            .is_some_and(|forgotten| forgotten.until <= now)
        {
            self.forgotten = None;
        }
        if self
            .denied
            .as_ref()
            .is_some_and(|denied| denied.until <= now)
        {
            self.denied = None;
        }
        if self.blind {
            return;
        }
        self.gate.expire(now);
        if self
            .leaving
            .as_ref()
            .is_some_and(|leaving| leaving.until.is_some_and(|until| until <= now))
        {
            self.leaving = None;
        }
    }
}
