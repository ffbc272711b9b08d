//! The decision: from what is known of one target to what should become of it. A function of values.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::act::SleepReason;
use crate::lease::Source;
use crate::ledger::Demand;
use crate::roster::Silence;
use crate::view::{Blocked, Hold, Policy};
use crate::wake::Cause;
use crate::why::Why;

/// Pause before a member that blocks a sleep is looked at again: their report interval.
const LISTEN: Duration = Duration::from_secs(1);
/// The agent is asked so long before its sleep, so that the answer delays nothing.
const NEAR: Duration = Duration::from_secs(1);

/// What is known of one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Where it stands.
    pub phase: Phase,
    /// Not ours to touch.
    pub blocked: Option<Blocked>,
    /// Operator's pin.
    pub hold: Option<Hold>,
    /// Its policy.
    pub policy: Option<Policy>,
    /// Somebody asked for it, and a wake may be written from this instant on.
    pub wanted: Option<(Cause, Instant)>,
    /// An ask so young that no report of its activator can have told of it yet: until then.
    pub asked_until: Option<Instant>,
    /// Merged over all activators.
    pub demand: Demand,
    /// The longest busy lease.
    pub lease: Option<(Instant, Source)>,
    /// Before this nothing is known of it; it counts as active.
    pub unknown_until: Instant,
    /// When `initialCooldownPeriod` ends.
    pub settled: Option<Instant>,
    /// Sleep without waiting for a cooldown, for this reason.
    pub hurry: Option<SleepReason>,
    /// Why nothing may sleep.
    pub silence: Option<Silence>,
    /// No drain before this.
    pub drain_after: Option<Instant>,
    /// The last wake failed of this; no wake of ours before that.
    pub wake_after: Option<(Instant, Arc<str>)>,
    /// What the agent said when it was asked.
    pub asked_agent: AskedAgent,
    /// The pod that is there has ended and will not come up again.
    pub pod_ended: bool,
}

/// Where a target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing there.
    Gone,
    /// Suspended or released.
    Asleep,
    /// Running, but not ready yet; nothing of ours is under way.
    Starting {
        /// First seen so.
        since: Instant,
        /// It will not come up by waiting.
        faulty: bool,
    },
    /// A claim without a Sandbox; its controller is binding it.
    Binding,
    /// A wake is under way until its deadline.
    Waking(Cause),
    /// Ready.
    Awake {
        /// First seen so.
        since: Instant,
    },
}

/// What the agent said when it was last asked whether it is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedAgent {
    /// It was not asked since it woke.
    Never,
    /// Its answer is awaited.
    Awaited,
    /// Not busy; the word holds until then.
    Idle {
        /// One period after the answer.
        until: Instant,
    },
    /// Busy: no sleep before it was asked again.
    Again {
        /// One period after the question.
        from: Instant,
    },
    /// There was no usable answer, which is neither busy nor idle: no sleep before it was asked again.
    Unknown {
        /// One period after the question.
        from: Instant,
    },
}

/// What should become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing, and nothing before `until` unless something is heard.
    Stay {
        /// When to decide again.
        until: Option<Instant>,
        /// What keeps it as it is.
        why: Why,
    },
    /// Wake it.
    Wake(Cause),
    /// Ask the agent whether it is busy.
    AskBusy,
    /// Drain it, then put it to sleep.
    Sleep(SleepReason),
}

/// Decides what should become of a target.
#[must_use]
pub fn decide(seen: &Observation, now: Instant) -> Decision {
    if let Some(blocked) = seen.blocked {
        return stay(Why::Blocked(blocked));
    }
    match seen.phase {
        Phase::Gone => stay(Why::Gone),
        Phase::Asleep => decide_asleep(seen, now),
        Phase::Waking(cause) => stay(Why::Waking(cause)),
        Phase::Binding if seen.hurry == Some(SleepReason::WakeFailed) => {
            decide_awake(seen, now, Some(true), now)
        }
        Phase::Binding => stay(Why::Starting),
        Phase::Starting { since, faulty } => decide_awake(seen, since, Some(faulty), now),
        Phase::Awake { since } => decide_awake(seen, since, None, now),
    }
}

/// When an awake target will be put to sleep if nothing more is heard, and what keeps it awake longest.
#[must_use]
pub fn sleeps_at(seen: &Observation) -> Option<(Instant, Why)> {
    let policy = seen.policy.filter(|policy| !policy.paused)?;
    let (deadline, why) = match seen.phase {
        Phase::Awake { since }
        | Phase::Starting {
            since,
            faulty: true,
        } => cooldown(seen, &policy, since),
        Phase::Starting {
            since,
            faulty: false,
        } => never_ready(seen, &policy, since),
        Phase::Gone | Phase::Asleep | Phase::Binding | Phase::Waking(_) => return None,
    };
    let under_way = seen.demand.in_flight > 0 || seen.demand.parked > 0;
    if seen.blocked.is_some() || seen.hold == Some(Hold::Awake) || under_way {
        return None;
    }
    match seen.lease {
        Some((end, source)) if end > deadline => Some((end, Why::Busy(source))),
        _ => Some((deadline, why)),
    }
}

fn decide_asleep(seen: &Observation, now: Instant) -> Decision {
    let paused = seen.policy.is_some_and(|policy| policy.paused);
    match (seen.hold, seen.wanted) {
        (Some(Hold::Asleep), _) => stay(Why::HeldAsleep),
        _ if paused => stay(Why::Paused),
        // Woken before its controller has removed it, the sandbox would be left with a dead pod.
        (_, Some((cause, _))) if seen.pod_ended => stay(Why::Waking(cause)),
        (Some(Hold::Awake), None) if seen.pod_ended => stay(Why::Asleep),
        (_, Some((cause, from))) => {
            if now >= from {
                Decision::Wake(cause)
            } else {
                until(from, Why::Waking(cause))
            }
        }
        (Some(Hold::Awake), None) if seen.policy.is_some() => match &seen.wake_after {
            Some((at, fault)) if now < *at => until(*at, Why::WakeBackOff(Arc::clone(fault))),
            _ => Decision::Wake(Cause::Hold),
        },
        _ => match &seen.wake_after {
            Some((at, fault)) if now < *at => until(*at, Why::WakeBackOff(Arc::clone(fault))),
            _ => stay(Why::Asleep),
        },
    }
}

/// `starting`: not ready, and whether for good.
fn decide_awake(
    seen: &Observation,
    since: Instant,
    starting: Option<bool>,
    now: Instant,
) -> Decision {
    let hurry = hurry(seen, since, starting);
    // A wake of ours that failed is taken back even where nothing governs the sandbox, and so is obeyed who
    // orders a sleep.
    let taken_back = hurry == Some(SleepReason::WakeFailed);
    let ungoverned = taken_back || hurry.is_some_and(SleepReason::is_order);
    let Some(policy) = seen.policy.or_else(|| ungoverned.then(Policy::default)) else {
        return stay(Why::Unmanaged);
    };
    if policy.paused {
        return stay(Why::Paused);
    }
    if seen.hold == Some(Hold::Awake) && !taken_back {
        return stay(Why::HeldAwake);
    }
    if let Some(order) = hurry.filter(|hurry| hurry.is_order()) {
        return decide_order(seen, order, now);
    }
    if seen.demand.in_flight > 0 {
        return stay(Why::InFlight(seen.demand.in_flight));
    }
    if seen.demand.parked > 0 && !taken_back {
        return stay(Why::Parked(seen.demand.parked));
    }
    if let Some(asked_until) = seen.asked_until.filter(|at| now < *at && !taken_back) {
        return until(asked_until, Why::Asked);
    }
    let (deadline, why) = match (hurry, starting) {
        (Some(_), _) => (now, Why::Cooldown),
        (None, Some(false)) => never_ready(seen, &policy, since),
        (None, Some(true) | None) => cooldown(seen, &policy, since),
    };
    // Who may not put it to sleep anyway need not ask.
    let may_ask = hurry.is_none() && starting.is_none() && seen.silence.is_none();
    let question = may_ask.then(|| question(seen, &policy, deadline, now));
    let question = question.flatten();
    if let Some((end, source)) = seen.lease.filter(|_| !taken_back && !seen.pod_ended) {
        return match question.filter(|_| source == Source::Probe) {
            Some(Decision::Stay {
                until: Some(at), ..
            }) => until(at.min(end), Why::Busy(source)),
            // What it said when asked it may take back when asked again.
            Some(Decision::AskBusy) => Decision::AskBusy,
            _ => until(end, Why::Busy(source)),
        };
    }
    if let Some(decision) = question {
        return decision;
    }
    if now < deadline {
        return until(deadline, why);
    }
    if let Some(silence) = &seen.silence {
        return until(now + LISTEN, Why::Silence(silence.clone()));
    }
    match seen.drain_after {
        Some(at) if now < at => until(at, Why::DrainBackOff),
        _ if starting == Some(false) => Decision::Sleep(hurry.unwrap_or(SleepReason::NeverReady)),
        _ => Decision::Sleep(hurry.unwrap_or(SleepReason::Idle)),
    }
}

/// Why it is to sleep without waiting for its cooldown, if it is.
fn hurry(seen: &Observation, since: Instant, starting: Option<bool>) -> Option<SleepReason> {
    if seen.hold == Some(Hold::Asleep) {
        return Some(SleepReason::Held);
    }
    // Needed again since its pod ended: a sleep is the only way to a new one.
    let needed = seen.demand.last_active.is_some_and(|at| at >= since);
    let ended = starting.is_some() && seen.pod_ended && needed;
    seen.hurry
        .or_else(|| ended.then_some(SleepReason::PodEnded))
}

/// An operator always can: no lease, no request and no silent activator keeps from sleep what is ordered to.
fn decide_order(seen: &Observation, order: SleepReason, now: Instant) -> Decision {
    match (&seen.silence, seen.drain_after) {
        (Some(silence @ (Silence::NotLeading | Silence::Blind | Silence::LinkDown)), _) => {
            until(now + LISTEN, Why::Silence(silence.clone()))
        }
        (_, Some(at)) if now < at => until(at, Why::DrainBackOff),
        _ => Decision::Sleep(order),
    }
}

/// The latest of all that must have passed since it was needed.
fn cooldown(seen: &Observation, policy: &Policy, since: Instant) -> (Instant, Why) {
    let mut latest = (since + policy.minimum_uptime, Why::MinimumUptime);
    let mut consider = |at: Instant, why: Why| {
        if at > latest.0 {
            latest = (at, why);
        }
    };
    if let Some(settled) = seen.settled {
        consider(settled, Why::InitialCooldown);
    }
    let known = seen
        .demand
        .last_active
        .map_or(since, |active| active.max(since));
    consider(known + policy.cooldown, Why::Cooldown);
    consider(seen.unknown_until + policy.cooldown, Why::Unknown);
    latest
}

/// A start that nobody waits for has the time of a wake, and a cooldown on top.
fn never_ready(seen: &Observation, policy: &Policy, since: Instant) -> (Instant, Why) {
    let (quiet, _) = cooldown(seen, policy, since);
    (quiet.max(since + policy.progress()), Why::Starting)
}

/// Whether the agent itself has to be asked first: only near its sleep, and once per period.
fn question(
    seen: &Observation,
    policy: &Policy,
    deadline: Instant,
    now: Instant,
) -> Option<Decision> {
    policy.busy_period?;
    let near = deadline.checked_sub(NEAR).unwrap_or(now);
    let (from, required) = match seen.asked_agent {
        AskedAgent::Awaited => return (now >= deadline).then(|| stay(Why::AskingBusy)),
        AskedAgent::Never => (near, true),
        AskedAgent::Idle { until } => (near.max(until), until <= deadline.max(now)),
        AskedAgent::Again { from } | AskedAgent::Unknown { from } => (near.max(from), true),
    };
    let is_unknown = matches!(seen.asked_agent, AskedAgent::Unknown { .. });
    match () {
        () if !required => None,
        () if now >= from => Some(Decision::AskBusy),
        () => Some(until(
            from,
            match () {
                () if now < deadline => Why::Cooldown,
                () if is_unknown => Why::BusyUnknown,
                () => Why::AskingBusy,
            },
        )),
    }
}

fn stay(why: Why) -> Decision {
    Decision::Stay { until: None, why }
}

fn until(at: Instant, why: Why) -> Decision {
    Decision::Stay {
        until: Some(at),
        why,
    }
}
