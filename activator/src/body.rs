//! Bodies on their way through. Nothing is gathered: a frame is taken from one side when the other side
//! asks for it, so backpressure reaches from end to end.
//!
//! A response body holds the request's activity until its last byte or its drop, and then hands the
//! connection it came on back to the pool.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Version;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::proxy::Tally;
use crate::server::Serving;
use crate::slot::Activity;
use crate::stream::{self, Ending, Kind};
use crate::upstream::{Broken, Connection};

mod client;
mod request;

pub(crate) use client::{FromClient, Inbound, Lost};
pub(crate) use request::{Progress, RequestBody, Stage};

/// Why a response ends before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    /// Its sandbox, or the way there.
    #[error(transparent)]
    Sandbox(#[from] Broken),
    /// This side.
    #[error("{0}")]
    Ended(&'static str),
}

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

    /// Whether it was written by this proxy.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.content, Content::Full(_))
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
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
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
            Content::Tracked(body) => body.size_hint(),
        }
    }
}

/// A response body that keeps its sandbox counted as active.
pub(crate) struct TrackedBody {
    kind: Kind,
    /// The last frame was taken, or the stream failed.
    ended: bool,
    /// What it comes on; none once it was broken off.
    connection: Option<Connection>,
    /// It did not end with its first piece, and so may last for long.
    is_watched: bool,
    /// Its client takes the end of the connection for that of the answer (HTTP/1.0).
    ends_with_connection: bool,
    activity: Activity,
    serving: Serving,
}

impl TrackedBody {
    pub(crate) fn new(
        kind: Kind,
        activity: Activity,
        serving: Serving,
        connection: Connection,
        version: Version,
    ) -> Self {
        Self {
            kind,
            ended: false,
            connection: Some(connection),
            is_watched: false,
            ends_with_connection: version < Version::HTTP_11,
            activity,
            serving,
        }
    }

    fn watch(&mut self) {
        if let Some(connection) = self.connection.as_ref().filter(|_| !self.is_watched) {
            self.is_watched = true;
            let watch = stream::watch(self.activity.pulse(), connection);
            self.serving.tether().watch(Box::pin(watch));
        }
    }

    /// Socket before its time; the connection to the sandbox ends with it.
    fn end(&mut self, cut: Cut) -> Option<Result<Frame<Bytes>, Cut>> {
        let (reason, is_reset) = match &cut {
            Cut::Sandbox(error) => (
                "The backend sandbox broke off in the middle of its answer.",
                error.is_reset(),
            ),
            Cut::Ended(reason) => (*reason, false),
        };
        let pod = self.connection.take();
        let is_up = matches!(cut, Cut::Sandbox(_))
            && pod.is_some_and(|lost| self.activity.slot().has_pod(lost.pod()));
        self.ended = true;
        match self.kind.end(reason) {
            Ending::Trailers(trailers) if !is_reset => Some(Ok(Frame::trailers(trailers))),
            // A sandbox that is up and breaks off is not to be smoothed over.
            Ending::Clean if !is_up => None,
            _ => {
                if self.ends_with_connection {
                    self.serving.client().reset();
                }
                Some(Err(cut))
            }
        }
    }
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        if let Some(reason) = this.serving.tether().told() {
            return Poll::Ready(this.end(Cut::Ended(reason)));
        }
        let Some(connection) = &mut this.connection else {
            return Poll::Ready(None);
        };
        let Poll::Ready(frame) = connection.poll_frame(cx) else {
            this.watch();
            return Poll::Pending;
        };
        Poll::Ready(match frame {
            None => {
                this.ended = true;
                None
            }
            Some(Ok(frame)) => {
                this.ended = frame.is_trailers();
                // Events are followed from the first byte.
                if let Some(bytes) = frame.data_ref()
                    && this.kind.is_active(bytes)
                    && this.is_watched
                {
                    this.activity.pulse().beat();
                }
                // Its client may read no further, and this body not be asked again.
                if !this.is_end_stream() {
                    this.watch();
                }
                Some(Ok(frame))
            }
            // The server cuts the client's connection on an error, so that half an answer never looks whole.
            Some(Err(error)) => this.end(error.into()),
        })
    }

    fn is_end_stream(&self) -> bool {
        let is_over = |connection: &Connection| connection.is_end_stream();
        self.ended || self.connection.as_ref().is_none_or(is_over)
    }

    fn size_hint(&self) -> SizeHint {
        let none = || SizeHint::with_exact(0);
        self.connection
            .as_ref()
            .map_or_else(none, Connection::size_hint)
    }
}

impl Drop for TrackedBody {
    fn drop(&mut self) {
        let is_over = self.is_end_stream();
        if self.is_watched {
            self.serving.tether().release();
        }
        let connection = self.connection.take();
        // A pod that is on its way out gets no idle connection: its server may wait for them to close. It
        // may begin to go in this very moment; then the connection is closed like any that nobody uses.
        if is_over
            && let Some(connection) = connection
            && self.activity.slot().has_pod(connection.pod())
        {
            connection.release();
        }
    }
}
