//! What the server holds an exchange by from outside the HTTP library. The library asks neither the body of an
//! answer nor anybody else while it waits for its client to read, so one that does not read would hold whatever
//! is sent to it for ever.
//!
//! Whoever polls the exchange polls [`Tether::over`] after it, in the same task: what this finds out the answer
//! is told at once, and if its client has not heard it after a while the exchange is dropped.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::{HEARING, Tasks};

tokio::task_local! {
    /// That of the h2 stream whose task this is.
    static STREAM: Arc<Tether>;
}

/// Completes with the reason for which an answer is to end before its time.
pub(crate) type Watch = Pin<Box<dyn Future<Output = &'static str> + Send>>;

/// What moves the bytes of a tunnel to its client: the library's, for an h2 stream that has become one.
pub(crate) type Mover = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One connection of HTTP/1.1, which has one exchange at a time, or one h2 stream.
#[derive(Default)]
pub(crate) struct Tether {
    state: Mutex<State>,
    /// There is a reason.
    is_told: AtomicBool,
    is_leaving: AtomicBool,
    mover: Mutex<Option<oneshot::Sender<Mover>>>,
}

#[derive(Default)]
struct State {
    watch: Option<Watch>,
    reason: Option<&'static str>,
    /// Until then its client may take to hear it.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Tether {
    /// That of the h2 stream that this is called for, if it is one.
    pub(super) fn of_stream() -> Option<Arc<Self>> {
        STREAM.try_with(Arc::clone).ok()
    }

    /// Socket the answer under way once `watch` has a reason. To be called while it is polled.
    pub(crate) fn watch(&self, watch: Watch) {
        self.state.lock().watch = Some(watch);
    }

    /// The answer that was watched is over.
    pub(crate) fn release(&self) {
        self.is_told.store(self.is_leaving(), Ordering::Relaxed);
        // What is dropped may have a lock of its own.
        let _state = std::mem::take(&mut *self.state.lock());
    }

    /// Why the answer is to end now.
    pub(crate) fn told(&self) -> Option<&'static str> {
        if !self.is_told.load(Ordering::Relaxed) {
            return None;
        }
        let reason = self.state.lock().reason;
        reason.or_else(|| self.is_leaving().then_some("the proxy is shutting down"))
    }

    /// Completes when it is time for last words: the process is about to cut what is left.
    pub(crate) async fn leaving(&self) {
        // Whoever sets it has this task polled again.
        let poll = |_: &mut Context<'_>| match self.is_leaving() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        };
        std::future::poll_fn(poll).await;
    }

    fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// The stream is to become a tunnel: what moves its bytes will come this way.
    pub(crate) fn mover(&self) -> oneshot::Receiver<Mover> {
        let (sender, mover) = oneshot::channel();
        *self.mover.lock() = Some(sender);
        mover
    }

    /// Completes when the exchange is to be dropped: its client was told by the body that it ends, and has not
    /// taken it in time. To be polled after the exchange, in its task.
    pub(super) async fn over(&self, leaving: &CancellationToken) {
        let mut left = pin!(leaving.cancelled());
        std::future::poll_fn(|cx| {
            if !self.is_leaving() && left.as_mut().poll(cx).is_ready() {
                self.is_leaving.store(true, Ordering::Relaxed);
                self.is_told.store(true, Ordering::Relaxed);
                cx.waker().wake_by_ref();
            }
            self.poll_patience(cx)
        })
        .await;
    }

    fn poll_patience(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        let State {
            watch,
            reason,
            patience,
        } = &mut *state;
        if reason.is_none()
            && let Some(waits) = watch
        {
            *reason = Some(ready!(waits.as_mut().poll(cx)));
            *patience = Some(Box::pin(sleep(HEARING)));
            self.is_told.store(true, Ordering::Relaxed);
            // The body is to hear of it.
            cx.waker().wake_by_ref();
        }
        match patience {
            Some(patience) => patience.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

/// Runs the streams of one h2 connection, which end with it.
#[derive(Clone)]
pub(super) struct Streams {
    tasks: Tasks,
    leaving: CancellationToken,
}

impl Streams {
    pub(super) fn new(tasks: &Tasks) -> Self {
        Self {
            tasks: tasks.clone(),
            leaving: tasks.leaving(),
        }
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let tunnel = STREAM.try_with(|stream| stream.mover.lock().take());
        if let Ok(Some(tunnel)) = tunnel {
            // Dropped if nobody is there, which resets the stream.
            return drop(tunnel.send(Box::pin(future)));
        }
        let (tether, leaving) = (Arc::<Tether>::default(), self.leaving.clone());
        let exchange = STREAM.scope(Arc::clone(&tether), future);
        self.tasks.track(async move {
            tokio::select! {
                biased;
                () = exchange => {}
                () = tether.over(&leaving) => {}
            }
        });
    }
}
