//! A wake under way: what it has written, and when it is late.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{API_UNAVAILABLE, Cause};
use crate::act::{Intent, Tell, Woke, Write};
use crate::view::{Fault, PodView, View};

/// A wake whose writes get no answer for so long fails, so that who waits is told why and may choose: it
/// bridges the restart of one of several API servers, and is well within any client's patience.
const UNANSWERED: Duration = Duration::from_secs(10);
/// A write without an answer for so long is late: who waits hears of it, and is told so when its own patience
/// ends before the wake fails. Longer than an API server takes that has much to do.
const LATE: Duration = Duration::from_secs(1);
/// What a client is told of that.
const UNANSWERED_FOR_CLIENTS: &str = "the Kubernetes API does not answer, so the sandbox could not be woken; ask \
                                      again in a few seconds";
/// The same while it is only late.
const LATE_FOR_CLIENTS: &str = "the Kubernetes API does not answer yet, so the sandbox is not awake; ask again in a \
                                few seconds";

/// A wake under way: from the first ask to ready, refused or failed.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What asked first.
    pub cause: Cause,
    /// When it was first asked for.
    pub asked: Instant,
    /// When it has failed if it has not begun by then.
    pub deadline: Instant,
    /// Time that it may take from there on.
    pub progress: Duration,
    /// Most requests parked at a time.
    pub parked: u32,
    /// When our write was done, or when it was found under way.
    pub begun: Option<Instant>,
    /// When its pod was first seen with an address.
    pub addressed: Option<Instant>,
    /// Our write, and the epoch that it made: who only joins a wake, or finds that another has woken it
    /// once more, does not tell of it.
    pub ours: Option<(Write, u64)>,
    /// No write before this.
    pub retry: Option<Instant>,
    /// Writes that did not succeed.
    pub tries: u32,
    /// When the first of its writes was sent that the API has given no answer to.
    pub sent: Option<Instant>,
    /// How that shows, once a write was given up.
    pub unanswered: Option<Arc<str>>,
    /// Who waits was told that it is late.
    pub is_late_told: bool,
}

impl Attempt {
    /// Begins now. `limit` is the time it has to begin in, `progress` that which it may take then.
    #[must_use]
    pub fn new(cause: Cause, limit: Duration, progress: Duration, now: Instant) -> Self {
        Self {
            cause,
            asked: now,
            deadline: now + limit,
            progress,
            parked: 0,
            begun: None,
            addressed: None,
            ours: None,
            retry: None,
            tries: 0,
            sent: None,
            unanswered: None,
            is_late_told: false,
        }
    }

    /// A write of it goes out.
    pub fn send(&mut self, now: Instant) {
        self.sent.get_or_insert(now);
    }

    /// A write of it got no answer.
    pub fn miss(&mut self, how: &str) {
        self.unanswered = Some(how.into());
    }

    /// The API has answered.
    pub fn hear(&mut self) {
        (self.sent, self.unanswered, self.is_late_told) = (None, None, false);
    }

    /// When it is late.
    #[must_use]
    pub fn late_from(&self) -> Option<Instant> {
        self.sent.map(|sent| sent + LATE)
    }

    /// What to tell who waits of a wake that is late.
    #[must_use]
    pub fn late() -> Tell {
        Tell::Delayed {
            reason: API_UNAVAILABLE.into(),
            message: LATE_FOR_CLIENTS.into(),
        }
    }

    /// When it has failed if nothing more is heard.
    #[must_use]
    pub fn ends(&self) -> Instant {
        if let Some(begun) = self.begun {
            return begun + self.progress;
        }
        let unanswered = self.sent.filter(|_| self.unanswered.is_some());
        unanswered.map_or(self.deadline, |sent| self.deadline.min(sent + UNANSWERED))
    }

    /// It fell asleep under the wake, which begins once more: it gets the time to begin again, within that of
    /// one wake.
    pub fn restart(&mut self, limit: Duration, now: Instant) {
        if self.begun.take().is_some() {
            let latest = self.asked + self.progress;
            self.deadline = (now + limit).min(latest).max(self.deadline);
        }
        self.addressed = None;
        self.ours = None;
    }

    /// It is another wake that is under way by now: it has all its time.
    pub fn begin_again(&mut self, now: Instant) {
        if let Some(begun) = &mut self.begun {
            *begun = now;
            self.addressed = None;
        }
    }

    /// Whether the objects are as our own write has left them: somebody may have changed the mode by hand
    /// since, and another scaler woken it, without our having seen anything but its epoch.
    #[must_use]
    pub fn is_ours(&self, view: &View) -> bool {
        let Some((write, epoch)) = &self.ours else {
            return false;
        };
        let sandbox = view.sandbox.as_ref();
        if write.what == Intent::Bind {
            let is_bound = view
                .claim
                .as_ref()
                .is_some_and(|claim| claim.epoch == *epoch);
            return is_bound && sandbox.is_some_and(|sandbox| sandbox.woken.is_none());
        }
        sandbox.is_some_and(|sandbox| sandbox.uid == write.uid && sandbox.epoch == *epoch)
    }

    /// Its phases, if it is ready `now`.
    #[must_use]
    pub fn woke(&self, answers: bool, now: Instant) -> Woke {
        let begun = self.begun.unwrap_or(now);
        let addressed = self.addressed.unwrap_or(now).max(begun);
        Woke {
            cause: self.cause,
            decide: begun.saturating_duration_since(self.asked),
            start: addressed.saturating_duration_since(begun),
            ready: now.saturating_duration_since(addressed),
            parked: self.parked,
            answers,
        }
    }

    /// Why it is late, for the waiting client, given its pod.
    #[must_use]
    pub fn lateness(&self, pod: Option<&PodView>) -> Fault {
        if let (None, Some(how)) = (self.begun, &self.unanswered) {
            let message = format!("the wake could not be written: {how}");
            return Fault::quoting(API_UNAVAILABLE, message, UNANSWERED_FOR_CLIENTS);
        }
        let limit = match self.begun {
            Some(_) => self.progress,
            None => self.deadline.saturating_duration_since(self.asked),
        };
        let limit = limit.as_secs();
        let (reason, what) = match (self.begun, pod) {
            (None, Some(pod)) if pod.has_ended() => (
                "WakeTimeout",
                "its pod of before has ended and was not removed",
            ),
            (None, _) => ("WakeTimeout", "its wake could not be written"),
            (Some(_), None) => ("WakeTimeout", "it had no pod"),
            (Some(_), Some(pod)) if pod.ready => (
                "NotAnswering",
                "its pod accepted no connection on the port asked for",
            ),
            (Some(_), Some(pod)) if !pod.addressed => ("WakeTimeout", "its pod had no address"),
            (Some(_), Some(_)) => ("WakeTimeout", "its pod was not ready"),
        };
        Fault::new(
            reason,
            format!("the sandbox was not up within {limit} s: {what}"),
        )
    }
}
