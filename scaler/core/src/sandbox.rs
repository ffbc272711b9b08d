//! The machine of one target: joins what is seen, heard and written, and answers with what to do.
//!
//! ```text
//! observe  ask  report  reply  ready  command  probed  written        poll
//!    └──────┴──────┴──────┴──────┴───────┴────────┴───────┴──▶ state ──▶ acts, next instant
//! ```
//! Nothing happens outside [`Sandbox::poll`] but noting. One write is under way at a time, whatever asks
//! for it; a wake wins every tie against a sleep that is not written yet.

mod draining;
mod following;
mod hearing;
mod noticing;
mod polling;
mod seeing;
mod writing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::draining::CalledOff;
use self::seeing::Believed;
use crate::act::{Act, Note, SleepReason, Tell, Woke, Write};
use crate::decide::AskedAgent;
use crate::drain::Drain;
use crate::flapping::Flapping;
use crate::lease::Leases;
use crate::ledger::Ledger;
use crate::view::{Desired, Fault, View};
use crate::wake::{Attempt, Cause, Failures, Refusal};

/// What holds for all targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether a request may wake what no policy governs.
    pub wake_unmanaged: bool,
    /// How long a request waits for a wake of such a target.
    pub unmanaged_wake_deadline: Duration,
    /// Time a wake of such a target may take once it is under way.
    pub unmanaged_progress_deadline: Duration,
    /// Time for all activators to answer a drain.
    pub drain_timeout: Duration,
    /// How long a gate stays closed by itself; more than `drain_timeout` + `write_timeout`.
    pub drain_hold: Duration,
    /// What is in flight when a sleep is ordered has so long to end.
    pub order_grace: Duration,
    /// A write that was begun is done, refused or dead after this.
    pub write_timeout: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            wake_unmanaged: true,
            unmanaged_wake_deadline: Duration::from_secs(60),
            unmanaged_progress_deadline: Duration::from_secs(600),
            drain_timeout: Duration::from_millis(500),
            drain_hold: Duration::from_secs(10),
            order_grace: Duration::from_secs(30),
            write_timeout: Duration::from_secs(4),
        }
    }
}

/// An ask is repeated at least every 2 s while somebody waits; for so long it counts by itself.
const ASK_COUNTS: Duration = Duration::from_millis(2500);
/// Joining asks are answered no more often than this.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// The same refusal is noted no more often than this.
const NOTE_EVERY: Duration = Duration::from_secs(30);

/// What to do now, and when to ask again at the latest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Poll {
    /// In this order.
    pub acts: Vec<Act>,
    /// `None`: not before something is heard.
    pub next: Option<Instant>,
}

/// The machine of one target.
#[derive(Debug)]
pub struct Sandbox {
    rules: Arc<Rules>,
    /// What was seen, our own write that the watch has not shown yet included.
    view: View,
    /// That write.
    believed: Option<Box<Believed>>,
    /// When the present object was first seen, and how old it was then.
    met: Option<(Instant, Duration)>,
    stage: Stage,
    since: Instant,
    /// The pod that has been ready; it stays so until it shows a fault.
    ready_pod: Option<Arc<str>>,
    /// The pod that was there while it slept, and since when it is wanted awake again.
    old_pod: Option<(Arc<str>, Option<Instant>)>,
    ledger: Ledger,
    leases: Leases,
    /// The last ask of an activator.
    asked: Option<(Arc<str>, Instant)>,
    attempt: Option<Box<Attempt>>,
    /// The pod that an activator has connected to.
    answered: Option<Arc<str>>,
    /// A wake of ours whose pod is Ready, but which nobody has seen to answer yet.
    unproven: Option<Box<Attempt>>,
    /// Since when a wake that this scaler or another has written is on its way.
    woken: Option<Instant>,
    failures: Option<Box<Failures>>,
    drain: Option<Box<Drain>>,
    /// Orders that were called off, while a gate may not have heard.
    called_off: Vec<CalledOff>,
    /// A sleep whose write got no answer: it may still be done until then.
    settling: Option<Instant>,
    writing: Option<Box<Writing>>,
    /// Drains refused one after another, and when to ask again.
    drains_off: u32,
    drain_after: Option<Instant>,
    hurry: Option<SleepReason>,
    asked_agent: AskedAgent,
    /// Questions in a row without a usable answer.
    agent_silent: u32,
    /// It was put to sleep all the same, and no agent of it has answered since.
    agent_given_up: bool,
    nonce: u64,
    told: Option<Instant>,
    refused: Option<(Refusal, Instant)>,
    woke: Option<Box<(Instant, Woke)>>,
    slept: Option<(Instant, SleepReason)>,
    /// Who asked for the present wake, as its activator describes it.
    asked_by: Option<Arc<str>>,
    flapping: Option<Box<Flapping>>,
    /// Somebody else makes its claim again when it is released, so it is put to sleep as it is.
    made_again: bool,
    acts: Vec<Act>,
}

/// A coarse phase, kept to know since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Gone,
    Asleep,
    Binding,
    Starting,
    Awake,
}

#[derive(Debug)]
struct Writing {
    write: Write,
    /// On its way, rather than waiting for its turn.
    begun: bool,
}

impl Sandbox {
    /// A target about which nothing is known. Drains are numbered from `nonce`, which no other machine
    /// of this key has used or will use.
    #[must_use]
    pub fn new(rules: Arc<Rules>, nonce: u64, now: Instant) -> Self {
        Self {
            rules,
            view: View::default(),
            believed: None,
            met: None,
            stage: Stage::Gone,
            since: now,
            ready_pod: None,
            old_pod: None,
            ledger: Ledger::default(),
            leases: Leases::default(),
            asked: None,
            attempt: None,
            answered: None,
            unproven: None,
            woken: None,
            failures: None,
            drain: None,
            called_off: Vec::new(),
            settling: None,
            writing: None,
            drains_off: 0,
            drain_after: None,
            hurry: None,
            asked_agent: AskedAgent::Never,
            agent_silent: 0,
            agent_given_up: false,
            nonce,
            told: None,
            refused: None,
            woke: None,
            slept: None,
            asked_by: None,
            flapping: None,
            made_again: false,
            acts: Vec::new(),
        }
    }

    /// What the machine believes to be there, its own writes included.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.view
    }

    fn wake_limit(&self) -> Duration {
        self.view
            .policy
            .map_or(self.rules.unmanaged_wake_deadline, |policy| {
                policy.wake_deadline
            })
    }

    fn progress_limit(&self) -> Duration {
        self.view
            .policy
            .map_or(self.rules.unmanaged_progress_deadline, |policy| {
                policy.progress()
            })
    }

    fn refuse(&mut self, cause: Cause, refusal: Refusal, now: Instant) {
        self.acts.push(Act::Tell(Tell::Refused(refusal)));
        let said = self
            .refused
            .is_some_and(|(last, at)| last == refusal && now < at + NOTE_EVERY);
        if !said {
            self.refused = Some((refusal, now));
            self.acts.push(Act::Note(Note::Refused { cause, refusal }));
        }
    }

    /// Ends the wake under way as failed.
    fn fail(&mut self, fault: Fault, now: Instant) {
        let Some(attempt) = self.attempt.take() else {
            return;
        };
        self.writing
            .take_if(|writing| !writing.begun && writing.write.what.is_wake());
        let failures = Failures::after(self.failures.as_deref(), fault.clone(), now);
        let retry_after = failures
            .until(now)
            .map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        self.failures = Some(Box::new(failures));
        let Fault {
            reason,
            message,
            for_clients,
        } = fault;
        let tell = Tell::Failed {
            reason: Arc::clone(&reason),
            message: for_clients,
            retry_after,
        };
        self.acts.push(Act::Tell(tell));
        let after = now.saturating_duration_since(attempt.asked);
        self.acts.push(Act::Note(Note::WakeFailed {
            cause: attempt.cause,
            reason,
            message,
            after,
            retry_after,
        }));
        let managed = self.view.policy.is_some_and(|policy| !policy.paused);
        // One that is ready but does not answer who asks is not woken better by another try.
        let up = self.stage == Stage::Awake || self.pod(now).is_some_and(|pod| pod.ready);
        let running = self.view.desired() == Desired::Running;
        // One that this scaler could not begin may be another's, and have its time yet.
        let begun = attempt.begun.is_some();
        if begun && !up && (self.woken.is_some() || (managed && running)) {
            self.hurry = Some(SleepReason::WakeFailed);
        }
        self.asked = None;
    }
}

impl Sandbox {
    pub(crate) fn is_wanted(&self) -> bool {
        self.attempt.is_some()
    }

    /// Whether the activators are being asked to stop sending, or have been.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    pub(crate) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    pub(crate) fn is_failing(&self, now: Instant) -> bool {
        self.failures
            .as_ref()
            .is_some_and(|failures| failures.until(now).is_some())
    }

    pub(crate) fn last_wake(&self) -> Option<(Instant, Woke)> {
        self.woke.as_deref().copied()
    }

    pub(crate) const fn last_sleep(&self) -> Option<(Instant, SleepReason)> {
        self.slept
    }
}
