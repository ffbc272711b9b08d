//! What counts as use of a sandbox: a request from its head to its last byte, but for the silences of what
//! stays open.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, Uri};
use tokio::time::{Instant, timeout_at};

use super::{Slot, now};

/// Characters kept of the path of a request that wakes.
const LONGEST_PATH: usize = 150;

/// One request that counts, until dropped.
pub(crate) struct Activity {
    pulse: Arc<Pulse>,
    caller: Option<IpAddr>,
    asker: Option<Asker>,
}

/// What a request asks for; cheap to keep, since both share the bytes of its head.
struct Asker {
    method: Method,
    uri: Uri,
    upgrades: bool,
}

/// Whether a request counts now; held by all that moves bytes of it.
pub(crate) struct Pulse {
    slot: Arc<Slot>,
    began: Instant,
    /// Nanoseconds from `began` to the last bytes that were no heartbeat.
    last: AtomicU64,
    state: AtomicU8,
}

const COUNTS: u8 = 0;
/// It was silent for long.
const QUIET: u8 = 1;
const OVER: u8 = 2;

impl Activity {
    pub(super) fn begin(slot: &Arc<Slot>) -> Self {
        slot.count(|entry| entry.begin());
        let pulse = Pulse {
            slot: Arc::clone(slot),
            began: Instant::now(),
            last: AtomicU64::new(0),
            state: AtomicU8::new(COUNTS),
        };
        Self {
            pulse: Arc::new(pulse),
            caller: None,
            asker: None,
        }
    }

    /// Names the caller whose quota a wake of this request is charged to.
    #[must_use]
    pub(crate) fn by(mut self, caller: IpAddr) -> Self {
        self.caller = Some(caller);
        self
    }

    /// Says what it asks for, so that who wakes a sandbox can be told.
    #[must_use]
    pub(crate) fn asks(mut self, method: &Method, uri: &Uri, upgrades: bool) -> Self {
        self.asker = Some(Asker {
            method: method.clone(),
            uri: uri.clone(),
            upgrades,
        });
        self
    }

    /// What it asks for, in a few words; without the query, which may hold secrets.
    pub(crate) fn words(&self) -> Option<Box<str>> {
        let Asker {
            method,
            uri,
            upgrades,
        } = self.asker.as_ref()?;
        let path: String = uri.path().chars().take(LONGEST_PATH).collect();
        let upgrade = if *upgrades { " (upgrade)" } else { "" };
        Some(format!("{method} {path}{upgrade}").into())
    }

    /// Who calls, where known.
    pub(crate) fn caller(&self) -> Option<IpAddr> {
        self.caller
    }

    pub(crate) fn slot(&self) -> &Arc<Slot> {
        &self.pulse.slot
    }

    pub(crate) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.pulse.end();
    }
}

impl Pulse {
    pub(crate) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// Bytes passed that are no heartbeat: it counts from before they go on.
    pub(crate) fn beat(&self) {
        let since = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::SeqCst);
        self.count_again();
    }

    /// Stops counting while nothing passes for as long as `limit` says. Completes when that silence is all
    /// that is left: the sandbox's present pod is not `pod` any more, so whatever this is leads nowhere.
    pub(crate) async fn watch(&self, pod: &Arc<str>, limit: impl Fn(&Slot) -> Option<Duration>) {
        self.beat();
        loop {
            let concern = self.slot.concern();
            // Asked anew each time: a policy may have changed.
            let next = limit(&self.slot).map(|limit| {
                let last = self.last.load(Ordering::SeqCst);
                let silent_at = self.began + Duration::from_nanos(last) + limit;
                if Instant::now() < silent_at {
                    silent_at
                } else {
                    self.quiet(last);
                    // From now on bytes say so themselves; look again when they could have rested for
                    // long.
                    Instant::now() + limit.max(Duration::from_secs(1))
                }
            });
            if self.state.load(Ordering::Acquire) == QUIET && !self.slot.has_pod(pod) {
                return;
            }
            match next {
                None => concern.await,
                Some(next) => {
                    let _ = timeout_at(next, concern).await;
                }
            }
        }
    }

    /// It was silent since `last`.
    pub(crate) fn quiet(&self, last: u64) {
        if self.passes(COUNTS, QUIET) {
            self.slot.count(|entry| entry.end(now()));
        }
        // Bytes that passed in between have found it still counting.
        if self.last.load(Ordering::SeqCst) != last {
            self.count_again();
        }
    }

    fn count_again(&self) {
        if self.passes(QUIET, COUNTS) {
            self.slot.count(|entry| entry.begin());
        }
    }

    fn end(&self) {
        if self.state.swap(OVER, Ordering::AcqRel) == COUNTS {
            self.slot.count(|entry| entry.end(now()));
        }
    }

    fn passes(&self, from: u8, to: u8) -> bool {
        self.state
            .compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
    }
}
