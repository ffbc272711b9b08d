//! The status of Sandboxes, claims and pools, as upstream's controller writes it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use reveille_crds::claim::{BoundSandbox, SandboxClaimStatus};
use reveille_crds::names::{label, name_hash};
use reveille_crds::sandbox::{OperatingMode, SandboxStatus};

use crate::store::SandboxObject;

/// One node: this machine.
pub(super) const NODE: &str = "localhost";

/// What a condition says, before its times.
pub(super) struct Verdict {
    pub(super) kind: &'static str,
    pub(super) on: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Verdict {
    pub(super) fn new(
        kind: &'static str,
        on: bool,
        reason: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            on,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }
}

/// Conditions out of verdicts; the transition times of what did not change are kept.
pub(super) fn conditions(
    old: &[Condition],
    generation: Option<i64>,
    verdicts: Vec<Verdict>,
) -> Vec<Condition> {
    let now = Timestamp::now();
    let mut conditions = Vec::with_capacity(verdicts.len());
    for verdict in verdicts {
        let status = if verdict.on { "True" } else { "False" };
        let same = old
            .iter()
            .find(|old| old.type_ == verdict.kind && old.status == status);
        conditions.push(Condition {
            type_: verdict.kind.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason,
            message: verdict.message,
            observed_generation: generation,
            last_transition_time: same
                .map_or_else(|| Time(now), |same| same.last_transition_time.clone()),
        });
    }
    conditions
}

/// The status of a Sandbox that is not expired.
pub(super) fn sandbox(object: &SandboxObject, pod: Option<&Pod>) -> SandboxStatus {
    let sandbox = &object.sandbox;
    let old = sandbox.status.as_ref();
    let terminal = pod.and_then(terminal);
    let mut verdicts = vec![
        ready(sandbox.spec.operating_mode, pod),
        suspended(sandbox.spec.operating_mode, pod),
    ];
    if pod.is_some() {
        verdicts.push(Verdict::new("PodScheduled", true, "PodScheduled", ""));
    }
    if let Some(reason) = terminal {
        verdicts.push(Verdict::new(
            "Finished",
            true,
            reason,
            "the pod ended; a sleep and a wake start a new one",
        ));
    }
    let meta = &sandbox.metadata;
    let name = meta.name.as_deref().unwrap_or_default();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let served = sandbox.spec.service == Some(true);
    SandboxStatus {
        conditions: conditions(
            old.map_or(&[], |old| &old.conditions),
            meta.generation,
            verdicts,
        ),
        service: served.then(|| name.to_owned()),
        service_fqdn: served.then(|| format!("{name}.{namespace}.svc.cluster.local")),
        selector: Some(format!("{}={}", label::NAME_HASH, name_hash(name))),
        pod_ips: pod
            .and_then(|pod| pod.status.as_ref()?.pod_ip.clone())
            .into_iter()
            .collect(),
        node_name: pod.map(|_| NODE.to_owned()),
    }
}

/// The status of a Sandbox that is expired and kept: nothing but that.
pub(super) fn expired(object: &SandboxObject) -> SandboxStatus {
    let old = object
        .sandbox
        .status
        .as_ref()
        .map_or(&[][..], |old| &old.conditions);
    let mut all = conditions(
        old,
        object.sandbox.metadata.generation,
        vec![Verdict::new(
            "Ready",
            false,
            "SandboxExpired",
            "spec.shutdownTime is over; move it forward to wake the sandbox",
        )],
    );
    // Upstream does not compute it again either.
    all.extend(
        old.iter()
            .find(|condition| condition.type_ == "Suspended")
            .cloned(),
    );
    SandboxStatus {
        conditions: all,
        ..SandboxStatus::default()
    }
}

/// The status of a bound claim: the Sandbox's Ready and Finished with the claim's generation.
pub(super) fn claim(
    old: &[Condition],
    generation: Option<i64>,
    name: &str,
    sandbox: &SandboxObject,
) -> SandboxClaimStatus {
    let status = sandbox.sandbox.status.as_ref();
    let forward = |kind: &'static str| {
        let found = status?
            .conditions
            .iter()
            .find(|condition| condition.type_ == kind)?;
        Some(Verdict::new(
            kind,
            found.status == "True",
            &found.reason,
            found.message.clone(),
        ))
    };
    let ready = forward("Ready")
        .unwrap_or_else(|| Verdict::new("Ready", false, "SandboxNotReady", "the sandbox starts"));
    let verdicts = std::iter::once(ready).chain(forward("Finished")).collect();
    let pod_ips = status
        .map(|status| status.pod_ips.clone())
        .unwrap_or_default();
    SandboxClaimStatus {
        conditions: conditions(old, generation, verdicts),
        sandbox: Some(BoundSandbox {
            name: name.to_owned(),
            pod_ips,
        }),
    }
}

/// Whether the pod answers.
pub(super) fn is_ready(object: &SandboxObject) -> bool {
    let conditions = object
        .sandbox
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.conditions);
    conditions
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Why a pod that ended is not started again.
pub(super) fn terminal(pod: &Pod) -> Option<&'static str> {
    match pod.status.as_ref()?.phase.as_deref()? {
        "Succeeded" => Some("PodSucceeded"),
        "Failed" => Some("PodFailed"),
        _ => None,
    }
}

fn ready(mode: OperatingMode, pod: Option<&Pod>) -> Verdict {
    let not_ready = |message: String| Verdict::new("Ready", false, "DependenciesNotReady", message);
    match (mode, pod) {
        (OperatingMode::Suspended, Some(_)) => {
            Verdict::new("Ready", false, "SandboxSuspended", "Sandbox is suspending")
        }
        (OperatingMode::Suspended, None) => {
            Verdict::new("Ready", false, "SandboxSuspended", "Sandbox is suspended")
        }
        (OperatingMode::Running, None) => not_ready("Pod does not exist".to_owned()),
        (OperatingMode::Running, Some(pod)) => {
            if pod.metadata.deletion_timestamp.is_some() {
                return not_ready("waiting for the previous pod to end".to_owned());
            }
            if let Some(reason) = terminal(pod) {
                return Verdict::new("Ready", false, reason, "the pod ended");
            }
            let status = pod.status.as_ref();
            let conditions = status
                .and_then(|status| status.conditions.as_deref())
                .unwrap_or_default();
            if conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
            {
                return Verdict::new("Ready", true, "DependenciesReady", "Pod is Ready");
            }
            not_ready(waits(pod).unwrap_or_else(|| "Pod is not Ready".to_owned()))
        }
    }
}

/// What the first waiting container says.
fn waits(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let all = status
        .init_container_statuses
        .iter()
        .flatten()
        .chain(status.container_statuses.iter().flatten());
    all.into_iter().find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let message = waiting.message.as_deref()?;
        Some(format!(
            "{}: {}: {message}",
            container.name,
            waiting.reason.as_deref().unwrap_or_default()
        ))
    })
}

fn suspended(mode: OperatingMode, pod: Option<&Pod>) -> Verdict {
    match (mode, pod) {
        (OperatingMode::Running, _) => Verdict::new(
            "Suspended",
            false,
            "NotSuspended",
            "Sandbox is not suspended",
        ),
        (OperatingMode::Suspended, Some(_)) => {
            Verdict::new("Suspended", false, "PodTerminating", "Pod is terminating")
        }
        (OperatingMode::Suspended, None) => {
            Verdict::new("Suspended", true, "PodTerminated", "Pod is terminated")
        }
    }
}
