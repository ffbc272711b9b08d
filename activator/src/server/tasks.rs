//! Tasks that outlive the call that began them: streams of h2 connections, tunnels, connections to pods.
//! Somebody waits for them, and can cut them.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A group of tasks.
#[derive(Clone)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    cut: CancellationToken,
    leave: CancellationToken,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self {
            tracker: TaskTracker::new(),
            cut: CancellationToken::new(),
            leave: CancellationToken::new(),
        }
    }

    /// Runs a future to its end, or until the group is cut.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        // A token of its own: waiting on one that all tasks share would be a lock that all share.
        let cut = self.cut.child_token();
        self.tracker.spawn(async move {
            // The work first, so that what is done at once is done even after a cut.
            tokio::select! {
                biased;
                () = future => {}
                () = cut.cancelled() => {}
            }
        });
    }

    /// Runs a future that ends with its owner: waited for, and not cut from here.
    pub(super) fn track(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(future);
    }

    /// Asks what never ends by itself to say its last words: the cut comes soon.
    pub(crate) fn ask_to_leave(&self) {
        self.leave.cancel();
    }

    /// Cancelled when it is time for last words.
    pub(crate) fn leaving(&self) -> CancellationToken {
        // A token of its own, as for the cut.
        self.leave.child_token()
    }

    /// Waits until all have ended.
    pub(crate) async fn finish(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Socket all at their next pause, and waits for it.
    pub(crate) async fn cut(&self) {
        self.cut.cancel();
        self.finish().await;
    }

    /// No more tasks are expected.
    pub(crate) fn close(&self) {
        self.tracker.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.tracker.is_closed()
    }
}
