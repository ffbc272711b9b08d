//! How a sandbox is woken, and what its sleep leaves to be woken from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{number, rules};
use crate::released_claim;

/// How a sandbox is woken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WakeSpec {
    /// Restore the same Sandbox, or bind a warm replica.
    pub strategy: Strategy,
    /// Seconds a request waits for a wake before its client is told to come back later. The sandbox goes
    /// on starting.
    #[schemars(range(min = 1, max = rules::LONGEST_WAIT))]
    #[serde(deserialize_with = "number::seconds")]
    pub deadline: u32,
    /// Seconds a wake may take for as long as its pod makes progress, before it counts as failed. Never
    /// less than deadline.
    #[schemars(range(min = 1, max = rules::LONGEST_ANSWER))]
    #[serde(deserialize_with = "number::seconds")]
    pub progress_deadline_seconds: u32,
    /// What counts as ready.
    pub readiness: Readiness,
    /// Under Bind: seconds for which a claim that sleeps is remembered. Then, if nobody has asked for it, its
    /// ReleasedClaim is removed, and with it the name; an Event says so a day ahead.
    #[schemars(range(min = rules::DAY, max = rules::LONGEST))]
    #[serde(deserialize_with = "number::seconds")]
    pub ttl_seconds_after_released: u32,
}

impl Default for WakeSpec {
    fn default() -> Self {
        Self {
            strategy: Strategy::Restore,
            deadline: 60,
            progress_deadline_seconds: 600,
            readiness: Readiness::Auto,
            ttl_seconds_after_released: released_claim::TTL_SECONDS,
        }
    }
}

/// Restore the same Sandbox, or bind a warm replica under the same logical name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    /// Same UID, name and volumes; a new pod.
    #[default]
    // A default that API servers have written into policies before it went.
    #[serde(alias = "Auto")]
    Restore,
    /// Sleep deletes the claim and remembers it, wake makes it again and binds a warm replica: another
    /// Sandbox, with another name of its own. For agents without state that are reached by the claim's name.
    Bind,
}

/// What counts as ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Readiness {
    /// The pod's own http, tcp or grpc readiness probe, made by the activator every few milliseconds; a port
    /// that accepts where there is no probe; the pod's Ready condition where only the kubelet can probe.
    #[default]
    Auto,
    /// The pod's Ready condition.
    PodReady,
    /// A TCP connection to the requested port.
    PortOpen,
}
