//! What the API tells of one target.

use std::sync::Arc;
use std::time::Instant;

use crate::act::{SleepReason, Woke};
use crate::decide::{Decision, Observation, Phase, decide, sleeps_at};
use crate::flapping::Flapping;
use crate::roster::{Roster, Silence};
use crate::sandbox::Sandbox;
use crate::why::Why;

/// State in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Ready.
    Awake,
    /// Suspended or released.
    Asleep,
    /// Starting, whoever asked for it.
    Waking,
    /// About to sleep.
    Draining,
    /// Not ours to touch, or its wakes keep failing.
    Blocked,
}

impl State {
    /// Lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Awake => "awake",
            Self::Asleep => "asleep",
            Self::Waking => "waking",
            Self::Draining => "draining",
            Self::Blocked => "blocked",
        }
    }
}

/// What the API tells of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// In one word.
    pub state: State,
    /// Wakes and sleeps so far.
    pub epoch: u64,
    /// UID of the Sandbox, if there is one.
    pub uid: Option<Arc<str>>,
    /// Requests under way, merged over all activators.
    pub in_flight: u32,
    /// Requests parked, merged over all activators.
    pub parked: u32,
    /// The last wake since we started, and when it was done.
    pub last_wake: Option<(Instant, Woke)>,
    /// The last sleep since we started.
    pub last_sleep: Option<(Instant, SleepReason)>,
    /// When it sleeps if nothing more is heard.
    pub next_sleep: Option<Instant>,
    /// Why it is as it is.
    pub why: Why,
    /// What wakes it again and again right after its sleep, if anything does.
    pub flapping: Option<Flapping>,
}

impl Sandbox {
    /// Its state in one word.
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        if self.view().blocked(now).is_some() {
            return State::Blocked;
        }
        match self.phase(now) {
            Phase::Gone => State::Blocked,
            Phase::Asleep if self.is_failing(now) => State::Blocked,
            Phase::Asleep if self.is_wanted() => State::Waking,
            Phase::Asleep => State::Asleep,
            Phase::Awake { .. } if self.is_draining() => State::Draining,
            Phase::Awake { .. } => State::Awake,
            Phase::Starting { faulty: true, .. } => State::Blocked,
            Phase::Binding | Phase::Waking(_) | Phase::Starting { .. } => State::Waking,
        }
    }

    /// All that can be told of it.
    #[must_use]
    pub fn explain<K: Clone + Ord>(&self, roster: &Roster<K>, now: Instant) -> Explanation {
        let seen = self.observation(roster, now);
        let view = self.view();
        Explanation {
            state: self.state(now),
            epoch: view.epoch(),
            uid: view
                .sandbox
                .as_ref()
                .map(|sandbox| Arc::clone(&sandbox.uid)),
            in_flight: seen.demand.in_flight,
            parked: seen.demand.parked,
            last_wake: self.last_wake(),
            last_sleep: self.last_sleep(),
            next_sleep: sleeps_at(&seen).map(|(at, _)| at),
            why: self.why(&seen, now),
            flapping: self.flapping(now).cloned(),
        }
    }

    fn why(&self, seen: &Observation, now: Instant) -> Why {
        let is_faulty = matches!(seen.phase, Phase::Starting { faulty: true, .. });
        match decide(seen, now) {
            _ if self.is_draining() => Why::Draining,
            Decision::Stay {
                why: Why::Asleep, ..
            }
            | Decision::Wake(_)
                if self.is_writing() =>
            {
                Why::Writing
            }
            Decision::Stay {
                why: why @ Why::Blocked(_),
                ..
            } => why,
            // Whatever keeps it from sleeping: that it does not come up is what there is to know.
            Decision::Stay { why, .. } if is_faulty => {
                let fault = self.fault(now);
                fault.map_or(why, |fault| Why::Faulty(Arc::clone(&fault.reason)))
            }
            // Nobody can say any more how many there are.
            Decision::Stay {
                why: Why::InFlight(_) | Why::Parked(_),
                ..
            } if seen.silence == Some(Silence::LinkDown) => Why::Silence(Silence::LinkDown),
            Decision::Stay {
                why: Why::Cooldown, ..
            } => sleeps_at(seen).map_or(Why::Cooldown, |(_, why)| why),
            Decision::Stay { why, .. } => why,
            Decision::Wake(cause) => Why::Waking(cause),
            Decision::AskBusy => Why::AskingBusy,
            Decision::Sleep(_) => Why::Draining,
        }
    }
}
