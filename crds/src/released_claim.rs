//! `ReleasedClaim`, `reveille.dev/v1alpha1`: a SandboxClaim that sleeps.
//!
//! Strategy Bind puts a claim to sleep by deleting it, so that its replica costs nothing; what it was
//! made of is remembered under its name, and a wake creates it again from that. Where a claim of the
//! same name lives, the claim counts and the memory is a leftover.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Seconds for which a claim that sleeps is remembered where no policy says it: thirty days, so that who
/// comes back after a month away still finds it, and one claim per session is not one object for ever.
pub const TTL_SECONDS: u32 = 30 * 86_400;

/// Which claim was released, and what it was made of.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "reveille.dev",
    version = "v1alpha1",
    kind = "ReleasedClaim",
    namespaced,
    shortname = "rcl",
    derive = "PartialEq",
    doc = "A SandboxClaim that was released to put it to sleep; a wake creates it again under the same name.",
    printcolumn(
        name = "Pool",
        type_ = "string",
        json_path = ".spec.claim.spec.warmPoolRef.name"
    ),
    printcolumn(name = "Removal", type_ = "string", json_path = ".spec.removalTime"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ReleasedClaimSpec {
    /// UID of the claim that was released.
    #[schemars(length(min = 1, max = 128))]
    pub claim_uid: String,
    /// What the claim is created again from.
    pub claim: RememberedClaim,
    /// When this is removed, and the claim's name with it, unless somebody asks for the claim before.
    /// Write a later instant to keep it longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal_time: Option<Time>,
}

impl ReleasedClaim {
    /// When it is removed because nobody has asked for its claim.
    #[must_use]
    pub fn removal(&self) -> Option<Timestamp> {
        let written = self.spec.removal_time.as_ref().map(|time| time.0);
        let created = self.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let ttl = SignedDuration::from_secs(TTL_SECONDS.into());
        // Those of before there was the field have none.
        written.or_else(|| created?.checked_add(ttl).ok())
    }
}

/// A SandboxClaim without what the API server and its controller add.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RememberedClaim {
    /// API version it was read in: its spec is in the words of that version.
    #[schemars(length(min = 1, max = 128))]
    pub api_version: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations, without the controller's bookkeeping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Owners.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owner_references: Vec<OwnerReference>,
    /// The spec as it was, fields of a newer upstream included.
    #[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
    #[serde(default)]
    pub spec: Map<String, Value>,
}

impl RememberedClaim {
    /// Instant after which the claim is expired: its `shutdownTime`.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.lifecycle("shutdownTime")?.parse().ok()
    }

    /// When nothing is to be left of the claim: when it expires, if its `shutdownPolicy` deletes it then.
    /// By default an expired claim stays, and so does what remembers it.
    #[must_use]
    pub fn ends(&self) -> Option<Timestamp> {
        let policy = self.lifecycle("shutdownPolicy")?;
        self.expires()
            .filter(|_| matches!(policy, "Delete" | "DeleteForeground"))
    }

    fn lifecycle(&self, field: &str) -> Option<&str> {
        self.spec.get("lifecycle")?.get(field)?.as_str()
    }
}
