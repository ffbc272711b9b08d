//! What activators and scalers say to each other (`DESIGN.md` §3.2).
//!
//! Every message is a hint: it may be lost, doubled or late, and the API object is the truth.
//! Durations travel, wall-clock instants do not. Unknown fields are ignored; a version this build
//! does not speak is refused by the subject ([`crate::subject`]). Every `key` is that of a target: the
//! claim where a claim stands for the sandbox, else the Sandbox ([`crate::index`]).

use serde::{Deserialize, Serialize};

use crate::SandboxKey;

#[cfg(test)]
mod tests;

/// From an activator (or a trigger) to the scalers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToScaler {
    /// Somebody waits for this sandbox. Any one scaler takes it.
    Wake(Wake),
    /// The idle events: what this activator saw lately. Every scaler takes it.
    Activity(Activity),
    /// Answer to [`ToActivator::Drain`]. Every scaler may see it; the asker matches the nonce.
    Drained(DrainReply),
    /// The first successful connection to a woken pod. Every scaler takes it.
    Ready(Ready),
}

/// From a scaler to the activators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToActivator {
    /// Send a full report.
    Sync,
    /// Report at once what has changed, and name this number: somebody wants to know what is.
    Look(u64),
    /// Stop sending to this sandbox, if nothing is in flight.
    Drain(Drain),
    /// How a wake goes, or that a drain is off.
    Outcome(Outcome),
}

/// Somebody waits for a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wake {
    /// The target.
    pub key: SandboxKey,
    /// Cause.
    pub reason: Cause,
    /// Container port asked for.
    #[serde(default)]
    pub port: Option<u16>,
    /// Requests parked.
    #[serde(default)]
    pub waiting: u32,
    /// How long the oldest has waited, in milliseconds.
    #[serde(default)]
    pub oldest_wait_ms: u64,
    /// Who asks.
    pub activator: String,
    /// The first request in a few words for a person, as `GET /ws (websocket)`: a stranger's, and no more
    /// than 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// W3C trace context of the first request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// A cause of wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A request through the activator.
    Http,
    /// An operator or a program through the API.
    Api,
    /// An operator's hold.
    Hold,
    /// Unacknowledged messages.
    NatsJetstream,
    /// A timer.
    Cron,
    /// An external scaler.
    ExternalPush,
    /// A cause of a newer version.
    #[serde(other)]
    Other,
}

impl Cause {
    /// As in DESIGN §1: the fixed label of metrics, logs and annotations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Api => "api",
            Self::Hold => "hold",
            Self::NatsJetstream => "nats-jetstream",
            Self::Cron => "cron",
            Self::ExternalPush => "external-push",
            Self::Other => "other",
        }
    }
}

/// What one activator saw; sent every second even when empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// Who reports; the name of its pod, or `standalone`.
    pub activator: String,
    /// Differs for each start of the process.
    pub incarnation: String,
    /// Grows by one with each report of an incarnation, from 1.
    pub sequence: u64,
    /// Every key with something to say is here; what is missing is quiet.
    #[serde(default)]
    pub full: bool,
    /// The keys whose state changed since the last report, or all that are not quiet.
    #[serde(default)]
    pub sandboxes: Vec<SandboxActivity>,
    /// Of each [`ToActivator::Look`] that this report comes after; with its last part, where it has several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<u64>,
}

/// One sandbox as one activator saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SandboxActivity {
    /// The target.
    pub key: SandboxKey,
    /// Requests between their first and last byte, and upgraded connections that moved bytes lately.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub in_flight: u32,
    /// Requests parked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub parked: u32,
    /// Milliseconds since the last activity ended; 0 while there is some.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub quiet_for_ms: u64,
    /// The agent's busy lease, as told in a response header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy: Option<BusyLease>,
}

/// Zeros are left out: a report speaks of thousands of sandboxes, and must stay under the payload limit.
fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// What is left of a busy lease set by a response header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BusyLease {
    /// UID of the pod that answered; the lease dies with it.
    pub pod: String,
    /// Milliseconds left; 0 ends it.
    pub for_ms: u64,
}

/// The first successful connection to a woken pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// The target.
    pub key: SandboxKey,
    /// UID of the pod.
    pub pod: String,
    /// Who connected.
    pub activator: String,
    /// Requests released.
    #[serde(default)]
    pub released: u32,
}

/// Asks every activator to stop sending to a sandbox before it sleeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// The target.
    pub key: SandboxKey,
    /// Its epoch as the scaler knows it.
    pub epoch: u64,
    /// UID of the Sandbox that stands for it; absent where none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Matches replies to this question.
    pub nonce: u64,
    /// Milliseconds the gate stays closed unless the sandbox is seen asleep or an Undrain comes.
    pub hold_ms: u64,
    /// An operator's order: the gate closes whatever is in flight, and no busy lease counts. Asked again
    /// until nothing is in flight.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub order: bool,
}

/// Answer to a [`Drain`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainReply {
    /// The target.
    pub key: SandboxKey,
    /// Who answers.
    pub activator: String,
    /// Its incarnation.
    pub incarnation: String,
    /// Of the question.
    pub nonce: u64,
    /// True: gate closed, nothing in flight. False: busy, the sleep is off.
    pub drained: bool,
}

/// How a wake goes, or that a drain is off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The target.
    pub key: SandboxKey,
    /// What happened.
    #[serde(flatten)]
    pub what: OutcomeKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "outcome",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum OutcomeKind {
    /// The wake is under way.
    Waking {
        /// Epoch after the wake.
        epoch: u64,
    },
    /// It will not be woken, and asking again at once does not help.
    Refused {
        /// CamelCase, fixed set.
        reason: String,
        /// For the client.
        message: String,
    },
    /// The wake failed.
    Failed {
        /// CamelCase, fixed set.
        reason: String,
        /// For the client.
        message: String,
        /// Milliseconds after which a retry may help.
        retry_after_ms: u64,
    },
    /// The wake is wanted and goes on, but something that it needs does not answer.
    Delayed {
        /// CamelCase, fixed set.
        reason: String,
        /// For the client.
        message: String,
    },
    /// The sleep is off: open the gate that this nonce closed.
    Undrain {
        /// Of the question.
        nonce: u64,
    },
    /// Of a newer version; ignored.
    #[serde(other)]
    Other,
}
