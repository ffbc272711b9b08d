//! The order to stop: SIGTERM, SIGINT or SIGHUP once asks for a drain, twice ends the grace at once.

use std::io;

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

/// Runs `serve` to its end on a runtime of its own, told what the signals of this process ask for. The
/// handlers are the first thing there is, so that a signal during the start is an order like any other.
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
    /// A step of the start; `None` if the order to stop came before its end. The step is dropped then.
    ///
    /// # Errors
    /// Those of the step.
    pub(crate) async fn unless_stopped<T, E>(
        &self,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<Option<T>, E> {
        // A step that has no await of its own ends though the order came in the meantime.
        let done = self.drain.run_until_cancelled(step).await.transpose()?;
        Ok(done.filter(|_| !self.drain.is_cancelled()))
    }

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

    /// Waits for signals until `now` is cancelled, by a second signal or because everything has ended.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    fn listen(&self) -> io::Result<impl Future<Output = ()> + use<>> {
        let mut signals = Signals::install()?;
        let Self { drain, now } = self.clone();
        Ok(async move {
            if now.run_until_cancelled(signals.next()).await.is_none() {
                return;
            }
            tracing::info!(
                "stopping: requests in flight finish, parked ones are told to retry; \
                 Ctrl-C again stops at once"
            );
            drain.cancel();
            if now.run_until_cancelled(signals.next()).await.is_some() {
                now.cancel();
            }
        })
    }
}

/// The signals that ask for an end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// The terminal was closed. `None` where whoever started us wants that to be survived (`nohup`).
    hangup: Option<Signal>,
}

impl Signals {
    fn install() -> io::Result<Self> {
        let hangup = match is_ignored(SignalKind::hangup()) {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup,
        })
    }

    /// All mean the same, so the order is no matter.
    async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = hangup => {}
        }
    }
}

/// Whether this process was started with the signal ignored (proc(5), `SigIgn`). Where /proc cannot say,
/// it was not.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored(&status, kind.as_raw_value())
}

fn ignored(status: &str, signal: i32) -> bool {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_the_starter_ignores_is_found_in_the_mask() {
        let status = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000001\n";
        assert!(ignored(status, 1), "SIGHUP under nohup");
        assert!(!ignored(status, 15));
        assert!(!ignored("", 1));
    }
}
