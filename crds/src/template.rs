//! `SandboxTemplate`, `extensions.agents.x-k8s.io/v1beta1`: the mould of sandboxes.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::sandbox::{PodTemplate, VolumeClaimTemplate};

/// The blueprint of a Sandbox, and who may change what of it. Upstream gives it no status.
///
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "extensions.agents.x-k8s.io",
    version = "v1beta1",
    kind = "SandboxTemplate",
    namespaced,
    shortname = "sandboxtemplate",
    derive = "PartialEq",
    doc = "The mould that sandboxes of a warm pool are made from."
)]
#[serde(rename_all = "camelCase")]
pub struct SandboxTemplateSpec {
    /// Pod to run while awake.
    pub pod_template: PodTemplate,
    /// Volumes that outlive the pod.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_claim_templates: Option<Vec<VolumeClaimTemplate>>,
    /// Whether a headless Service is kept for each sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<bool>,
    /// Who may talk to the pods and to whom they may talk; a safe default where missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicy>,
    /// Whether the controller keeps a NetworkPolicy for the template at all.
    #[schemars(extend("default" = "Managed"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy_management: Option<NetworkPolicyManagement>,
    /// Whether claims may add to the environment.
    #[schemars(extend("default" = "Disallowed"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_vars_injection_policy: Option<ClaimPermission>,
    /// Whether claims may bring volumes of their own.
    #[schemars(extend("default" = "Disallowed"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_claim_templates_policy: Option<ClaimPermission>,
    /// Fields of a newer upstream.
    #[serde(flatten)]
    #[schemars(skip)]
    pub rest: Map<String, Value>,
}

/// Rules of networking.k8s.io/v1, kept as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkPolicy {
    /// NetworkPolicyIngressRules.
    #[schemars(extend("items" = any_object()))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Vec<Map<String, Value>>>,
    /// NetworkPolicyEgressRules.
    #[schemars(extend("items" = any_object()))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Vec<Map<String, Value>>>,
    /// Fields of a newer upstream.
    #[serde(flatten)]
    #[schemars(skip)]
    pub rest: Map<String, Value>,
}

fn any_object() -> Value {
    serde_json::json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// Whether the controller keeps a NetworkPolicy for the template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NetworkPolicyManagement {
    /// It does.
    #[default]
    Managed,
    /// It does not: somebody else takes care.
    Unmanaged,
}

/// What claims may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClaimPermission {
    /// Add what the template does not have.
    Allowed,
    /// Add, and replace what the template has.
    Overrides,
    /// Nothing.
    #[default]
    Disallowed,
}
