//! The parts of the process, and the order of their end.

use anyhow::Context;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A part of the process that ends by order, or by failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Activator,
    Scaler,
    /// Carries messages between the two.
    Carrier,
    /// The operators' listener.
    Admin,
    /// Runs agents as processes.
    Controller,
    /// Looks which kinds the Kubernetes API has.
    Discovery,
    /// Follows the objects of the Kubernetes API.
    Watch,
    /// Follows the activators' pods.
    Members,
    /// Holds the lease of the leader.
    Lease,
}

/// The parts that have not ended.
#[derive(Default)]
pub(crate) struct Running {
    tasks: JoinSet<(Part, anyhow::Result<()>)>,
    parts: Vec<Part>,
}

/// Once none of these parts runs any more, that is cancelled.
pub(crate) type Stage<'a> = (&'a [Part], &'a CancellationToken);

impl Running {
    pub(crate) fn spawn<E>(
        &mut self,
        part: Part,
        run: impl Future<Output = Result<(), E>> + Send + 'static,
    ) where
        anyhow::Error: From<E>,
    {
        self.parts.push(part);
        self.tasks
            .spawn(async move { (part, run.await.map_err(anyhow::Error::from)) });
    }

    /// The same for a part that cannot fail.
    pub(crate) fn spawn_sure(
        &mut self,
        part: Part,
        run: impl Future<Output = ()> + Send + 'static,
    ) {
        self.spawn(part, async {
            run.await;
            anyhow::Ok(())
        });
    }

    /// Waits for all. Any end asks for the drain; the rest is stopped stage by stage. The first failure is
    /// the outcome.
    pub(crate) async fn stop_in_order(
        mut self,
        drain: &CancellationToken,
        stages: &[Stage<'_>],
    ) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            let (part, result) = ended.context("a part of the process panicked")?;
            if let Err(error) = result.with_context(|| format!("{part:?} ended"))
                && outcome.is_ok()
            {
                outcome = Err(error);
            }
            if let Some(at) = self.parts.iter().position(|running| *running == part) {
                self.parts.swap_remove(at);
            }
            drain.cancel();
            for (before, stage) in stages {
                if !before.iter().any(|part| self.parts.contains(part)) {
                    stage.cancel();
                }
            }
        }
        outcome
    }
}
