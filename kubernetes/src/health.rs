//! Whether the watches run: what readiness and metrics show of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

/// How all watches together do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// Everything that existed at the start has been told. Never untrue again.
    pub synced: bool,
    /// Watches that do not run, by what they watch (`sandboxes.agents.x-k8s.io in agents`).
    pub failing: BTreeMap<Arc<str>, Failing>,
    /// Lists made again because a watch could not go on where it had stopped.
    pub relists: u64,
    /// Objects that could not be read, once each.
    pub unreadable: u64,
}

/// A watch that does not run.
#[derive(Clone, Debug, PartialEq)]
pub struct Failing {
    /// Since when; what is known is as old as that.
    pub since: Instant,
    /// For a person.
    pub why: Arc<str>,
}

impl Health {
    /// Since when something known may be out of date; `None` while all watches run.
    #[must_use]
    pub fn stale_since(&self) -> Option<Instant> {
        self.failing.values().map(|failing| failing.since).min()
    }
}

/// Where one watch tells how it does.
#[derive(Clone)]
pub(crate) struct Reporter {
    what: Arc<str>,
    health: watch::Sender<Health>,
}

impl Reporter {
    pub(crate) fn new(what: Arc<str>, health: watch::Sender<Health>) -> Self {
        Self { what, health }
    }

    pub(crate) fn what(&self) -> &Arc<str> {
        &self.what
    }

    /// It does not run; answers whether it did until now, or failed for another reason.
    pub(crate) fn failing(&self, why: &str, now: Instant) -> bool {
        self.health.send_if_modified(|health| {
            let Some(failing) = health.failing.get_mut(&self.what) else {
                let why = why.into();
                let failing = Failing { since: now, why };
                health.failing.insert(Arc::clone(&self.what), failing);
                return true;
            };
            let news = *failing.why != *why;
            if news {
                failing.why = why.into();
            }
            news
        })
    }

    /// It runs; answers since when it did not.
    pub(crate) fn running(&self) -> Option<Instant> {
        let mut since = None;
        self.health.send_if_modified(|health| {
            since = health.failing.remove(&self.what).map(|it| it.since);
            since.is_some()
        });
        since
    }

    pub(crate) fn relisted(&self) {
        self.health.send_modify(|health| health.relists += 1);
    }

    pub(crate) fn unreadable(&self) {
        self.health.send_modify(|health| health.unreadable += 1);
    }
}
