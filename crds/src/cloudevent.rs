//! CloudEvents 1.0 in structured JSON mode: what Reveille tells its users about their sandboxes.
//!
//! The time is the caller's, so that this file needs no clock; so is the id, which must differ for each
//! event of a source (a sandbox's epoch serves, since each wake and sleep has its own).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::SandboxKey;
use crate::message::Cause;

/// Media type of the payload.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// Something that happened to a sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CloudEvent {
    /// Always `1.0`.
    pub specversion: SpecVersion,
    /// Unique within the source.
    pub id: String,
    /// `/namespaces/<namespace>/sandboxes/<name>`.
    pub source: String,
    /// The sandbox, as `namespace/name`.
    pub subject: String,
    /// When it happened.
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: ContentType,
    /// What happened.
    #[serde(flatten)]
    pub what: Happening,
}

/// The version of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpecVersion {
    /// 1.0.
    #[serde(rename = "1.0")]
    One,
}

/// The type of `data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContentType {
    /// JSON.
    #[serde(rename = "application/json")]
    Json,
}

/// What happened, in `type` and `data`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Happening {
    /// It answers again.
    #[serde(rename = "dev.reveille.sandbox.woke")]
    Woke(Woke),
    /// It was put to sleep.
    #[serde(rename = "dev.reveille.sandbox.slept")]
    Slept(Slept),
    /// A wake came to nothing.
    #[serde(rename = "dev.reveille.sandbox.wake.failed")]
    WakeFailed(WakeFailed),
}

/// A sandbox answers again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Woke {
    /// The sandbox.
    pub key: SandboxKey,
    /// Epoch after the wake.
    pub epoch: u64,
    /// What asked for it.
    pub cause: Cause,
    /// From the first asking to the first connection, in milliseconds.
    pub took_ms: u64,
    /// Requests that waited.
    #[serde(default)]
    pub parked: u32,
}

/// A sandbox was put to sleep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slept {
    /// The sandbox.
    pub key: SandboxKey,
    /// Epoch after the sleep.
    pub epoch: u64,
    /// Why: `idle`, `hold`, `api`.
    pub reason: String,
    /// How long it was awake, in milliseconds, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awake_ms: Option<u64>,
}

/// A wake came to nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WakeFailed {
    /// The sandbox.
    pub key: SandboxKey,
    /// Epoch of the wake.
    pub epoch: u64,
    /// What asked for it.
    pub cause: Cause,
    /// CamelCase, fixed set.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// Milliseconds after which another wake is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl CloudEvent {
    /// An event about the sandbox that `what` names.
    #[must_use]
    pub fn new(id: String, time: Timestamp, what: Happening) -> Self {
        let key = what.key();
        Self {
            specversion: SpecVersion::One,
            id,
            source: format!("/namespaces/{}/sandboxes/{}", key.namespace(), key.name()),
            subject: key.to_string(),
            time,
            datacontenttype: ContentType::Json,
            what,
        }
    }

    /// Subject and payload of this event.
    ///
    /// # Errors
    /// If it cannot be written as JSON or is over [`crate::codec::MAX_PAYLOAD`].
    pub fn encode(&self) -> Result<(String, Vec<u8>), crate::codec::CodecError> {
        crate::codec::payload(crate::subject::event(self.what.key()), self)
    }
}

impl Happening {
    /// The sandbox it happened to.
    #[must_use]
    pub const fn key(&self) -> &SandboxKey {
        match self {
            Self::Woke(woke) => &woke.key,
            Self::Slept(slept) => &slept.key,
            Self::WakeFailed(failed) => &failed.key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_structured_cloudevent() {
        let key = SandboxKey::new("agents", "alice").unwrap();
        let woke = Woke {
            key,
            epoch: 7,
            cause: Cause::Http,
            took_ms: 212,
            parked: 3,
        };
        let time = "2026-01-02T03:04:05.678Z".parse().unwrap();
        let event = CloudEvent::new("alice-7".into(), time, Happening::Woke(woke));
        let (subject, payload) = event.encode().unwrap();
        assert_eq!(subject, "reveille.v1.event.agents.alice");
        let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        let expected = serde_json::json!({
            "specversion": "1.0",
            "id": "alice-7",
            "source": "/namespaces/agents/sandboxes/alice",
            "subject": "agents/alice",
            "time": "2026-01-02T03:04:05.678Z",
            "datacontenttype": "application/json",
            "type": "dev.reveille.sandbox.woke",
            "data": {"key": "agents/alice", "epoch": 7, "cause": "http", "tookMs": 212, "parked": 3},
        });
        assert_eq!(value, expected);
        assert_eq!(serde_json::from_value::<CloudEvent>(value).unwrap(), event);
    }

    #[test]
    fn each_happening_has_its_type() {
        let key = SandboxKey::new("agents", "alice").unwrap();
        let slept = Slept {
            key: key.clone(),
            epoch: 8,
            reason: "idle".into(),
            awake_ms: None,
        };
        let failed = WakeFailed {
            key,
            epoch: 9,
            cause: Cause::Api,
            reason: "PodFailed".into(),
            message: "container agent exited with code 1".into(),
            retry_after_ms: Some(2000),
        };
        for (what, kind) in [
            (Happening::Slept(slept), "dev.reveille.sandbox.slept"),
            (
                Happening::WakeFailed(failed),
                "dev.reveille.sandbox.wake.failed",
            ),
        ] {
            let event = CloudEvent::new("x".into(), Timestamp::UNIX_EPOCH, what);
            let value = serde_json::to_value(&event).unwrap();
            assert_eq!(value["type"], kind);
            assert_eq!(serde_json::from_value::<CloudEvent>(value).unwrap(), event);
        }
    }
}
