//! The order to stop: SIGTERM or SIGINT once asks for a drain, twice ends the grace at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the signals of this process asked for so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shutdown {
    /// Stop taking work, finish what is there.
    pub(crate) drain: CancellationToken,
    /// Finish nothing.
    pub(crate) now: CancellationToken,
}

impl Shutdown {
    /// Waits for signals until `now` is cancelled, by a second signal or by whoever ends the process.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub(crate) fn listen(&self) -> std::io::Result<impl Future<Output = ()> + use<>> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let Self { drain, now } = self.clone();
        Ok(async move {
            let Some(()) = now
                .run_until_cancelled(either(&mut terminate, &mut interrupt))
                .await
            else {
                return;
            };
            tracing::info!(
                "stopping: in-flight requests finish, parked ones are told to retry; signal again to stop at once"
            );
            drain.cancel();
            if now
                .run_until_cancelled(either(&mut terminate, &mut interrupt))
                .await
                .is_some()
            {
                now.cancel();
            }
        })
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    // Both mean the same, so the order is no matter.
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
