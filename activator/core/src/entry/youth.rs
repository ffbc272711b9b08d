//! The youth of a pod: as long as it is on its way up, nothing that it does not do yet is held against it.

use std::time::{Duration, Instant};

use super::{Entry, REFUSAL_HOLDS};
use crate::view::{Denial, DenialKind, State};

/// For so long a port must have been probed in vain before it is said not to answer: one probe that the network
/// swallows takes 1 s.
const PROBED: Duration = Duration::from_secs(2);

/// A pod is young until it has had the time of a wake; where it has answered, on whatever port, only as long
/// as a request waits for one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Youth {
    since: Instant,
    has_answered: bool,
}

impl Youth {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            since: now,
            has_answered: false,
        }
    }
}

impl<W> Entry<W> {
    /// Until when the present pod is young.
    pub(super) fn young_until(&self) -> Option<Instant> {
        let limits = &self.view.limits;
        self.youth.map(|youth| {
            let length = if youth.has_answered {
                limits.wake_deadline
            } else {
                limits.progress()
            };
            youth.since + length
        })
    }

    /// Whether it is on its way up by the watch: wanted awake, and its pod has not answered yet.
    pub(super) fn is_starting(&self, now: Instant) -> bool {
        match &self.view.state {
            State::Waking => true,
            State::Awake(pod) => {
                self.youth.is_some_and(|youth| !youth.has_answered) && self.is_allowed(pod, now)
            }
            _ => false,
        }
    }

    /// The present pod has answered, or its probe has.
    pub(super) fn note_answer(&mut self) {
        if let Some(youth) = &mut self.youth {
            youth.has_answered = true;
        }
    }

    /// Keeps since when the present pod is probed.
    pub(super) fn note_probing(&mut self, now: Instant) {
        let is_probed = self.probe(now).is_some();
        if let Some(wait) = &mut self.wait {
            wait.probed_since = is_probed.then(|| wait.probed_since.unwrap_or(now));
        }
    }

    /// The youth of a pod ends. Whoever waited until then for a port that was probed in vain is told so; whoever
    /// came too late for that, or comes later, is sent on Ready alone, and the dial will tell.
    pub(super) fn end_youth(&mut self, now: Instant) -> Option<Denial> {
        self.young_until().filter(|until| *until <= now)?;
        self.youth = None;
        let probed = self.wait.as_ref().and_then(|wait| wait.probed_since);
        let is_probed = probed.is_some_and(|since| now >= since + PROBED);
        let pod = self.pod()?;
        let is_silent = is_probed
            && pod.ready
            && !pod.proven_by_ready
            && self.opened.as_ref() != Some(&pod.uid)
            && self.is_allowed(pod, now);
        let limit = self.view.limits.progress().as_secs();
        is_silent.then(|| Denial {
            kind: DenialKind::Failed,
            reason: "NotAnswering".into(),
            message: format!(
                "the sandbox was not up within {limit} s: its pod accepted no connection on the port \
                 asked for"
            )
            .into(),
            retry_after: Some(REFUSAL_HOLDS),
        })
    }
}
