//! How a pod is told to end, and how long its processes may take for it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The end of one pod. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Stop {
    begun: CancellationToken,
    /// When what is left is killed.
    by: watch::Sender<Option<Instant>>,
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            begun: CancellationToken::new(),
            by: watch::Sender::new(None),
        }
    }
}

impl Stop {
    /// Ends the pod: SIGTERM now, SIGKILL after `grace`. Said again, the earlier SIGKILL counts.
    pub fn within(&self, grace: Duration) {
        let at = Instant::now() + grace;
        self.by.send_if_modified(|by| {
            let sooner = by.is_none_or(|known| at < known);
            if sooner {
                *by = Some(at);
            }
            sooner
        });
        self.begun.cancel();
    }

    /// Whether it was said.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Waits until it is said. Cancel-safe.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    pub(super) const fn token(&self) -> &CancellationToken {
        &self.begun
    }

    /// Waits until the grace is over; forever while no end was asked for. Cancel-safe.
    pub async fn overdue(&self) {
        let mut changes = self.by.subscribe();
        loop {
            let by = *changes.borrow_and_update();
            let over = async {
                match by {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over => return,
                // Its sender is `self`, which outlives this.
                _ = changes.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_shortest_grace_that_was_given_counts() {
        let stop = Stop::default();
        let start = Instant::now();
        let watched = stop.clone();
        let over = tokio::spawn(async move { watched.overdue().await });
        stop.within(Duration::from_secs(30));
        assert!(stop.has_begun());
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.within(Duration::from_secs(2));
        stop.within(Duration::from_secs(60));
        over.await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(3));
    }
}
