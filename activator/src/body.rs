//! Bodies on their way through. Nothing is gathered: a frame is taken from one side when the other side
//! asks for it, so backpressure reaches from end to end.
//!
//! A response body holds the request's activity until its last byte or its drop, and then hands the
//! connection it came on back to the pool.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::grpc;
use crate::proxy::Tally;
use crate::server::Serving;
use crate::slot::Activity;
use crate::upstream::Connection;

mod request;

pub(crate) use request::{Progress, RequestBody, Stage};

/// The body of a response.
pub(crate) struct Body {
    content: Content,
    _tally: Option<Tally>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "boxing would allocate for every answer of a sandbox"
)]
enum Content {
    /// Written by this proxy.
    Full(Option<Bytes>),
    /// Streamed from a sandbox.
    Tracked(TrackedBody),
}

impl Body {
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self {
            content: Content::Full(Some(bytes).filter(|bytes| !bytes.is_empty())),
            _tally: None,
        }
    }

    pub(crate) fn empty() -> Self {
        Self {
            content: Content::Full(None),
            _tally: None,
        }
    }

    pub(crate) fn tracked(body: TrackedBody) -> Self {
        Self {
            content: Content::Tracked(body),
            _tally: None,
        }
    }

    /// The request counts as served until this body has gone.
    pub(crate) fn counted(self, tally: Tally) -> Self {
        Self {
            _tally: Some(tally),
            ..self
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.get_mut().content {
            Content::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Tracked(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Full(bytes) => bytes.is_none(),
            Content::Tracked(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Content::Tracked(body) => body.incoming.size_hint(),
        }
    }
}

/// A response body that keeps its sandbox counted as active.
pub(crate) struct TrackedBody {
    incoming: Incoming,
    /// The last frame was taken, or the stream failed.
    ended: bool,
    connection: Option<Connection>,
    activity: Activity,
    is_grpc: bool,
    _serving: Serving,
}

impl TrackedBody {
    pub(crate) fn new(
        incoming: Incoming,
        activity: Activity,
        serving: Serving,
        connection: Connection,
    ) -> Self {
        Self {
            incoming,
            ended: false,
            connection: Some(connection),
            activity,
            is_grpc: false,
            _serving: serving,
        }
    }

    /// Its end tells how the call went, in trailers; where the connection is lost, they are ours.
    pub(crate) fn of_grpc(mut self) -> Self {
        self.is_grpc = true;
        self
    }
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.ended && self.connection.is_none() {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        match &frame {
            None => self.ended = true,
            Some(Ok(frame)) => self.ended = frame.is_trailers(),
            // The server cuts the client's connection on an error, so that half an answer never looks whole.
            Some(Err(error)) => {
                self.connection = None;
                if self.is_grpc && !self.ended && !is_reset(error) {
                    self.ended = true;
                    return Poll::Ready(Some(Ok(Frame::trailers(grpc::broken_off()))));
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The sandbox itself ended the stream, with a code of its own that goes on to the client.
fn is_reset(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error);
    cause
        .and_then(|cause| cause.downcast_ref::<h2::Error>())
        .is_some_and(|cause| cause.is_reset() && cause.is_remote())
}

impl Drop for TrackedBody {
    fn drop(&mut self) {
        let connection = self.connection.take();
        // A pod that is on its way out gets no idle connection: its server may wait for them to close. It
        // may begin to go in this very moment; then the connection is closed like any that nobody uses.
        if self.is_end_stream()
            && let Some(connection) = connection
            && self.activity.slot().has_pod(connection.pod())
        {
            connection.release();
        }
    }
}
