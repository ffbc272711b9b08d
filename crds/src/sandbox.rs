//! `Sandbox`, `agents.x-k8s.io/v1beta1`: one agent's pod, volumes and stable name.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

#[cfg(test)]
mod tests;

/// Desired state of a Sandbox.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "agents.x-k8s.io",
    version = "v1beta1",
    kind = "Sandbox",
    namespaced,
    status = "SandboxStatus",
    shortname = "sandbox",
    derive = "PartialEq",
    doc = "One agent: its pod, its volumes and its stable name, awake or asleep.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = immutable_volumes()))]
pub struct SandboxSpec {
    /// Pod to run while awake.
    pub pod_template: PodTemplate,
    /// Volumes that outlive the pod, as a StatefulSet's. Immutable.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_claim_templates: Option<Vec<VolumeClaimTemplate>>,
    /// Whether a headless Service is kept for the sandbox: `true` makes one, `false` deletes it, and
    /// where missing none is made but one that exists is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<bool>,
    /// Instant after which the sandbox is expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown_time: Option<Time>,
    /// What happens to the Sandbox object at `shutdownTime`; its pod goes in either case.
    #[schemars(extend("default" = "Retain"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown_policy: Option<ShutdownPolicy>,
    /// Desired state: `Running` is awake, `Suspended` is asleep.
    #[serde(default)]
    pub operating_mode: OperatingMode,
    /// Fields of a newer upstream.
    #[serde(flatten)]
    #[schemars(skip)]
    pub rest: Map<String, Value>,
}

/// Both presence and value: a volume can neither come nor go nor change.
fn immutable_volumes() -> Value {
    json!([{
        "rule": "has(self.volumeClaimTemplates) == has(oldSelf.volumeClaimTemplates) && \
                 (!has(self.volumeClaimTemplates) || self.volumeClaimTemplates == oldSelf.volumeClaimTemplates)",
        "message": "volumeClaimTemplates is immutable",
    }])
}

/// Desired state of a sandbox: awake or asleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OperatingMode {
    /// Awake.
    #[default]
    Running,
    /// Asleep.
    Suspended,
}

/// What happens to the object when a Sandbox expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ShutdownPolicy {
    /// The object and its volumes go too.
    Delete,
    /// The object stays.
    #[default]
    Retain,
}

/// Metadata and spec of the pod, passed through unchanged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PodTemplate {
    /// Labels and annotations of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<PodMeta>,
    /// A core/v1 PodSpec, kept as written.
    #[schemars(schema_with = "pod_spec")]
    pub spec: Map<String, Value>,
    /// Fields of a newer upstream.
    #[serde(flatten)]
    #[schemars(skip)]
    pub rest: Map<String, Value>,
}

/// All that is asked of a PodSpec here; its other fields are the API server's to judge once it is a pod.
fn pod_spec(_: &mut SchemaGenerator) -> Schema {
    let container = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    json_schema!({
        "type": "object",
        "required": ["containers"],
        "properties": {
            "containers": {
                "type": "array",
                "description": "Containers of the pod, at least one.",
                "items": container,
            },
        },
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

/// The part of a pod's metadata that a template may set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PodMeta {
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Fields of a newer upstream.
    #[serde(flatten)]
    #[schemars(skip)]
    pub rest: Map<String, Value>,
}

/// A volume that outlives the pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VolumeClaimTemplate {
    /// Name (joined as `<name>-<sandbox>`), labels, annotations.
    #[serde(default)]
    pub metadata: TemplateMeta,
    /// A core/v1 PersistentVolumeClaimSpec, kept as written.
    #[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub spec: Map<String, Value>,
    /// Fields of a newer upstream.
    #[serde(flatten)]
    #[schemars(skip)]
    pub rest: Map<String, Value>,
}

/// The part of a volume claim's metadata that a template may set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateMeta {
    /// Name of the volume, as the pod's `volumeMounts` call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Fields of a newer upstream.
    #[serde(flatten)]
    #[schemars(skip)]
    pub rest: Map<String, Value>,
}

/// Observed state; written by the sandbox controller alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SandboxStatus {
    /// `<sandbox>.<namespace>.svc.<cluster domain>`.
    #[serde(
        default,
        rename = "serviceFQDN",
        skip_serializing_if = "Option::is_none"
    )]
    pub service_fqdn: Option<String>,
    /// Name of the headless Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Ready, Suspended, PodScheduled, Finished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Label selector of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Addresses of the pod.
    #[serde(default, rename = "podIPs", skip_serializing_if = "Vec::is_empty")]
    pub pod_ips: Vec<String>,
    /// Node of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
}
