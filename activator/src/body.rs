//! Bodies on their way through. Nothing is gathered: a frame is taken from one side when the other side
//! asks for it, so backpressure reaches from end to end.
//!
//! A response body holds the request's activity until its last byte or its drop, and then hands the
//! connection it came on back to the pool.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use crate::proxy::Tally;
use crate::server::Serving;
use crate::slot::Activity;
use crate::upstream::Connection;

/// How long a client's `Expect: 100-continue` waits for the sandbox to agree before the body is sent
/// anyway: many servers never do (RFC 9110 §10.1.1 forbids to wait for ever).
const AGREEMENT: Duration = Duration::from_secs(1);

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
            _serving: serving,
        }
    }
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        match &frame {
            None => self.ended = true,
            Some(Ok(frame)) => self.ended = frame.is_trailers(),
            // The server cuts the client's connection on an error, so that half an answer never looks whole.
            Some(Err(_)) => self.connection = None,
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

/// How far the body of a request got. Shared with its connection, which can carry another request only
/// after a whole one.
#[derive(Debug, Default)]
pub(crate) struct Progress(AtomicU8);

const RUNNING: u8 = 0;
const COMPLETE: u8 = 1;
const FAILED: u8 = 2;

impl Progress {
    pub(crate) fn is_complete(&self) -> bool {
        self.0.load(Ordering::Acquire) == COMPLETE
    }

    /// The client sent something malformed, or left in the middle.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.load(Ordering::Acquire) == FAILED
    }
}

/// The body of a request.
pub(crate) struct RequestBody {
    incoming: Option<Incoming>,
    progress: Option<Arc<Progress>>,
    agreement: Option<Agreement>,
    _serving: Option<Serving>,
}

impl RequestBody {
    /// A body that streams from the client; unread until the sandbox's connection asks for it.
    pub(crate) fn new(incoming: Incoming, serving: &Serving) -> Self {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        let (progress, serving) = (Some(Arc::default()), Some(serving.clone()));
        Self {
            incoming: Some(incoming),
            progress,
            agreement: None,
            _serving: serving,
        }
    }

    pub(crate) fn empty() -> Self {
        Self {
            incoming: None,
            progress: None,
            agreement: None,
            _serving: None,
        }
    }

    /// `None` if there is no body at all.
    pub(crate) fn progress(&self) -> Option<Arc<Progress>> {
        self.progress.clone()
    }

    /// Holds the body back until the sandbox agrees to it, so that the client's `100 Continue` is the
    /// sandbox's. The answer is to be called when it does.
    pub(crate) fn expect_agreement(&mut self) -> oneshot::Sender<()> {
        let (agree, agreed) = oneshot::channel();
        self.agreement = Some(Agreement {
            agreed,
            patience: None,
        });
        agree
    }

    fn finish(&mut self, state: u8) {
        if let Some(progress) = &self.progress {
            // A failure is final, and the end of the stream may be told twice.
            let _ =
                progress
                    .0
                    .compare_exchange(RUNNING, state, Ordering::AcqRel, Ordering::Acquire);
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(agreement) = &mut self.agreement {
            ready!(agreement.poll(cx));
            self.agreement = None;
        }
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
        let is_last = incoming.is_end_stream();
        match &frame {
            None => self.finish(COMPLETE),
            Some(Ok(frame)) if is_last || frame.is_trailers() => self.finish(COMPLETE),
            Some(Ok(_)) => {}
            Some(Err(_)) => self.finish(FAILED),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

struct Agreement {
    agreed: oneshot::Receiver<()>,
    /// Begins when the head is on its way.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Agreement {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A dropped sender is a connection that will never agree: the body goes, and fails with it.
        if Pin::new(&mut self.agreed).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        self.patience
            .get_or_insert_with(|| Box::pin(sleep(AGREEMENT)))
            .as_mut()
            .poll(cx)
    }
}
