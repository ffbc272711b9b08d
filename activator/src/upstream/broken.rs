//! How an exchange with a pod fails.

use std::io;

use http::Request;
use reveille_http1::Fault;

use crate::body::{Lost, RequestBody};

/// Why an exchange ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The sandbox closed the connection.
    #[error("the connection was closed before there was an answer")]
    Closed,
    /// The sandbox said something that nobody had asked for: its port is not one of HTTP.
    #[error("it spoke before it was asked, as servers of HTTP do not")]
    Unasked,
    /// The connection failed.
    #[error(transparent)]
    Connection(#[from] io::Error),
    /// The sandbox does not speak HTTP/1.1.
    #[error(transparent)]
    Answer(#[from] Fault),
    /// HTTP/2 failed.
    #[error(transparent)]
    Http2(hyper::Error),
    /// It was the client: it left, or sent something malformed.
    #[error(transparent)]
    Client(Lost),
}

/// An exchange without a response.
pub(crate) struct Unanswered {
    /// The request, if not a byte of it was written.
    pub(crate) unsent: Option<Box<Request<RequestBody>>>,
    pub(crate) error: Broken,
}

impl Unanswered {
    pub(super) fn unsent(request: Request<RequestBody>, error: Broken) -> Self {
        Self {
            unsent: Some(Box::new(request)),
            error,
        }
    }

    pub(super) fn sent(error: Broken) -> Self {
        Self {
            unsent: None,
            error,
        }
    }
}

impl Broken {
    /// Whether the sandbox itself ended the stream, with a code of its own that goes on to the client.
    pub(crate) fn is_reset(&self) -> bool {
        let Self::Http2(error) = self else {
            return false;
        };
        std::error::Error::source(error)
            .and_then(|cause| cause.downcast_ref::<h2::Error>())
            .is_some_and(|cause| cause.is_reset() && cause.is_remote())
    }
}
