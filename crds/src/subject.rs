//! Where each message travels on NATS. The version is part of the prefix.
//!
//! A namespace and a name are DNS-1123 labels, so each is one token as it stands; the name of an
//! activator is checked ([`activator_token`]).

use std::fmt;
use std::str::FromStr;

use crate::SandboxKey;

/// First two tokens of every subject: the product, and the version of messages it speaks.
pub const PREFIX: &str = "reveille.v1";
/// The product's token, whatever the version.
const PRODUCT: &str = "reveille";
/// The version's token.
const VERSION: &str = "v1";

/// Scalers take wakes as one queue group, so that each is handled once.
pub const WAKE_QUEUE: &str = "reveille-scalers";

/// All wakes; subscribe in [`WAKE_QUEUE`].
pub const ALL_WAKES: &str = "reveille.v1.wake.*.*";
/// All reports of activators.
pub const ALL_ACTIVITY: &str = "reveille.v1.activity.*";
/// All calls for a full report.
pub const SYNC: &str = "reveille.v1.sync";
/// All drains.
pub const ALL_DRAINS: &str = "reveille.v1.drain.*.*";
/// All answers to drains.
pub const ALL_DRAINED: &str = "reveille.v1.drained.*";
/// All first connections to woken pods.
pub const ALL_READY: &str = "reveille.v1.ready.*.*";
/// All outcomes.
pub const ALL_OUTCOMES: &str = "reveille.v1.outcome.*.*";
/// All events for users.
pub const ALL_EVENTS: &str = "reveille.v1.event.*.*";

/// What a scaler subscribes to besides [`ALL_WAKES`], every replica for itself.
pub const FOR_EVERY_SCALER: [&str; 3] = [ALL_ACTIVITY, ALL_DRAINED, ALL_READY];
/// What an activator subscribes to.
pub const FOR_ACTIVATORS: [&str; 3] = [SYNC, ALL_DRAINS, ALL_OUTCOMES];

/// Longest name of an activator; the name of a pod has up to 253 bytes.
pub const MAX_ACTIVATOR: usize = 253;

/// A subject, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `wake.<ns>.<name>`.
    Wake(SandboxKey),
    /// `activity.<activator>`.
    Activity(String),
    /// `sync`.
    Sync,
    /// `drain.<ns>.<name>`.
    Drain(SandboxKey),
    /// `drained.<activator>`.
    Drained(String),
    /// `ready.<ns>.<name>`.
    Ready(SandboxKey),
    /// `outcome.<ns>.<name>`.
    Outcome(SandboxKey),
    /// `event.<ns>.<name>`.
    Event(SandboxKey),
}

/// Why a text is not a [`Subject`] of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// Another version of Reveille speaks here.
    #[error("subject of version {0:?}, this build speaks \"v1\"")]
    UnsupportedVersion(String),
    /// Not one of ours.
    #[error("subject {0:?} is none of reveille's")]
    Unknown(String),
    /// The name of an activator is not one token.
    #[error(
        "activator name {0:?} is not a NATS token: write 1 to 253 of letters, digits, '-' and '_'"
    )]
    Activator(String),
}

/// `wake.<ns>.<name>`.
#[must_use]
pub fn wake(key: &SandboxKey) -> String {
    Subject::Wake(key.clone()).to_string()
}

/// `activity.<activator>`.
///
/// # Errors
/// If the name is not one token.
pub fn activity(activator: &str) -> Result<String, SubjectError> {
    Ok(format!("{PREFIX}.activity.{}", checked(activator)?))
}

/// `drain.<ns>.<name>`.
#[must_use]
pub fn drain(key: &SandboxKey) -> String {
    Subject::Drain(key.clone()).to_string()
}

/// `drained.<activator>`: answers to drains.
///
/// # Errors
/// If the name is not one token.
pub fn drained(activator: &str) -> Result<String, SubjectError> {
    Ok(format!("{PREFIX}.drained.{}", checked(activator)?))
}

/// `ready.<ns>.<name>`.
#[must_use]
pub fn ready(key: &SandboxKey) -> String {
    Subject::Ready(key.clone()).to_string()
}

/// `outcome.<ns>.<name>`.
#[must_use]
pub fn outcome(key: &SandboxKey) -> String {
    Subject::Outcome(key.clone()).to_string()
}

/// `event.<ns>.<name>`.
#[must_use]
pub fn event(key: &SandboxKey) -> String {
    Subject::Event(key.clone()).to_string()
}

/// Whether `name` can be the name of an activator: one NATS token of letters, digits, `-` and `_`.
#[must_use]
pub fn is_activator(name: &str) -> bool {
    (1..=MAX_ACTIVATOR).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Makes any text the name of an activator: what no token may hold becomes `-`. A host name keeps its
/// shape (`node-1.example` becomes `node-1-example`), nothing becomes `activator`.
#[must_use]
pub fn activator_token(text: &str) -> String {
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
            c
        } else {
            '-'
        }
    };
    let token: String = text.chars().take(MAX_ACTIVATOR).map(allowed).collect();
    if token.is_empty() {
        "activator".to_owned()
    } else {
        token
    }
}

fn checked(activator: &str) -> Result<&str, SubjectError> {
    if is_activator(activator) {
        Ok(activator)
    } else {
        Err(SubjectError::Activator(clip(activator)))
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let unknown = || SubjectError::Unknown(clip(text));
        let mut tokens = text.split('.');
        if tokens.next() != Some(PRODUCT) {
            return Err(unknown());
        }
        match tokens.next() {
            Some(VERSION) => {}
            Some(other) => return Err(SubjectError::UnsupportedVersion(clip(other))),
            None => return Err(unknown()),
        }
        let kind = tokens.next().ok_or_else(unknown)?;
        let rest: Vec<&str> = tokens.take(3).collect();
        let key = |namespace, name| SandboxKey::new(namespace, name).map_err(|_| unknown());
        match (kind, rest.as_slice()) {
            ("sync", []) => Ok(Self::Sync),
            ("activity", [activator]) => Ok(Self::Activity(checked(activator)?.to_owned())),
            ("drained", [activator]) => Ok(Self::Drained(checked(activator)?.to_owned())),
            ("wake", [namespace, name]) => Ok(Self::Wake(key(namespace, name)?)),
            ("drain", [namespace, name]) => Ok(Self::Drain(key(namespace, name)?)),
            ("ready", [namespace, name]) => Ok(Self::Ready(key(namespace, name)?)),
            ("outcome", [namespace, name]) => Ok(Self::Outcome(key(namespace, name)?)),
            ("event", [namespace, name]) => Ok(Self::Event(key(namespace, name)?)),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, key) = match self {
            Self::Sync => return f.write_str(SYNC),
            Self::Activity(activator) => return write!(f, "{PREFIX}.activity.{activator}"),
            Self::Drained(activator) => return write!(f, "{PREFIX}.drained.{activator}"),
            Self::Wake(key) => ("wake", key),
            Self::Drain(key) => ("drain", key),
            Self::Ready(key) => ("ready", key),
            Self::Outcome(key) => ("outcome", key),
            Self::Event(key) => ("event", key),
        };
        write!(f, "{PREFIX}.{kind}.{}.{}", key.namespace(), key.name())
    }
}

/// Strangers' text in an error is kept short.
fn clip(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SandboxKey {
        SandboxKey::new("agents", "alice").unwrap()
    }

    #[test]
    fn a_subject_reads_back() {
        let all = [
            Subject::Wake(key()),
            Subject::Activity("activator-7f_0".into()),
            Subject::Sync,
            Subject::Drain(key()),
            Subject::Drained("standalone".into()),
            Subject::Ready(key()),
            Subject::Outcome(key()),
            Subject::Event(key()),
        ];
        for subject in all {
            assert_eq!(subject.to_string().parse::<Subject>().unwrap(), subject);
        }
        assert_eq!(wake(&key()), "reveille.v1.wake.agents.alice");
        assert_eq!(activity("a").unwrap(), "reveille.v1.activity.a");
        assert_eq!(drained("a").unwrap(), "reveille.v1.drained.a");
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let error = "reveille.v2.wake.agents.alice"
            .parse::<Subject>()
            .unwrap_err();
        assert_eq!(error, SubjectError::UnsupportedVersion("v2".into()));
        assert!(error.to_string().contains("\"v2\""));
    }

    #[test]
    fn what_is_not_a_subject_is_refused() {
        for text in [
            "",
            "reveille",
            "reveille.v1",
            "reveille.v1.wake",
            "reveille.v1.wake.agents",
            "reveille.v1.wake.agents.alice.more",
            "reveille.v1.wake.agents.alice.more.and.more",
            "reveille.v1.wake.Agents.alice",
            "reveille.v1.wake.*.*",
            "reveille.v1.wake.agents.>",
            "reveille.v1.sync.now",
            "reveille.v1.nap.agents.alice",
            "other.v1.sync",
        ] {
            assert!(
                matches!(text.parse::<Subject>(), Err(SubjectError::Unknown(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn an_activator_is_one_token() {
        for name in ["", "a.b", "a b", "*", ">", "a\n", "ä", &"x".repeat(254)] {
            assert!(!is_activator(name), "{name}");
            assert!(activity(name).is_err(), "{name}");
            assert!(is_activator(&activator_token(name)), "{name}");
        }
        assert_eq!(activator_token("node-1.example"), "node-1-example");
        assert_eq!(activator_token("standalone"), "standalone");
    }
}
