//! Kubernetes Events about a Sandbox, a claim, what is kept of one, or a policy: what `kubectl describe` shows of wakes and sleeps.
//!
//! One object each: a series would keep the note of its first event, and the note names the cause.

use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as Published;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use reveille_crds::SandboxKey;
use reveille_crds::index::Target;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::answer::Failure;
use super::call::{self, Body, FIELD_MANAGER};
use super::kubernetes::Writer;

/// Longest note that the API takes, in bytes.
const MAX_NOTE: usize = 1024;
/// Longest name of an object, in bytes; the suffix is a dot and a UUID.
const MAX_NAME: usize = 253 - 37;

/// Whether somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Normal,
    Warning,
}

/// What happened to a target.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    about: About,
    severity: Severity,
    /// `Woke`, `Slept`, `WakeFailed`, `SleepRefused` and others.
    reason: &'static str,
    /// What was done, tried or is to come: `Wake`, `Sleep`, `Read` or `Remove`.
    action: &'static str,
    note: String,
}

/// The object that an event is about.
#[derive(Clone, Debug)]
struct About {
    kind: Kind,
    key: SandboxKey,
    uid: String,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Sandbox,
    Claim,
    Policy,
    Record,
}

impl Event {
    /// About a policy.
    pub(crate) fn of_policy(
        key: &SandboxKey,
        uid: &str,
        reason: &'static str,
        note: String,
    ) -> Self {
        Self::warning(Kind::Policy, (key, uid), (reason, "Read"), note)
    }

    /// About a ReleasedClaim.
    pub(crate) fn of_record(
        key: &SandboxKey,
        uid: &str,
        reason: &'static str,
        note: String,
    ) -> Self {
        Self::warning(Kind::Record, (key, uid), (reason, "Remove"), note)
    }

    fn warning(
        kind: Kind,
        (key, uid): (&SandboxKey, &str),
        (reason, action): (&'static str, &'static str),
        mut note: String,
    ) -> Self {
        note.truncate(note.floor_char_boundary(MAX_NOTE));
        Self {
            about: About {
                kind,
                key: key.clone(),
                uid: uid.to_owned(),
            },
            severity: Severity::Warning,
            reason,
            action,
            note,
        }
    }

    /// About the Sandbox of a target, or about its claim where there is no Sandbox.
    pub(crate) fn new(
        target: &Target,
        severity: Severity,
        (reason, action): (&'static str, &'static str),
        mut note: String,
    ) -> Option<Self> {
        let sandbox = target.sandbox.as_ref().map(|(key, facts)| About {
            kind: Kind::Sandbox,
            key: key.clone(),
            uid: facts.uid.to_string(),
        });
        let claim = || {
            target.claim.as_ref().map(|(key, facts)| About {
                kind: Kind::Claim,
                key: key.clone(),
                uid: facts.uid.to_string(),
            })
        };
        note.truncate(note.floor_char_boundary(MAX_NOTE));
        Some(Self {
            about: sandbox.or_else(claim)?,
            severity,
            reason,
            action,
            note,
        })
    }
}

impl Writer {
    pub(super) async fn publish(&self, event: &Event, until: Instant) -> Result<(), Failure> {
        let About { kind, key, uid } = &event.about;
        let (kind, word) = match kind {
            Kind::Sandbox => (call::Kind::Sandbox(self.sandboxes()?), "Sandbox"),
            Kind::Claim => (call::Kind::Claim(self.claims()?), "SandboxClaim"),
            Kind::Policy => (call::Kind::Policy, "ScaledSandbox"),
            Kind::Record => (call::Kind::Released, "ReleasedClaim"),
        };
        let prefix = &key.name()[..key.name().floor_char_boundary(MAX_NAME)];
        let published = Published {
            metadata: ObjectMeta {
                name: Some(format!("{prefix}.{}", uuid::Uuid::new_v4())),
                namespace: Some(key.namespace().to_owned()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(Timestamp::now())),
            reporting_controller: Some(format!("reveille.dev/{FIELD_MANAGER}")),
            reporting_instance: Some(self.instance.to_string()),
            action: Some(event.action.to_owned()),
            reason: Some(event.reason.to_owned()),
            type_: Some(match event.severity {
                Severity::Normal => "Normal".to_owned(),
                Severity::Warning => "Warning".to_owned(),
            }),
            note: Some(event.note.clone()),
            regarding: Some(ObjectReference {
                api_version: Some(kind.api_version()),
                kind: Some(word.to_owned()),
                name: Some(key.name().to_owned()),
                namespace: Some(key.namespace().to_owned()),
                uid: Some(uid.clone()),
                ..ObjectReference::default()
            }),
            ..Published::default()
        };
        let body = serde_json::to_value(&published)
            .map_err(|error| Failure::Denied(format!("not an event: {error}")))?;
        let all = call::Kind::Event.all(key.namespace());
        let body = Some((Body::Json, body));
        let _: IgnoredAny = self.call(Method::POST, &all, body, until).await?;
        Ok(())
    }
}
