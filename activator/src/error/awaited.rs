//! What a request waits for, told to a client whose own time is over.

use std::sync::Arc;

/// What a request was waiting for when its client's time was over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The sandbox to be up; how far that got.
    Wake(&'static str),
    /// The same, held up by this.
    Delayed { reason: Arc<str>, message: Arc<str> },
    /// An answer to the connection.
    Connection,
    /// A port that listens.
    Port,
    /// The end of the request's own body.
    Body,
    /// The head of the response.
    Answer,
}

impl Awaited {
    /// One phrase for the client.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Wake(stage) => stage,
            Self::Delayed { message, .. } => message,
            Self::Connection => "its pod has not taken the connection",
            Self::Port => "its port refuses connections",
            Self::Body => "the body of the request was still on its way",
            Self::Answer => "it has the request and has not answered",
        }
    }
}
