//! What the end-to-end tests stand on: the real binary, real agents, real sockets.
//!
//! ```text
//! Reveille ─┬─ Home       manifests and state folder, kept across restarts
//!           ├─ Log        its JSON log: waited for, and shown when a test fails
//!           ├─ client     HTTP/1.1 as clients speak it; raw sockets; WebSocket
//!           ├─ admin      /v1/sandboxes, /metrics
//!           └─ process    memory, CPU, descriptors; which agents live
//! Nats, Chaos             a real server, and a proxy before it that doubles, delays and cuts
//! ```
//!
//! Waiting is always for an event, and never longer than [`PATIENCE`].

pub(crate) mod admin;
pub(crate) mod chaos;
pub(crate) mod client;
pub(crate) mod home;
pub(crate) mod log;
pub(crate) mod manifests;
pub(crate) mod nats;
pub(crate) mod process;
pub(crate) mod reveille;
pub(crate) mod socket;

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// Longest wait for anything. Generous: tests share two cores with each other and with a compiler.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that sends no event.
const LOOK: Duration = Duration::from_millis(10);

/// Waits for a future, or fails the test and says what was waited for.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// Looks until there is something to see.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        sleep(LOOK).await;
    }
}

/// A size or count that can be set for a longer run.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests have no command line of their own"
    )]
    match std::env::var(name) {
        Ok(value) => value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value} is not a number")),
        Err(_) => default,
    }
}
