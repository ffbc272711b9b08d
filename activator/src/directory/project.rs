//! From a target of the index to what its slot has to know.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use reveille_activator_core::past::Past;
use reveille_activator_core::view::{Denial, DenialKind, Limits, Pod, State, View};
use reveille_crds::change::{Fault, Hold, PodFacts, Probe};
use reveille_crds::index::Target;
use reveille_crds::sandbox::OperatingMode;
use reveille_crds::scaled_sandbox::{HttpSpec, Readiness, ScaledSandboxSpec, TriggerKind};

use super::Unmanaged;
use crate::config::Config;
use crate::slot::{Facts, HttpFacts};

/// Faults that its controller may get over by itself, as when the pod of before is still on its way out. How
/// long they are waited out is the scaler's to say, as of any wake.
const OF_THE_MOMENT: [&str; 2] = ["ReconcilerError", "MultiplePods"];

/// What a target looks like to its slot; `None` if it is not routable.
pub(super) fn project(
    target: &Target,
    unmanaged: &Unmanaged,
    past: &Arc<Mutex<Past>>,
) -> Option<(View, Facts)> {
    let sandbox = target.sandbox.as_ref().map(|(_, sandbox)| sandbox);
    if target.claim.is_none() && sandbox.is_none_or(|sandbox| sandbox.pool_member) {
        return None;
    }
    let policy = target.policy.as_ref().map(|(_, policy)| &policy.spec);
    let readiness = policy.map_or(Readiness::Auto, |policy| policy.wake.readiness);
    let is_wanted = is_wanted(target);
    let state = state(target, policy, readiness, is_wanted, unmanaged);
    let claim_epoch = || target.claim.as_ref().map_or(0, |(_, claim)| claim.epoch);
    let facts = Facts {
        sandbox_uid: sandbox.map(|sandbox| Arc::clone(&sandbox.uid)),
        pod: matches!(state, State::Awake(_))
            .then(|| target.pod.clone())
            .flatten(),
        readiness,
        websocket_idle: policy.map_or(unmanaged.websocket_idle, |policy| {
            seconds(policy.websocket_idle)
        }),
        stream_idle: policy
            .map(|policy| seconds(policy.stream_idle))
            .filter(|idle| !idle.is_zero()),
        http: policy.map_or(unmanaged.http, |policy| http(&policy.http)),
        past: Arc::clone(past),
        trouble: trouble(target),
        ports: sandbox.and_then(|sandbox| sandbox.ports.clone()),
        is_blocked: matches!(state, State::Blocked(_)),
        is_gone: false,
    };
    let view = View {
        // As the scaler counts: the Sandbox's, and the claim's while there is no Sandbox.
        epoch: sandbox.map_or_else(claim_epoch, |sandbox| sandbox.epoch),
        uid: facts.sandbox_uid.clone(),
        state,
        is_wanted,
        pod: target.pod.as_ref().map(|pod| Arc::clone(&pod.uid)),
        limits: limits(policy, unmanaged),
    };
    Some((view, facts))
}

/// The view of a target that is no more.
pub(super) fn gone(unmanaged: &Unmanaged) -> (View, Facts) {
    let facts = Facts {
        sandbox_uid: None,
        pod: None,
        readiness: Readiness::Auto,
        websocket_idle: unmanaged.websocket_idle,
        stream_idle: None,
        http: unmanaged.http,
        past: Arc::default(),
        trouble: None,
        ports: None,
        is_blocked: true,
        is_gone: true,
    };
    let state = blocked("NotFound", "the sandbox was deleted");
    (
        View {
            epoch: u64::MAX,
            uid: None,
            state,
            is_wanted: false,
            pod: None,
            limits: unmanaged.limits,
        },
        facts,
    )
}

/// Whether it is to be awake, whatever is in the way.
fn is_wanted(target: &Target) -> bool {
    let is_released = target
        .claim
        .as_ref()
        .is_some_and(|(_, claim)| claim.released);
    let sandbox = target.sandbox.as_ref();
    !is_released && sandbox.is_none_or(|(_, sandbox)| sandbox.mode == OperatingMode::Running)
}

fn state(
    target: &Target,
    policy: Option<&ScaledSandboxSpec>,
    readiness: Readiness,
    is_wanted: bool,
    unmanaged: &Unmanaged,
) -> State {
    let claim = target.claim.as_ref().map(|(_, claim)| claim);
    let sandbox = target.sandbox.as_ref().map(|(_, sandbox)| sandbox);
    let is_released = claim.is_some_and(|claim| claim.released);
    if sandbox.is_some_and(|sandbox| sandbox.deleting && !is_released)
        || claim.is_some_and(|claim| claim.deleting && !claim.released)
    {
        return blocked("Deleting", "the sandbox is being deleted");
    }
    if is_wanted
        && let Some(pod) = target
            .pod
            .as_ref()
            .and_then(|pod| awake(pod, readiness, limits(policy, unmanaged).progress()))
    {
        return State::Awake(pod);
    }
    let claim_fault = claim.and_then(|claim| claim.fault.as_ref());
    let fault = sandbox
        .and_then(|sandbox| sandbox.fault.as_ref())
        .or(claim_fault);
    if let Some(fault) = fault.filter(|fault| !OF_THE_MOMENT.contains(&&*fault.reason)) {
        return faulty(fault);
    }
    if is_wanted {
        return State::Waking;
    }
    if sandbox.is_some_and(|sandbox| sandbox.hold == Some(Hold::Asleep)) {
        return blocked("HeldAsleep", "an operator holds the sandbox asleep");
    }
    match policy {
        Some(policy) if policy.paused => blocked(
            "Paused",
            "the policy of the sandbox is paused, so it is not woken",
        ),
        Some(policy)
            if !policy
                .triggers
                .iter()
                .any(|trigger| trigger.kind == TriggerKind::Http) =>
        {
            blocked(
                "NoHttpTrigger",
                "the policy of the sandbox has no http trigger",
            )
        }
        None if !unmanaged.is_woken => blocked(
            "Unmanaged",
            "no policy governs the sandbox, so it is not woken",
        ),
        _ => State::Asleep,
    }
}

/// What the pod itself says holds it up.
fn trouble(target: &Target) -> Option<Arc<str>> {
    let fault = target.pod.as_ref()?.fault.as_ref()?;
    Some(format!("{}: {}", fault.reason, fault.for_clients()).into())
}

fn awake(pod: &PodFacts, readiness: Readiness, progress: Duration) -> Option<Pod> {
    let has_probe = matches!(
        pod.probe,
        Some(Probe::Http { .. } | Probe::Tcp { .. } | Probe::Grpc { .. } | Probe::Kubelet)
    );
    Some(Pod {
        uid: Arc::clone(&pod.uid),
        address: pod.ip?,
        ready: pod.ready,
        proven_by_ready: match readiness {
            Readiness::PodReady => true,
            Readiness::Auto => has_probe,
            Readiness::PortOpen => false,
        },
        is_recent: pod.created.is_some_and(|created| {
            let age = Timestamp::now().duration_since(created);
            Duration::try_from(age).is_ok_and(|age| age < progress)
        }),
    })
}

fn limits(policy: Option<&ScaledSandboxSpec>, unmanaged: &Unmanaged) -> Limits {
    policy.map_or(unmanaged.limits, |policy| Limits {
        max_requests: policy.park.max_requests,
        max_wait: seconds(policy.park.max_wait),
        release_concurrency: policy.park.release_concurrency,
        wake_deadline: seconds(policy.wake.deadline),
        progress_deadline: seconds(policy.wake.progress_deadline_seconds),
        wake_steps: unmanaged.limits.wake_steps,
    })
}

/// How a sandbox without a policy is spoken to.
pub(super) fn unmanaged_http(config: &Config) -> HttpFacts {
    HttpFacts {
        response_timeout: config.response_header_timeout,
        idle_timeout: config.body_idle_timeout,
        ..http(&HttpSpec::default())
    }
}

fn http(spec: &HttpSpec) -> HttpFacts {
    HttpFacts {
        protocol: spec.protocol,
        response_timeout: seconds(spec.response_timeout),
        idle_timeout: seconds(spec.idle_timeout),
        host: spec.host,
        authorization: spec.authorization,
    }
}

fn faulty(fault: &Fault) -> State {
    State::Blocked(Denial {
        kind: DenialKind::Refused,
        reason: Arc::clone(&fault.reason),
        message: fault.for_clients().into(),
        retry_after: None,
    })
}

fn blocked(reason: &str, message: &str) -> State {
    State::Blocked(Denial {
        kind: DenialKind::Refused,
        reason: reason.into(),
        message: message.into(),
        retry_after: None,
    })
}

const fn seconds(n: u32) -> Duration {
    Duration::from_secs(n as u64)
}
