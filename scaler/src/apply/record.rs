//! What a claim is remembered by, and made of again.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use reveille_crds::names::{annotation, label};
use reveille_crds::released_claim::{ReleasedClaim, ReleasedClaimSpec, RememberedClaim};
use reveille_crds::sandbox::OperatingMode;
use reveille_lifecycle::store::ClaimChange;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::Failure;
use super::patch::stamps;

/// Annotations and labels under this prefix are upstream's bookkeeping of one binding.
const UPSTREAM: &str = "agents.x-k8s.io/";
/// Upstream's trace of one binding.
const TRACE: &str = "opentelemetry.io/trace-context";

/// A claim, whatever its version.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Claim {
    api_version: String,
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    spec: Map<String, Value>,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    sandbox: Option<Bound>,
}

#[derive(Debug, Default, Deserialize)]
struct Bound {
    #[serde(default)]
    name: String,
}

impl Claim {
    /// The Sandbox that is bound to it: reported, or assigned and not yet reported.
    pub(super) fn bound(&self) -> Option<&str> {
        let reported = self.status.sandbox.as_ref().map(|it| it.name.as_str());
        let annotations = self.metadata.annotations.as_ref();
        let assigned = || {
            annotations?
                .get(annotation::SANDBOX_NAME)
                .map(String::as_str)
        };
        reported.filter(|name| !name.is_empty()).or_else(assigned)
    }
}

/// The record of a claim, which is kept for `ttl`.
pub(super) fn remember(
    claim: Claim,
    change: &ClaimChange,
    epoch: u64,
    ttl: SignedDuration,
) -> ReleasedClaim {
    let meta = claim.metadata;
    let ours = |name: &str| name.starts_with(UPSTREAM) || name == TRACE;
    let mut annotations = meta.annotations.unwrap_or_default();
    annotations.retain(|name, _| !ours(name));
    let mut labels = meta.labels.unwrap_or_default();
    labels.remove(label::SANDBOX_NAME);
    let owners = meta.owner_references.unwrap_or_default();
    let stamps = texts(stamps(epoch, OperatingMode::Suspended, change.cause));
    let spec = ReleasedClaimSpec {
        claim_uid: change.uid.to_string(),
        claim: RememberedClaim {
            api_version: claim.api_version,
            labels,
            annotations,
            owner_references: owners.clone(),
            spec: claim.spec,
        },
        removal_time: Timestamp::now().checked_add(ttl).ok().map(Time),
    };
    let mut record = ReleasedClaim::new(change.key.name(), spec);
    record.metadata.namespace = Some(change.key.namespace().to_owned());
    record.metadata.annotations = Some(stamps);
    // Whoever owns the claim owns the record: it goes with them.
    record.metadata.owner_references = Some(owners).filter(|owners| !owners.is_empty());
    record
}

/// The claim out of its record.
pub(super) fn recreate(
    claim: RememberedClaim,
    change: &ClaimChange,
    epoch: u64,
) -> Result<Value, Failure> {
    if claim.expires().is_some_and(|at| at <= Timestamp::now()) {
        let message = "the claim has expired: its shutdownTime has passed".to_owned();
        return Err(Failure::Denied(message));
    }
    let mut annotations = claim.annotations;
    annotations.extend(texts(stamps(epoch, OperatingMode::Running, change.cause)));
    Ok(json!({
        "apiVersion": claim.api_version,
        "kind": "SandboxClaim",
        "metadata": {
            "name": change.key.name(),
            "namespace": change.key.namespace(),
            "labels": claim.labels,
            "annotations": annotations,
            "ownerReferences": claim.owner_references,
        },
        "spec": claim.spec,
    }))
}

fn texts(map: Map<String, Value>) -> BTreeMap<String, String> {
    let text = |(name, value): (String, Value)| Some((name, value.as_str()?.to_owned()));
    map.into_iter().filter_map(text).collect()
}
