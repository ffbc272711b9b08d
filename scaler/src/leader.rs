//! Who may put sandboxes to sleep. Waking needs no leader.

use std::time::Instant;

use tokio::sync::watch;

/// Until when this scaler leads; whoever holds the lease says so with each renewal.
pub type Lead = watch::Sender<Option<Instant>>;

/// Whether this scaler leads.
///
/// A value, not a trait: whoever holds the lease owns the sending half; on one machine there is none. It
/// is an instant rather than a flag, so that a process that was suspended does not act on what was true
/// before.
#[derive(Clone, Debug)]
pub struct Leader(Option<watch::Receiver<Option<Instant>>>);

/// Leads while the holder of the lease says so; at first not.
#[must_use]
pub fn elected() -> (Lead, Leader) {
    let (lead, leader) = watch::channel(None);
    (lead, Leader(Some(leader)))
}

impl Leader {
    /// The only scaler there is.
    #[must_use]
    pub const fn always() -> Self {
        Self(None)
    }

    /// Whether it leads now.
    #[must_use]
    pub fn leads(&self) -> bool {
        let now = tokio::time::Instant::now().into_std();
        !self.is_elected() || self.until().is_some_and(|until| now < until)
    }

    /// Whether there are others that may lead.
    pub(crate) const fn is_elected(&self) -> bool {
        self.0.is_some()
    }

    /// Until when it leads, where there are others.
    pub(crate) fn until(&self) -> Option<Instant> {
        *self.0.as_ref()?.borrow()
    }

    /// Returns when the holder of the lease spoke; never if it cannot. Cancel-safe.
    pub(crate) async fn changed(&mut self) {
        let Some(lease) = &mut self.0 else {
            return std::future::pending().await;
        };
        if lease.changed().await.is_err() {
            // The holder is gone; its last word runs out by itself.
            std::future::pending().await
        }
    }
}
