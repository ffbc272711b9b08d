//! What an [`Entry`] answers: to an arrival, and when it is polled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Entry;
use crate::lot::{Ended, TicketId};
use crate::view::{Delay, Denial, State};

/// Answer to an arrival.
#[derive(Debug)]
pub enum Arrival<E> {
    /// Send it.
    Go(Release),
    /// It waits under this ticket.
    Parked {
        /// Names it.
        ticket: TicketId,
        /// Its part in the wake.
        role: Role,
    },
    /// No wake will help it now.
    Refused(Denial),
    /// The lot has no place.
    Full,
    /// The shell did not give a payload.
    Turned(E),
}

/// Part of a parked request in the wake it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It began the wake.
    Started,
    /// It joined a wake that was under way.
    Joined,
}

/// Where a request may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// UID of the pod.
    pub pod: Arc<str>,
    /// Until then a refused connection is a pod that is still starting.
    pub young_until: Option<Instant>,
    /// Longest time to go on trying to connect to a pod that is young.
    pub patience: Duration,
    /// To be given back to [`Entry::answered`].
    pub generation: u32,
    /// When the pod was found to answer; what a request waited after that, it waited in the queue.
    pub opened_at: Instant,
}

impl Release {
    /// Until when a young pod that refuses connections is dialled for a request that came at `since`.
    #[must_use]
    pub fn dial_until(&self, since: Instant) -> Option<Instant> {
        self.young_until
            .map(|until| until.min(since + self.patience))
    }
}

/// What a scaler said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The wake is under way.
    Waking,
    /// It goes on, and is held up by this.
    Delayed(Delay),
    /// It is refused, or failed.
    Denied(Denial),
    /// The sleep of that nonce is off.
    Undrain {
        /// Of the drain.
        nonce: u64,
    },
}

/// A Wake to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Requests parked.
    pub waiting: usize,
    /// How long the oldest has waited.
    pub oldest: Duration,
    /// Whether a scaler has said that it wakes the target.
    pub heard: bool,
}

/// How far a wake got, told to those who waited in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No scaler has answered.
    Unanswered,
    /// A scaler wakes it; the watch shows nothing yet.
    Asked,
    /// It has no pod with an address.
    NoPod,
    /// The watch still shows the pod of before its sleep.
    OldPod,
    /// Its pod is not ready yet.
    NotReady,
    /// Its pod is ready, but the asked port accepts no connection.
    NotAnswering,
    /// Its pod could not be reached.
    Unreachable,
    /// It was about to sleep.
    Draining,
    /// It answers, but those before in the queue were not done.
    Queued,
}

impl Stage {
    /// A phrase for the client.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unanswered => "no scaler has answered the wake",
            Self::Asked => "the wake was accepted but has not begun",
            Self::NoPod => "its pod has no address yet",
            Self::OldPod => "its pod of before the sleep is still there",
            Self::NotReady => "its pod is not ready yet",
            Self::NotAnswering => "the port of its pod accepts no connection yet",
            Self::Unreachable => "its pod cannot be reached",
            Self::Draining => "it is about to sleep",
            Self::Queued => "earlier requests are not answered yet",
        }
    }
}

/// What is to be done now.
#[derive(Debug)]
pub struct Step<W> {
    /// Send a Wake.
    pub wake: Option<Ask>,
    /// The pod has been found to answer, for the first time since it came.
    pub opened: Option<Arc<str>>,
    /// Tickets whose deadline passed, and how far the wake got.
    pub expired: Vec<Ended<W>>,
    /// Of the expired.
    pub stage: Stage,
    /// What held the wake up until then, where the watch does not show it under way.
    pub delay: Option<Delay>,
    /// Longest wait that the policy grants; who waited less asked for less.
    pub patience: Duration,
    /// How long the wake has gone on.
    pub elapsed: Duration,
    /// All of the time from asleep to answering, where this entry saw all of it.
    pub took: Option<Duration>,
    /// Tickets that get the denial.
    pub denied: Vec<Ended<W>>,
    /// Of the denied.
    pub denial: Option<Denial>,
    /// Tickets that may go, the oldest first.
    pub released: Vec<Ended<W>>,
    /// Of the released.
    pub release: Option<Release>,
}

impl<W> Entry<W> {
    /// Does what is due. To be called after anything that was told to this entry while it
    /// [is waking](Entry::is_waking), and at [`Entry::next`].
    pub fn poll(&mut self, now: Instant) -> Step<W> {
        self.refresh(now);
        self.note_probing(now);
        let silent = self.end_youth(now);
        let since = self.wait.as_ref().map_or(now, |wait| wait.since);
        let mut step = Step {
            wake: None,
            opened: None,
            expired: Vec::new(),
            stage: self.stage(now),
            delay: self.delay(),
            patience: self.view.limits.patience(),
            elapsed: now.saturating_duration_since(since),
            took: None,
            denied: Vec::new(),
            denial: self.denial().or(silent),
            released: Vec::new(),
            release: self.release(now),
        };
        let ends = since + self.wake_length();
        let Some(wait) = &mut self.wait else {
            return step;
        };
        step.expired = wait.lot.expire(now);
        let is_forlorn = wait.lot.is_empty() && wait.asked;
        if let Some(denial) = &step.denial {
            step.denied = wait.lot.end_all(denial.kind.ending());
            self.wait = None;
        } else if let Some(release) = &step.release {
            wait.pace.poll(now);
            step.released = wait.lot.release(wait.pace.allowance());
            wait.pace.released(step.released.len(), now);
            wait.opened_at = Some(release.opened_at);
            if !std::mem::replace(&mut self.announced, true) {
                step.opened = Some(Arc::clone(&release.pod));
                step.took = wait.is_whole.then_some(step.elapsed);
            }
            if wait.lot.is_empty() {
                self.opened = Some(Arc::clone(&release.pod));
                self.wait = None;
            }
        } else if is_forlorn && now >= ends {
            self.wait = None;
        } else if !is_forlorn && wait.repeat.take(now) {
            wait.asked = true;
            let oldest = wait
                .lot
                .oldest()
                .map_or(Duration::ZERO, |since| now - since);
            step.wake = Some(Ask {
                waiting: wait.lot.len(),
                oldest,
                heard: wait.heard,
            });
        }
        step
    }

    /// When to [poll](Entry::poll) next; a past instant means now. `None` while nothing waits.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let wait = self.wait.as_ref()?;
        if self.denial().is_some() {
            return Some(now);
        }
        let forgotten = self.forgotten.as_ref().map(|forgotten| forgotten.until);
        // Neither runs out while nothing is seen.
        let leaving = self.leaving.as_ref().and_then(|leaving| leaving.until);
        let seen = [leaving, self.gate.next()].map(|at| at.filter(|_| !self.blind));
        let step = if self.release(now).is_some() {
            if wait.lot.is_empty() || wait.pace.allowance() > 0 {
                return Some(now);
            }
            wait.pace.next()
        } else if wait.lot.is_empty() && wait.asked {
            Some(wait.since + self.wake_length())
        } else {
            Some(wait.repeat.due())
        };
        [step, wait.lot.next(), forgotten, self.young_until()]
            .into_iter()
            .chain(seen)
            .flatten()
            .min()
    }

    /// How long a wake that nobody waits for any more is watched from its beginning on: while it is on its
    /// way up, for as long as that may take.
    fn wake_length(&self) -> Duration {
        let limits = &self.view.limits;
        if self.view.is_wanted {
            limits.progress()
        } else {
            limits.wake_deadline
        }
    }

    fn denial(&self) -> Option<Denial> {
        match (&self.view.state, &self.denied) {
            (State::Blocked(denial), _) => Some(denial.clone()),
            (_, Some(denied)) => Some(denied.denial.clone()),
            _ => None,
        }
    }

    fn delay(&self) -> Option<Delay> {
        let is_seen = matches!(self.view.state, State::Waking | State::Awake(_));
        let wait = self.wait.as_ref().filter(|_| !is_seen)?;
        wait.delay.clone()
    }

    fn stage(&self, now: Instant) -> Stage {
        let heard = self.wait.as_ref().is_some_and(|wait| wait.heard);
        match &self.view.state {
            State::Awake(_) if self.is_open(now) => Stage::Queued,
            State::Awake(_) if self.is_forgotten(now) => Stage::Unreachable,
            State::Awake(_) if !self.is_gate_open(now) => Stage::Draining,
            State::Awake(pod) if self.is_leaving(pod, now) => Stage::OldPod,
            State::Awake(pod) if pod.ready => Stage::NotAnswering,
            State::Awake(_) => Stage::NotReady,
            State::Waking => Stage::NoPod,
            _ if heard => Stage::Asked,
            _ => Stage::Unanswered,
        }
    }
}
