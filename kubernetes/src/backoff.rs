//! How long to wait after a failure: short at first, because most are over at once, then longer.

use std::time::Duration;

use tokio::time::Instant;

/// After the first failure.
const FIRST: Duration = Duration::from_millis(100);
/// After many: an API server that is back is noticed within this time.
const LONGEST: Duration = Duration::from_secs(4);
/// Time without a failure after which the next one counts as the first.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// Part of each pause that is left to chance, so that many processes do not come back as one.
const JITTER: f64 = 0.25;

/// The pauses of one series of failures.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    last: Option<Instant>,
}

impl Backoff {
    /// The pause after a failure that happened now.
    pub(crate) fn next(&mut self) -> Duration {
        let now = Instant::now();
        if self.last.is_some_and(|last| now - last > FORGOTTEN) {
            self.failures = 0;
        }
        self.last = Some(now);
        let pause = FIRST
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(LONGEST);
        self.failures += 1;
        pause.mul_f64(1.0 - JITTER * fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_the_longest_and_start_anew_after_quiet() {
        let mut backoff = Backoff::default();
        assert!(backoff.next() <= FIRST);
        for _ in 0..100 {
            backoff.next();
        }
        let longest = backoff.next();
        assert!(longest <= LONGEST && longest >= LONGEST / 2, "{longest:?}");
        tokio::time::advance(FORGOTTEN + Duration::from_secs(1)).await;
        assert!(backoff.next() <= FIRST);
    }
}
