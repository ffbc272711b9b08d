//! What is kept of a Sandbox, a SandboxClaim and a ScaledSandbox ([`crate::change`]).
//!
//! A fault is a reason that no waiting will mend. It is believed only while the condition speaks of the
//! present generation of the object: a wake changes the spec, and the verdict on the spec before says
//! nothing about the new one.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, OwnerReference};
use serde_json::Value;

use crate::change::{ClaimFacts, Fault, Hold, Lapse, Misread, SandboxFacts};
use crate::claim::SandboxClaim;
use crate::labels::Labels;
use crate::names::{annotation, label};
use crate::released_claim::ReleasedClaim;
use crate::sandbox::{PodTemplate, Sandbox};
use crate::scaled_sandbox::{PolicyFacts, ScaledSandbox};

#[cfg(test)]
mod tests;

/// Reasons of a Sandbox's Ready condition that no waiting will mend.
const SANDBOX_FAULTS: [&str; 3] = ["SandboxExpired", "MultiplePods", "InvalidConfiguration"];

/// The same for a SandboxClaim: its own reasons, and those it forwards.
const CLAIM_FAULTS: [&str; 9] = [
    "TemplateNotFound",
    "WarmPoolNotFound",
    "InvalidMetadata",
    "EnvVarsInjectionRejected",
    "VolumeClaimTemplatesError",
    "ClaimExpired",
    "SandboxExpired",
    "MultiplePods",
    "InvalidConfiguration",
];

/// Upstream's reason for any error of a reconcile.
const RECONCILER_ERROR: &str = "ReconcilerError";

/// What the API server says to an update that lost a race; the controller tries again at once.
const CONFLICT: &str = "the object has been modified";

impl SandboxFacts {
    /// What is kept of `sandbox`.
    #[must_use]
    pub fn of(sandbox: &Sandbox) -> Self {
        let meta = &sandbox.metadata;
        let owner = controller(meta);
        let claim = owner.filter(|owner| owner.kind == "SandboxClaim");
        let in_pool = owner.is_some_and(|owner| owner.kind == "SandboxWarmPool")
            || meta
                .labels
                .as_ref()
                .is_some_and(|labels| labels.contains_key(label::WARM_POOL));
        let conditions = sandbox
            .status
            .as_ref()
            .map_or(&[][..], |status| &status.conditions);
        Self {
            uid: uid(meta),
            created: created(meta),
            labels: selectable(meta.labels.as_ref()),
            mode: sandbox.spec.operating_mode,
            epoch: epoch(meta),
            hold: hold(meta),
            busy_until: busy_until(meta).map(Box::new),
            misread: misread(meta),
            woken: woken(meta),
            shutdown_time: sandbox
                .spec
                .shutdown_time
                .as_ref()
                .map(|time| Box::new(time.0)),
            deleting: meta.deletion_timestamp.is_some(),
            pool_member: in_pool && claim.is_none(),
            claim: claim.map(|owner| owner.name.as_str().into()),
            claim_uid: claim.map(|owner| owner.uid.as_str().into()),
            has_volumes: sandbox
                .spec
                .volume_claim_templates
                .as_ref()
                .is_some_and(|templates| !templates.is_empty()),
            ports: ports_of_the_node(&sandbox.spec.pod_template),
            fault: fault(meta, conditions, &SANDBOX_FAULTS),
        }
    }
}

/// The ports that the containers of a pod with `hostNetwork` will declare; no other of its node's is reached.
fn ports_of_the_node(template: &PodTemplate) -> Option<Arc<[u16]>> {
    let spec = &template.spec;
    spec.get("hostNetwork")
        .filter(|it| **it == Value::Bool(true))?;
    let containers = spec.get("containers").and_then(Value::as_array);
    let ports = containers.into_iter().flatten();
    let ports = ports.filter_map(|container| container.get("ports")?.as_array());
    let numbers = ports
        .flatten()
        .filter_map(|port| u16::try_from(port.get("containerPort")?.as_u64()?).ok());
    Some(numbers.collect())
}

impl ClaimFacts {
    /// What is kept of `claim`. The bound Sandbox is the status's, else the one its controller has
    /// assigned by annotation (up to 0.4: by label) but not yet reported.
    #[must_use]
    pub fn of(claim: &SandboxClaim) -> Self {
        let meta = &claim.metadata;
        let status = claim.status.as_ref();
        let bound = status
            .and_then(|status| status.sandbox.as_ref())
            .map(|sandbox| sandbox.name.as_str())
            .filter(|name| !name.is_empty())
            .or_else(|| annotated(meta, annotation::SANDBOX_NAME))
            .or_else(|| labelled(meta, label::SANDBOX_NAME));
        let conditions = status.map_or(&[][..], |status| &status.conditions);
        Self {
            uid: uid(meta),
            created: created(meta),
            labels: selectable(meta.labels.as_ref()),
            sandbox: bound.map(Arc::from),
            pool: claim.spec.warm_pool_ref.name.as_str().into(),
            deleting: meta.deletion_timestamp.is_some(),
            released: false,
            leftover: None,
            ends: None,
            lapse: None,
            stays_bound: annotated(meta, annotation::STAYS_BOUND).is_some(),
            epoch: epoch(meta),
            fault: fault(meta, conditions, &CLAIM_FAULTS),
        }
    }

    /// What is kept of a claim that sleeps. Its epoch goes on: it is annotated on `released`, not among
    /// the remembered annotations.
    #[must_use]
    pub fn released(released: &ReleasedClaim) -> Self {
        let meta = &released.metadata;
        let claim = &released.spec.claim;
        let pool = claim.spec.get("warmPoolRef").and_then(|it| it.get("name"));
        let lapse = released.removal().map(|at| Lapse {
            record: uid(meta),
            at,
        });
        Self {
            uid: released.spec.claim_uid.as_str().into(),
            created: created(meta),
            labels: selectable(Some(&claim.labels)),
            sandbox: None,
            pool: pool.and_then(Value::as_str).unwrap_or_default().into(),
            deleting: meta.deletion_timestamp.is_some(),
            released: true,
            leftover: None,
            ends: claim.ends().map(Box::new),
            lapse: lapse.map(Box::new),
            stays_bound: claim.annotations.contains_key(annotation::STAYS_BOUND),
            epoch: epoch(meta),
            fault: None,
        }
    }
}

impl PolicyFacts {
    /// What is kept of `policy`.
    #[must_use]
    pub fn of(policy: &ScaledSandbox) -> Self {
        let meta = &policy.metadata;
        Self {
            uid: uid(meta),
            created: created(meta),
            generation: meta.generation.unwrap_or(0),
            labels: Labels::from(meta.labels.as_ref()),
            spec: policy.spec.clone(),
        }
    }
}

/// The owner reference of the controller, of which there is at most one.
pub(crate) fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .as_deref()?
        .iter()
        .find(|owner| owner.controller == Some(true))
}

/// UID, empty where the API has not given one yet.
pub(crate) fn uid(meta: &ObjectMeta) -> Arc<str> {
    meta.uid.as_deref().unwrap_or_default().into()
}

/// Creation instant.
pub(crate) fn created(meta: &ObjectMeta) -> Option<Timestamp> {
    meta.creation_timestamp.as_ref().map(|time| time.0)
}

/// The value of an annotation, where there is one and it says something.
pub(crate) fn annotated<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.annotations
        .as_ref()?
        .get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

fn labelled<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    let value = meta.labels.as_ref()?.get(name)?;
    Some(value.as_str()).filter(|value| !value.is_empty())
}

/// All labels but those that differ for each object by design: nobody selects a fleet by them, and
/// without them the labels of a fleet are one text ([`crate::index`]).
fn selectable(labels: Option<&BTreeMap<String, String>>) -> Labels {
    let unique = [label::CLAIM_UID, label::NAME_HASH, label::SANDBOX_NAME];
    let all = labels.into_iter().flatten();
    all.filter(|(key, _)| !unique.contains(&key.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

fn epoch(meta: &ObjectMeta) -> u64 {
    annotated(meta, annotation::EPOCH)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

fn hold(meta: &ObjectMeta) -> Option<Hold> {
    match annotated(meta, annotation::HOLD)? {
        "awake" => Some(Hold::Awake),
        "asleep" => Some(Hold::Asleep),
        _ => None,
    }
}

/// The busy lease that stands on a Sandbox, be it over or not.
#[must_use]
pub fn busy_until(meta: &ObjectMeta) -> Option<Timestamp> {
    annotated(meta, annotation::BUSY_UNTIL)?.parse().ok()
}

fn misread(meta: &ObjectMeta) -> Option<Box<Misread>> {
    /// Bytes of a value that are kept: enough to recognise it.
    const KEPT: usize = 64;
    let kept = |name| {
        let text = annotated(meta, name)?;
        Some(text[..text.floor_char_boundary(KEPT)].into())
    };
    let misread = Misread {
        hold: kept(annotation::HOLD).filter(|_| hold(meta).is_none()),
        busy_until: kept(annotation::BUSY_UNTIL).filter(|_| busy_until(meta).is_none()),
    };
    (misread != Misread::default()).then(|| Box::new(misread))
}

fn woken(meta: &ObjectMeta) -> Option<NonZeroU32> {
    let stamp = |name| annotated(meta, name)?.parse::<Timestamp>().ok();
    let (wake, sleep) = (stamp(annotation::LAST_WAKE)?, stamp(annotation::LAST_SLEEP));
    let second = u32::try_from(wake.as_second()).ok()?;
    NonZeroU32::new(second).filter(|_| sleep.is_none_or(|sleep| sleep < wake))
}

/// `ReconcilerError` counts too, unless it only says that an update lost a race: the controller then
/// tries again at once. Any other error it met with the present spec it will meet again.
fn fault(meta: &ObjectMeta, conditions: &[Condition], terminal: &[&str]) -> Option<Fault> {
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")?;
    let stale = matches!(
        (ready.observed_generation, meta.generation),
        (Some(observed), Some(present)) if observed < present
    );
    if ready.status != "False" || stale {
        return None;
    }
    let reason = ready.reason.as_str();
    let current = ready.observed_generation.is_some();
    let failing = reason == RECONCILER_ERROR && current && !ready.message.contains(CONFLICT);
    (failing || terminal.contains(&reason)).then(|| Fault {
        reason: reason.into(),
        message: ready.message.as_str().into(),
    })
}
