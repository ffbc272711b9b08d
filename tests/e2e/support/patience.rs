//! Waiting: for an event, with a deadline, and with a word on what was waited for.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// Longest wait for anything. Generous: tests share two cores with each other and with a compiler, and
/// failing wakes are backed off for up to two minutes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
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
    look: impl FnMut() -> F,
) -> T {
    until_for(PATIENCE, what, look).await
}

/// The same with another patience, for what has a slower clock of its own.
pub(crate) async fn until_for<T, F: Future<Output = Option<T>>>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
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
