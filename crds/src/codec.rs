//! Messages to and from a subject and a JSON payload.
//!
//! The subject says which message it is and which version; a payload that speaks of another sandbox or
//! activator than its subject is refused, since a broker's permissions are granted by subject.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::SandboxKey;
use crate::message::{Activity, Drain, DrainReply, Outcome, Ready, ToActivator, ToScaler, Wake};
use crate::subject::{self, Subject, SubjectError};

/// Largest payload, in bytes: what a `nats-server` takes by default.
pub const MAX_PAYLOAD: usize = 1024 * 1024;

/// Why a message cannot be sent, or is none.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The subject is not one of this version.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// A subject of this version that carries no message to this side.
    #[error("subject {0:?} carries nothing for this side")]
    Direction(String),
    /// More than [`MAX_PAYLOAD`].
    #[error("payload of {0} bytes is over the limit of {MAX_PAYLOAD}")]
    TooLarge(usize),
    /// Not the JSON of that message.
    #[error("payload of {subject:?} cannot be read: {source}")]
    Json {
        /// As received.
        subject: String,
        /// Line, column and reason.
        source: serde_json::Error,
    },
    /// Subject and payload disagree.
    #[error("payload speaks of {payload:?}, its subject is {subject:?}")]
    Mismatch {
        /// As received.
        subject: String,
        /// What the payload names.
        payload: String,
    },
}

/// What is asked of all activators: a full report, unless it is a look. Who does not know of looks yet sends
/// a full report, which is more than was asked for.
#[derive(Default, Serialize, Deserialize)]
struct Asked {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    look: Option<u64>,
}

impl ToScaler {
    /// Subject and payload of this message.
    ///
    /// # Errors
    /// If the payload is over [`MAX_PAYLOAD`], or the activator's name is not one token.
    pub fn encode(&self) -> Result<(String, Vec<u8>), CodecError> {
        match self {
            Self::Wake(wake) => payload(subject::wake(&wake.key), wake),
            Self::Activity(report) => payload(subject::activity(&report.activator)?, report),
            Self::Drained(reply) => payload(subject::drained(&reply.activator)?, reply),
            Self::Ready(ready) => payload(subject::ready(&ready.key), ready),
        }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// If it is none, is of another version, is too large, or contradicts its subject.
    pub fn decode(subject: &str, bytes: &[u8]) -> Result<Self, CodecError> {
        match subject.parse()? {
            Subject::Wake(key) => {
                about(&key, subject, bytes, |wake: &Wake| &wake.key).map(Self::Wake)
            }
            Subject::Ready(key) => {
                about(&key, subject, bytes, |ready: &Ready| &ready.key).map(Self::Ready)
            }
            Subject::Activity(activator) => {
                let report: Activity = read(subject, bytes)?;
                agree(report.activator == activator, subject, &report.activator)?;
                Ok(Self::Activity(report))
            }
            Subject::Drained(activator) => {
                let reply: DrainReply = read(subject, bytes)?;
                agree(reply.activator == activator, subject, &reply.activator)?;
                Ok(Self::Drained(reply))
            }
            Subject::Sync | Subject::Drain(_) | Subject::Outcome(_) | Subject::Event(_) => {
                Err(CodecError::Direction(subject.to_owned()))
            }
        }
    }
}

impl ToActivator {
    /// Subject and payload of this message.
    ///
    /// # Errors
    /// If the payload is over [`MAX_PAYLOAD`].
    pub fn encode(&self) -> Result<(String, Vec<u8>), CodecError> {
        match self {
            Self::Sync => payload(subject::SYNC.to_owned(), &Asked::default()),
            Self::Look(look) => payload(subject::SYNC.to_owned(), &Asked { look: Some(*look) }),
            Self::Drain(drain) => payload(subject::drain(&drain.key), drain),
            Self::Outcome(outcome) => payload(subject::outcome(&outcome.key), outcome),
        }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// If it is none, is of another version, is too large, or contradicts its subject.
    pub fn decode(subject: &str, bytes: &[u8]) -> Result<Self, CodecError> {
        match subject.parse()? {
            Subject::Sync => {
                let asked: Asked = read(subject, bytes)?;
                Ok(asked.look.map_or(Self::Sync, Self::Look))
            }
            Subject::Drain(key) => {
                about(&key, subject, bytes, |drain: &Drain| &drain.key).map(Self::Drain)
            }
            Subject::Outcome(key) => {
                about(&key, subject, bytes, |outcome: &Outcome| &outcome.key).map(Self::Outcome)
            }
            Subject::Wake(_)
            | Subject::Activity(_)
            | Subject::Drained(_)
            | Subject::Ready(_)
            | Subject::Event(_) => Err(CodecError::Direction(subject.to_owned())),
        }
    }
}

pub(crate) fn payload<T: Serialize>(
    subject: String,
    message: &T,
) -> Result<(String, Vec<u8>), CodecError> {
    let bytes = match serde_json::to_vec(message) {
        Ok(bytes) => bytes,
        Err(source) => return Err(CodecError::Json { subject, source }),
    };
    if bytes.len() > MAX_PAYLOAD {
        return Err(CodecError::TooLarge(bytes.len()));
    }
    Ok((subject, bytes))
}

/// Looks at the size before the content: a stranger's payload must not cost more than its length.
fn read<T: DeserializeOwned>(subject: &str, bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > MAX_PAYLOAD {
        return Err(CodecError::TooLarge(bytes.len()));
    }
    serde_json::from_slice(bytes).map_err(|source| CodecError::Json {
        subject: subject.to_owned(),
        source,
    })
}

fn about<T: DeserializeOwned>(
    key: &SandboxKey,
    subject: &str,
    bytes: &[u8],
    of: impl Fn(&T) -> &SandboxKey,
) -> Result<T, CodecError> {
    let message: T = read(subject, bytes)?;
    agree(of(&message) == key, subject, &of(&message).to_string())?;
    Ok(message)
}

fn agree(agreed: bool, subject: &str, payload: &str) -> Result<(), CodecError> {
    if agreed {
        return Ok(());
    }
    let payload = payload.chars().take(100).collect();
    Err(CodecError::Mismatch {
        subject: subject.to_owned(),
        payload,
    })
}
