//! The parts of the process, and the order of their end.

use anyhow::Context;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A part of the process that ends by order, or by failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Activator,
    Scaler,
    Admin,
    Controller,
}

/// The parts that have not ended.
#[derive(Default)]
pub(crate) struct Running {
    tasks: JoinSet<(Part, anyhow::Result<()>)>,
    parts: Vec<Part>,
}

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

    /// Waits for all. Any end asks for the drain; the scaler and the operators' listener stop after the
    /// activator, the agents last. The first failure is the outcome.
    pub(crate) async fn stop_in_order(
        mut self,
        drain: &CancellationToken,
        inner: &CancellationToken,
        agents: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            let (part, result) = ended.context("a part of the process panicked")?;
            if let Err(error) = result.with_context(|| format!("{part:?} ended"))
                && outcome.is_ok()
            {
                outcome = Err(error);
            }
            self.parts.retain(|running| *running != part);
            drain.cancel();
            if !self.parts.contains(&Part::Activator) {
                inner.cancel();
            }
            if self.parts == [Part::Controller] {
                agents.cancel();
            }
        }
        outcome
    }
}
