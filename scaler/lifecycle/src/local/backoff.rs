//! When a container that ended is started again: the kubelet's rule.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
/// A run this long forgives what was before it.
const FORGIVEN: Duration = Duration::from_secs(600);

/// The first restart is at once, then 10 s doubling to 5 min; 10 min without an end start over.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    next: Option<Duration>,
}

impl Backoff {
    /// How long to wait with the restart of a container that ran from `started` to `now`.
    pub(super) fn ended(&mut self, started: Instant, now: Instant) -> Duration {
        if now.saturating_duration_since(started) >= FORGIVEN {
            self.next = None;
        }
        let delay = self.next.unwrap_or_default();
        self.next = Some(self.next.map_or(FIRST, |next| (next * 2).min(LONGEST)));
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_wait_as_the_kubelet_makes_them() {
        let start = tokio::time::Instant::now().into_std();
        let mut backoff = Backoff::default();
        let delays: Vec<u64> = (0..8)
            .map(|_| backoff.ended(start, start).as_secs())
            .collect();
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff.ended(start, start + FORGIVEN), Duration::ZERO);
        assert_eq!(backoff.ended(start, start), FIRST);
    }
}
