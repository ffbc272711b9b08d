//! Who leads: the rules of a lease that one scaler at a time holds, as client-go has them, on one's own clock.
//!
//! - Only a monotonic clock counts, and only one's own. The times in the record are for people.
//! - Another's lease has run out when its version has not changed before one's own eyes for a whole lease.
//! - Every write names the version that it replaces, so of two that write at once one is refused.
//! - Leading lasts until `renew_deadline` after the *start* of the last write that is known to be done. That
//!   is over, and every write begun by then has ended, before anybody else can take the lease: see
//!   [`Timing::is_safe`].
//! - A write without an answer proves nothing: the record is read again before the next one. A record under
//!   one's own name that this machine does not know to be its own is another's: of an earlier life, or of a
//!   write whose answer was lost.
//!
//! ```text
//! poll ─▶ Step ─▶ shell: GET or PUT ─▶ observed (a read) · done (a write, or a read that failed) ─▶ poll
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

/// How far from the truth clocks may go, in parts of a hundred: a monotonic clock is steered by much less.
const CLOCK_ERROR: u32 = 3;
/// After a step that failed or lost a race the next one waits a retry interval divided by this.
const HASTE: u32 = 4;

/// The intervals of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A lease that nobody renews for so long may be taken.
    pub lease: Duration,
    /// The holder leads for so long after the start of a renewal.
    pub renew_deadline: Duration,
    /// Between two renewals of the holder, and between two looks of the others.
    pub retry: Duration,
}

impl Default for Timing {
    /// Those of client-go.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

impl Timing {
    /// Whether all that a holder begins while it leads, and that takes up to `write_timeout`, has ended
    /// before another can lead; and whether a renewal may fail without leading being lost at once.
    #[must_use]
    pub fn is_safe(&self, write_timeout: Duration) -> bool {
        let ended = (self.renew_deadline + write_timeout) * (100 + CLOCK_ERROR);
        let taken = self.lease * (100 - CLOCK_ERROR);
        ended < taken && !self.retry.is_zero() && self.retry * 2 <= self.renew_deadline
    }
}

/// A lease as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// `resourceVersion`: differs after every write.
    pub version: Arc<str>,
    /// `holderIdentity`; none, or empty: it was given up.
    pub holder: Option<Arc<str>>,
    /// `leaseTransitions`.
    pub transitions: u64,
    /// `leaseDurationSeconds`.
    pub lease: Duration,
}

/// What the shell is to do with the lease object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// GET it.
    Read,
    /// POST it, with us as the holder.
    Create {
        /// `leaseTransitions` to write.
        transitions: u64,
    },
    /// PUT us as the holder; `acquireTime` begins.
    Take {
        /// `resourceVersion` that it must have.
        version: Arc<str>,
        /// `leaseTransitions` to write.
        transitions: u64,
    },
    /// PUT a new `renewTime`.
    Renew {
        /// `resourceVersion` that it must have.
        version: Arc<str>,
    },
    /// PUT an empty `holderIdentity`.
    GiveUp {
        /// `resourceVersion` that it must have.
        version: Arc<str>,
    },
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; it has this `resourceVersion` now.
    Written(Arc<str>),
    /// Not done: it is there already, is not there any more, or has another version.
    Conflict,
    /// Done, or not, or yet to be done.
    Unknown,
}

/// What to do now, and when to ask again at the latest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// Bring its outcome back, one for each step: what answers a step after it was given up is dropped.
    pub step: Option<Step>,
    /// `None`: not before the step under way has an outcome.
    pub next: Option<Instant>,
}

/// The election as one scaler sees it.
#[derive(Debug)]
pub struct Election {
    identity: Arc<str>,
    timing: Timing,
    /// The record as last read or written; none: there is no such object.
    seen: Option<Record>,
    /// What was last seen is not what is there any more, or may not be.
    is_stale: bool,
    /// Another held it, and may lead until then.
    taken_until: Option<Instant>,
    term: Option<Term>,
    /// The step under way, and when it was begun.
    under_way: Option<(Step, Instant)>,
    /// No step before this.
    due: Instant,
    /// We stopped for good; the record is given up after this.
    resigned: Option<Instant>,
    /// The highest `leaseTransitions` that was seen.
    transitions: u64,
}

/// A time in which we are the holder.
#[derive(Clone, Copy, Debug)]
struct Term {
    transitions: u64,
    until: Instant,
}

impl Election {
    /// Nothing is known of the lease. `identity` should differ for each start of a process: a lease of an
    /// earlier life is waited for as another's.
    #[must_use]
    pub const fn new(identity: Arc<str>, timing: Timing, now: Instant) -> Self {
        Self {
            identity,
            timing,
            seen: None,
            is_stale: true,
            taken_until: None,
            term: None,
            under_way: None,
            due: now,
            resigned: None,
            transitions: 0,
        }
    }

    /// What is to be done now. One step is under way at a time.
    pub fn poll(&mut self, now: Instant) -> Poll {
        let ends = self.leads_until().filter(|until| *until > now);
        if self.under_way.is_some() {
            let step = None;
            return Poll { step, next: ends };
        }
        let Some(due) = self.next_step_at() else {
            let step = None;
            return Poll { step, next: None };
        };
        if now < due {
            let step = None;
            let next = ends.into_iter().chain([due]).min();
            return Poll { step, next };
        }
        let step = self.choose(now);
        self.under_way = Some((step.clone(), now));
        Poll {
            step: Some(step),
            next: ends,
        }
    }

    /// The lease was read: as it is, or none where there is none. `now` is when the answer came.
    pub fn observed(&mut self, record: Option<Record>, now: Instant) {
        if !matches!(self.under_way, Some((Step::Read, _))) {
            return;
        }
        self.under_way = None;
        self.is_stale = false;
        self.due = now;
        let Some(record) = record else {
            self.seen = None;
            self.term.take_if(|_| self.resigned.is_some());
            if self.taken_until.is_some_and(|until| now < until) {
                self.due = now + self.timing.retry;
            }
            return;
        };
        self.transitions = self.transitions.max(record.transitions);
        let has_changed = self
            .seen
            .as_ref()
            .is_none_or(|seen| seen.version != record.version);
        if self.is_ours(&record) {
            self.taken_until = None;
        } else if is_held(&record) {
            self.term = None;
            if has_changed || self.taken_until.is_none() {
                self.taken_until = Some(now + self.timing.lease.max(record.lease));
            }
            let look = now + self.timing.retry;
            self.due = self.taken_until.map_or(look, |until| until.min(look));
        } else {
            self.term = None;
            self.taken_until = None;
        }
        self.seen = Some(record);
    }

    /// What became of a step: of a write, or of a read that failed.
    pub fn done(&mut self, step: &Step, outcome: &Outcome, now: Instant) {
        let Some((_, began)) = self.under_way.take_if(|(begun, _)| begun == step) else {
            return;
        };
        let Outcome::Written(version) = outcome else {
            self.is_stale = true;
            self.due = now + self.timing.retry / HASTE;
            return;
        };
        self.due = began + self.timing.retry;
        let transitions = match step {
            Step::Read => return,
            Step::Create { transitions } | Step::Take { transitions, .. } => *transitions,
            Step::Renew { .. } | Step::GiveUp { .. } => self.term().unwrap_or(self.transitions),
        };
        let gives_up = matches!(step, Step::GiveUp { .. });
        self.transitions = transitions;
        self.taken_until = None;
        self.seen = Some(Record {
            version: Arc::clone(version),
            holder: (!gives_up).then(|| Arc::clone(&self.identity)),
            transitions,
            lease: self.timing.lease,
        });
        let until = began + self.timing.renew_deadline;
        self.term = (!gives_up).then_some(Term { transitions, until });
    }

    /// We lead no more, for good. From `after` on, when every write that was begun while we led has ended,
    /// the lease is given up, so that another need not wait; may be called again with an earlier instant.
    pub fn resign(&mut self, after: Instant) {
        let earlier = self.resigned.map_or(after, |at| at.min(after));
        self.resigned = Some(earlier);
    }

    /// Whether what only a leader may do may be begun.
    #[must_use]
    pub fn leads(&self, now: Instant) -> bool {
        self.leads_until().is_some_and(|until| now < until)
    }

    /// Until when we lead if nothing more is heard. Who begins something checks this at that instant: a
    /// process that was suspended may find itself beyond it before it could be told.
    #[must_use]
    pub fn leads_until(&self) -> Option<Instant> {
        let term = self.term.filter(|_| self.resigned.is_none())?;
        Some(term.until)
    }

    /// `leaseTransitions` of our term: higher than that of any leader before us.
    #[must_use]
    pub fn term(&self) -> Option<u64> {
        self.term.map(|term| term.transitions)
    }

    /// Who holds the lease, as last seen.
    #[must_use]
    pub fn holder(&self) -> Option<&Arc<str>> {
        self.seen.as_ref()?.holder.as_ref()
    }

    /// Whether there is nothing left to do: we resigned, and the lease is not ours any more.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.resigned.is_some() && self.term.is_none() && self.under_way.is_none()
    }

    /// When the next step is due; `None`: never.
    fn next_step_at(&self) -> Option<Instant> {
        match self.resigned {
            None => Some(self.due),
            Some(_) if self.term.is_none() => None,
            // What the record is like is of interest only once it may be given up.
            Some(after) if self.is_stale => Some(self.due.max(after)),
            Some(after) => Some(after),
        }
    }

    fn choose(&self, now: Instant) -> Step {
        let is_taken = self.taken_until.is_some_and(|until| now < until);
        if self.is_stale {
            return Step::Read;
        }
        let next = self.transitions + 1;
        let Some(seen) = &self.seen else {
            return if is_taken {
                Step::Read
            } else {
                Step::Create { transitions: next }
            };
        };
        let version = Arc::clone(&seen.version);
        match self.is_ours(seen) {
            true if self.resigned.is_some() => Step::GiveUp { version },
            true => Step::Renew { version },
            false if is_taken => Step::Read,
            false => Step::Take {
                version,
                transitions: next,
            },
        }
    }

    /// Whether we wrote it: whoever takes a lease counts its transitions on.
    fn is_ours(&self, record: &Record) -> bool {
        let is_named = record.holder.as_ref() == Some(&self.identity);
        let same_term = |term: Term| term.transitions == record.transitions;
        is_named && self.term.is_some_and(same_term)
    }
}

fn is_held(record: &Record) -> bool {
    record
        .holder
        .as_ref()
        .is_some_and(|holder| !holder.is_empty())
}

#[cfg(test)]
mod tests;
