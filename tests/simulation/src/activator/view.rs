//! What the activator's core is told: of a target by the watch, of a wake by a scaler.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille_activator_core::entry::Outcome;
use reveille_activator_core::view::{Delay, Denial, DenialKind, Limits, Pod, State, View};
use reveille_scaler_core::act::Tell;
use reveille_scaler_core::view::{Hold, Mode};

use crate::join::Target;
use crate::mutant::Mutant;
use crate::objects::{Ip, Name, Sandbox};
use crate::plan::Plan;
use crate::sim::Sim;

/// As long as a ticket of a mutant lives.
const FOR_EVER: Duration = Duration::from_secs(86_400);

/// Unclaimed pool members are not.
pub(super) fn is_routable(target: &Target) -> bool {
    !target
        .sandbox
        .as_ref()
        .is_some_and(|(_, sandbox)| sandbox.pool_member)
}

/// What the core wants to know of a target.
pub(super) fn view(target: &Target, name: &Name, sim: &Sim, now: Instant) -> (View, Option<Ip>) {
    let claim_epoch = target.claim.as_ref().map_or(0, |claim| claim.epoch);
    let epoch = target
        .sandbox
        .as_ref()
        .map_or(claim_epoch, |(_, sandbox)| sandbox.epoch);
    let is_released = target.claim.as_ref().is_some_and(|claim| claim.released);
    let mut pod = target.pod.clone();
    if sim.mutant == Some(Mutant::TerminatingAccepted) {
        pod = pod.or_else(|| target.terminating.clone());
    }
    let mut address = None;
    let state = match &target.sandbox {
        _ if is_released => State::Asleep,
        None => State::Waking,
        Some((_, sandbox)) if sandbox.deleting => blocked("Deleting"),
        Some((_, sandbox)) if sandbox.mode == Mode::Suspended => asleep(target, sandbox, now),
        Some((_, sandbox)) => match pod.as_deref().and_then(|pod| Some((pod, pod.ip?))) {
            Some((pod, ip)) => {
                address = Some(ip);
                State::Awake(Pod {
                    uid: Arc::clone(&pod.uid),
                    address: ip_address(ip),
                    ready: pod.ready,
                    proven_by_ready: sim.plan.pods.probed,
                    is_recent: false,
                })
            }
            None if sandbox.expires.is_some_and(|at| now >= at) => blocked("SandboxExpired"),
            None => State::Waking,
        },
    };
    let is_wanted = !is_released
        && target
            .sandbox
            .as_ref()
            .is_none_or(|(_, sandbox)| sandbox.mode == Mode::Running);
    let mut limits = limits(&sim.plan, name);
    if sim.mutant == Some(Mutant::TicketsNeverExpire) {
        (limits.max_wait, limits.wake_deadline) = (FOR_EVER, FOR_EVER);
    }
    (
        View {
            epoch,
            uid: target
                .sandbox
                .as_ref()
                .map(|(_, sandbox)| Arc::clone(&sandbox.uid)),
            state,
            is_wanted,
            pod: pod.map(|pod| Arc::clone(&pod.uid)),
            limits,
        },
        address,
    )
}

fn asleep(target: &Target, sandbox: &Sandbox, now: Instant) -> State {
    match () {
        () if sandbox.expires.is_some_and(|at| now >= at) => blocked("SandboxExpired"),
        () if sandbox.hold == Some(Hold::Asleep) => blocked("HeldAsleep"),
        () if target.policy.as_ref().is_some_and(|policy| policy.paused) => blocked("Paused"),
        () => State::Asleep,
    }
}

fn blocked(reason: &str) -> State {
    State::Blocked(Denial {
        kind: DenialKind::Refused,
        reason: reason.into(),
        message: reason.into(),
        retry_after: None,
    })
}

/// The view of a target that is no more.
pub(super) fn gone() -> View {
    let (epoch, state) = (u64::MAX, blocked("NotFound"));
    View {
        epoch,
        uid: None,
        state,
        is_wanted: false,
        pod: None,
        limits: Limits::default(),
    }
}

fn limits(plan: &Plan, name: &Name) -> Limits {
    let Some(target) = plan.target(name) else {
        return Limits::default();
    };
    Limits {
        max_requests: target.limits.max_requests,
        max_wait: plan.longest_wait(name),
        release_concurrency: target.limits.release_concurrency,
        wake_deadline: target.policy.wake_deadline,
        progress_deadline: target.policy.progress_deadline,
        ..Limits::default()
    }
}

const fn ip_address(ip: Ip) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, ip))
}

/// What a scaler said, in the activator's words.
pub(super) fn outcome(tell: Tell) -> Outcome {
    match tell {
        Tell::Waking { .. } => Outcome::Waking,
        Tell::Refused(refusal) => Outcome::Denied(Denial {
            kind: DenialKind::Refused,
            reason: refusal.reason().into(),
            message: refusal.message().into(),
            retry_after: None,
        }),
        Tell::Failed {
            reason,
            message,
            retry_after,
        } => Outcome::Denied(Denial {
            kind: DenialKind::Failed,
            reason,
            message,
            retry_after: Some(retry_after),
        }),
        Tell::Delayed { reason, message } => Outcome::Delayed(Delay { reason, message }),
    }
}
