//! `ScaledSandbox`, `reveille.dev/v1alpha1`: when sandboxes sleep, wake and park.
//!
//! The comments on the fields are what a user reads in `kubectl explain`.

mod http;
mod number;
mod rules;
#[cfg(test)]
mod tests;
mod wake;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::labels::Labels;

pub use http::{Authorization, HostHeader, HttpSpec, Protocol};
pub use rules::{FieldError, validate};
pub use wake::{Readiness, Strategy, WakeSpec};

/// Policy for one target or for a whole fleet.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "reveille.dev",
    version = "v1alpha1",
    kind = "ScaledSandbox",
    namespaced,
    status = "ScaledSandboxStatus",
    shortname = "ssb",
    derive = "PartialEq",
    doc = "When sandboxes sleep, how they wake, and how requests wait meanwhile: for one or for a whole fleet.",
    printcolumn(
        name = "Target",
        type_ = "string",
        json_path = ".spec.scaleTargetRef.name"
    ),
    printcolumn(
        name = "Cooldown",
        type_ = "integer",
        json_path = ".spec.cooldownPeriod"
    ),
    printcolumn(name = "Awake", type_ = "integer", json_path = ".status.awake"),
    printcolumn(name = "Asleep", type_ = "integer", json_path = ".status.asleep"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::validations()))]
pub struct ScaledSandboxSpec {
    /// The one Sandbox or SandboxClaim this policy governs; it beats every selector. Exactly one of
    /// scaleTargetRef and selector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_target_ref: Option<ScaleTargetRef>,
    /// Every Sandbox and SandboxClaim of the namespace whose labels match; an empty one is all of them.
    #[schemars(schema_with = "rules::selector_schema")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Seconds without activity before a sandbox is put to sleep.
    #[schemars(range(min = 0, max = rules::LONGEST))]
    #[serde(deserialize_with = "number::seconds")]
    pub cooldown_period: u32,
    /// Seconds after its creation before a sandbox is first put to sleep.
    #[schemars(range(min = 0, max = rules::LONGEST))]
    #[serde(deserialize_with = "number::seconds")]
    pub initial_cooldown_period: u32,
    /// Seconds a sandbox stays awake after each wake, whatever the traffic.
    #[schemars(range(min = 0, max = rules::LONGEST))]
    #[serde(deserialize_with = "number::seconds")]
    pub minimum_uptime: u32,
    /// Seconds without bytes after which an open WebSocket (or other upgraded connection) no longer counts
    /// as activity.
    #[schemars(range(min = 1, max = rules::LONGEST))]
    #[serde(deserialize_with = "number::seconds")]
    pub websocket_idle: u32,
    /// Seconds without bytes after which a response that still flows no longer counts as activity;
    /// heartbeats (comments of an event stream, pings) are no bytes. 0: it counts for as long as it is open.
    #[schemars(range(min = 0, max = rules::LONGEST))]
    #[serde(deserialize_with = "number::seconds")]
    pub stream_idle: u32,
    /// How a sandbox is woken.
    pub wake: WakeSpec,
    /// How requests wait for a wake.
    pub park: ParkSpec,
    /// How requests are spoken to the sandbox.
    pub http: HttpSpec,
    /// Asks the agent itself whether it is busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy: Option<BusySpec>,
    /// What may wake the sandbox besides an operator; `[{type: http}]` where missing.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub triggers: Vec<Trigger>,
    /// While true the sandboxes are left as they are: neither woken nor put to sleep.
    pub paused: bool,
}

impl Default for ScaledSandboxSpec {
    fn default() -> Self {
        Self {
            scale_target_ref: None,
            selector: None,
            cooldown_period: 300,
            initial_cooldown_period: 0,
            minimum_uptime: 10,
            websocket_idle: 600,
            stream_idle: 0,
            wake: WakeSpec::default(),
            park: ParkSpec::default(),
            http: HttpSpec::default(),
            busy: None,
            triggers: vec![Trigger {
                kind: TriggerKind::Http,
            }],
            paused: false,
        }
    }
}

/// The kind and name of the one object a policy governs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleTargetRef {
    /// `Sandbox` or `SandboxClaim`.
    #[serde(default)]
    pub kind: TargetKind,
    /// Name within the policy's namespace.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// Kinds a policy can name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetKind {
    /// A Sandbox.
    #[default]
    Sandbox,
    /// A SandboxClaim.
    SandboxClaim,
}

/// How requests wait for a wake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ParkSpec {
    /// Most requests parked on one sandbox, per activator.
    #[schemars(range(min = 1, max = rules::MOST_PARKED))]
    #[serde(deserialize_with = "number::count")]
    pub max_requests: u32,
    /// Longest wait of one request, in seconds. Below 60 by default, because common clients give up then.
    /// More than wake.deadline serves nothing: a failed wake ends the wait.
    #[schemars(range(min = 1, max = rules::LONGEST_WAIT))]
    #[serde(deserialize_with = "number::seconds")]
    pub max_wait: u32,
    /// Most parked requests sent on and unanswered at a time once the sandbox is up; 0 starts slow and
    /// doubles as answers come.
    #[schemars(range(min = 0, max = rules::MOST_PARKED))]
    #[serde(deserialize_with = "number::count")]
    pub release_concurrency: u32,
    /// What happens to a request that finds the lot full.
    pub overflow: Overflow,
}

impl Default for ParkSpec {
    fn default() -> Self {
        Self {
            max_requests: 1000,
            max_wait: 55,
            release_concurrency: 0,
            overflow: Overflow::Reject,
        }
    }
}

/// What happens to a request that finds the lot full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Overflow {
    /// 503 with Retry-After.
    #[default]
    Reject,
}

/// Asks the agent itself whether it is busy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BusySpec {
    /// Path of a GET that answers 200 `{"busyForSeconds": n}`; n seconds of work are still to come.
    #[schemars(length(max = 1024))]
    pub path: String,
    /// Container port; 8888 where missing.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(
        default,
        deserialize_with = "number::port",
        skip_serializing_if = "Option::is_none"
    )]
    pub port: Option<u16>,
    /// Seconds between two questions; asked only when the sandbox would otherwise be put to sleep soon.
    #[schemars(range(min = 1, max = rules::LONGEST_WAIT))]
    #[serde(default = "fifteen", deserialize_with = "number::seconds")]
    pub period: u32,
    /// Questions in a row that may get no usable answer before the sandbox is put to sleep all the same.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(default = "ten", deserialize_with = "number::count")]
    pub failure_limit: u32,
    /// For an agent whose answer is another JSON: an expression over it that is true when the agent is idle.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_when: Option<String>,
}

fn fifteen() -> u32 {
    15
}

fn ten() -> u32 {
    10
}

/// A cause of wakes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trigger {
    /// Which cause.
    #[serde(rename = "type")]
    pub kind: TriggerKind,
}

/// Causes known to this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TriggerKind {
    /// A request through the activator.
    #[serde(rename = "http")]
    Http,
}

/// Observed state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaledSandboxStatus {
    /// Ready, Active, Flapping; BusyPathAnswers where there is a busy.path.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Sandboxes governed.
    pub sandboxes: u32,
    /// Of these, awake.
    pub awake: u32,
    /// Of these, asleep.
    pub asleep: u32,
    /// Of these, waking.
    pub waking: u32,
    /// Instant of the last wake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_wake: Option<Time>,
    /// Generation this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// What is kept of a ScaledSandbox: its spec, and what decides precedence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyFacts {
    /// UID of the object.
    pub uid: Arc<str>,
    /// Creation instant; among equals the oldest wins.
    pub created: Option<Timestamp>,
    /// Generation of the spec.
    pub generation: i64,
    /// Labels of the object.
    pub labels: Labels,
    /// The spec.
    pub spec: ScaledSandboxSpec,
}
