//! Who may put sandboxes to sleep. Waking needs no leader.

use tokio::sync::watch;

/// Whether this scaler leads, and when that changes.
///
/// A value, not a trait: whoever holds the lease owns the sending half; on one machine there is none.
#[derive(Clone, Debug)]
pub struct Leader(Option<watch::Receiver<bool>>);

impl Leader {
    /// The only scaler there is.
    #[must_use]
    pub fn always() -> Self {
        Self(None)
    }

    /// Leads while the lease's holder says so.
    #[must_use]
    pub fn elected(lease: watch::Receiver<bool>) -> Self {
        Self(Some(lease))
    }

    /// Whether it leads now.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.0.as_ref().is_none_or(|lease| *lease.borrow())
    }

    /// Returns when that changed; never if it cannot. Cancel-safe.
    pub async fn changed(&mut self) {
        let Some(lease) = &mut self.0 else {
            return std::future::pending().await;
        };
        if lease.changed().await.is_err() {
            // The holder is gone, and with it the right to lead: `borrow` keeps its last word, so
            // the holder says `false` before it goes.
            std::future::pending().await
        }
    }
}
