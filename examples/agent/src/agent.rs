//! What all handlers share: who the agent is, what it remembers, how busy it is, and whether it
//! stops.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::notebook::Notebook;

/// The running agent.
#[derive(Debug)]
pub(crate) struct Agent {
    /// Who answers.
    pub(crate) identity: Identity,
    /// What it remembers.
    pub(crate) notebook: Notebook,
    /// Cancelled when the agent has been asked to stop; streams end then.
    pub(crate) stopping: CancellationToken,
    /// Woken by a client that wants a crash.
    pub(crate) crash: Notify,
    /// When /readyz begins to say yes; never, where it is `None`.
    pub(crate) ready_at: Option<Instant>,
    busy_until: Mutex<Option<Instant>>,
    arrivals: AtomicU64,
}

/// Who answers.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Name the agent gives itself.
    pub(crate) name: String,
    /// Host name of the pod.
    pub(crate) hostname: String,
    /// RFC 3339 instant of this start.
    pub(crate) started: String,
}

impl Agent {
    /// An agent that has just started and is not busy.
    pub(crate) fn new(
        identity: Identity,
        notebook: Notebook,
        ready_at: Option<Instant>,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            identity,
            notebook,
            stopping,
            crash: Notify::new(),
            ready_at,
            busy_until: Mutex::new(None),
            arrivals: AtomicU64::new(0),
        })
    }

    /// 1 for the first request counted by this process, in the order in which they arrived.
    pub(crate) fn arrival(&self) -> u64 {
        self.arrivals.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Busy from now on for so long; zero ends it.
    pub(crate) fn set_busy(&self, how_long: Duration) {
        *self
            .busy_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner) =
            (!how_long.is_zero()).then(|| Instant::now() + how_long);
    }

    /// Whole seconds of work left, rounded up.
    pub(crate) fn busy_for_seconds(&self) -> u64 {
        let until = *self
            .busy_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        until.map_or(0, |until| {
            until
                .saturating_duration_since(Instant::now())
                .as_millis()
                .div_ceil(1_000) as u64
        })
    }
}
