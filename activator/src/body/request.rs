//! The body of a request on its way to the sandbox, and how far it got.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use reveille_http1::ResponseHead;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep};

use super::{FromClient, Lost};
use crate::server::Serving;
use crate::slot::{Activity, Pulse};

/// How long a client's `Expect: 100-continue` waits for the sandbox to agree before the body is sent
/// anyway: many servers never do (RFC 9110 §10.1.1 forbids to wait for ever).
const AGREE_WITHIN: Duration = Duration::from_secs(1);

/// The body of a request.
pub(crate) struct RequestBody {
    incoming: FromClient,
    progress: Option<Arc<Progress>>,
    agreement: Option<Agreement>,
    pulse: Option<Arc<Pulse>>,
    _serving: Option<Serving>,
}

impl RequestBody {
    /// A body that streams from the client; unread until the sandbox's connection asks for it.
    pub(crate) fn new(incoming: FromClient, activity: &Activity, serving: &Serving) -> Self {
        if incoming.is_end_stream() {
            return Self {
                incoming,
                ..Self::empty()
            };
        }
        let (progress, serving) = (Some(Arc::new(Progress::begin())), Some(serving.clone()));
        Self {
            incoming,
            progress,
            agreement: None,
            pulse: Some(Arc::clone(activity.pulse())),
            _serving: serving,
        }
    }

    pub(crate) fn empty() -> Self {
        Self {
            incoming: FromClient::Nothing,
            progress: None,
            agreement: None,
            pulse: None,
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

    /// Tells the client what the sandbox says ahead of its response.
    pub(crate) fn inform(&self, head: &ResponseHead<'_>, cx: &mut Context<'_>) {
        self.incoming.inform(head, cx);
    }

    /// Whether the sandbox has yet to agree to it.
    pub(crate) fn awaits_agreement(&self) -> bool {
        self.agreement.is_some()
    }

    /// The sandbox has agreed.
    pub(crate) fn agreed(&mut self) {
        self.agreement = None;
    }

    fn tell(&self, state: u8) {
        if let Some(progress) = &self.progress {
            progress.enter(state);
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = Lost;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Lost>>> {
        if let Some(agreement) = &mut self.agreement {
            if agreement.poll(cx).is_pending() {
                self.tell(AGREEMENT);
                return Poll::Pending;
            }
            self.agreement = None;
        }
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            self.tell(CLIENT);
            return Poll::Pending;
        };
        let is_last = self.incoming.is_end_stream();
        if let Some(pulse) = &self.pulse
            && let Some(Ok(frame)) = &frame
            && frame.data_ref().is_some_and(|bytes| !bytes.is_empty())
        {
            pulse.beat();
        }
        self.tell(match &frame {
            None => COMPLETE,
            Some(Ok(frame)) if is_last || frame.is_trailers() => COMPLETE,
            Some(Ok(_)) => SANDBOX,
            Some(Err(_)) => FAILED,
        });
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
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
            .get_or_insert_with(|| Box::pin(sleep(AGREE_WITHIN)))
            .as_mut()
            .poll(cx)
    }
}

/// How far the body of a request got. Shared with its connection, which can carry another request only
/// after a whole one.
#[derive(Debug)]
pub(crate) struct Progress {
    state: AtomicU8,
    began: Instant,
    /// Nanoseconds from `began` to the last step: a frame that was taken, or asked for.
    moved: AtomicU64,
}

/// Who has the next step to make, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The sandbox may still agree to the body, or not.
    Agreement,
    /// The client is to send more.
    Client(Instant),
    /// The sandbox is to read what there is.
    Sandbox(Instant),
    /// Nobody: the whole body was handed over.
    Complete(Instant),
    /// Nobody: the client left, or sent something malformed.
    Failed,
}

const SANDBOX: u8 = 0;
const CLIENT: u8 = 1;
const AGREEMENT: u8 = 2;
/// This and what follows is final.
const COMPLETE: u8 = 3;
const FAILED: u8 = 4;

impl Progress {
    fn begin() -> Self {
        Self {
            state: AtomicU8::new(SANDBOX),
            began: Instant::now(),
            moved: AtomicU64::new(0),
        }
    }

    /// Who has the next step to make.
    pub(crate) fn stage(&self) -> Stage {
        let state = self.state.load(Ordering::Acquire);
        let since = self.began + Duration::from_nanos(self.moved.load(Ordering::Relaxed));
        match state {
            SANDBOX => Stage::Sandbox(since),
            CLIENT => Stage::Client(since),
            AGREEMENT => Stage::Agreement,
            COMPLETE => Stage::Complete(since),
            _ => Stage::Failed,
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.stage(), Stage::Complete(_))
    }

    /// The client sent something malformed, or left in the middle.
    pub(crate) fn has_failed(&self) -> bool {
        self.stage() == Stage::Failed
    }

    /// Only the body itself calls this, from one poll at a time.
    fn enter(&self, state: u8) {
        let before = self.state.load(Ordering::Relaxed);
        // The end of the stream may be told twice, and a client that still has nothing has not moved.
        if before >= COMPLETE || before == CLIENT && state == CLIENT {
            return;
        }
        let since = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.moved.store(since, Ordering::Relaxed);
        self.state.store(state, Ordering::Release);
    }
}
