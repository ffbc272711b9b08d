//! The order to stop: SIGTERM or SIGINT once asks for a drain, twice ends the grace at once.

use anyhow::Context;
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

/// Runs `serve` to its end on a runtime of its own, told what the signals of this process ask for.
///
/// # Errors
/// Those of `serve`; if there can be no runtime, or no signal handlers.
pub(crate) fn run<F>(serve: impl FnOnce(Shutdown) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(async {
        let shutdown = Shutdown::default();
        let signals = tokio::spawn(shutdown.listen().context("installing signal handlers")?);
        let outcome = serve(shutdown.clone()).await;
        shutdown.now.cancel();
        signals.await.context("the signal listener")?;
        outcome
    })
}

impl Shutdown {
    /// `serving`, dropped where it stands on the second signal, and its connections with it.
    pub(crate) fn unless_now<E, F>(
        &self,
        serving: F,
    ) -> impl Future<Output = Result<(), E>> + use<E, F>
    where
        F: Future<Output = Result<(), E>>,
    {
        let now = self.now.clone();
        async move { now.run_until_cancelled(serving).await.unwrap_or(Ok(())) }
    }

    /// Waits for signals until `now` is cancelled, by a second signal or by whoever ends the process.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    fn listen(&self) -> std::io::Result<impl Future<Output = ()> + use<>> {
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
