//! What one activator saw of one sandbox: the positive evidence that idleness is decided on.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest busy lease one response can set.
pub const LONGEST_LEASE: Duration = Duration::from_secs(24 * 3600);

/// Counts requests of one sandbox and remembers when the last one ended.
#[derive(Debug, Default)]
pub struct Activity {
    /// Requests begun and not ended, the parked ones included.
    begun: u32,
    /// When the last one ended; `None` if there never was one.
    quiet_since: Option<Instant>,
    lease: Option<Lease>,
    changed: bool,
}

/// The agent said that it works though nobody calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lease {
    pod: Arc<str>,
    until: Instant,
    /// The agent itself ended it: that has to be told, while mere expiry is seen by everybody.
    is_ended: bool,
}

/// One sandbox in a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Requests sent and not ended, and upgraded connections that moved bytes lately.
    pub in_flight: u32,
    /// Requests parked.
    pub parked: u32,
    /// Time since the last activity ended; zero while there is some.
    pub quiet_for: Duration,
    /// What is left of the busy lease, and whose it is; zero was ended by the agent.
    pub busy: Option<(Arc<str>, Duration)>,
}

impl Activity {
    /// One more request, or an upgraded connection that moves bytes again.
    pub fn begin(&mut self) {
        self.begun += 1;
        self.changed = true;
    }

    /// One request less, or an upgraded connection that fell silent.
    pub fn end(&mut self, now: Instant) {
        self.begun = self.begun.saturating_sub(1);
        self.quiet_since = Some(now);
        self.changed = true;
    }

    /// The agent asks to be left awake for that long; zero ends it.
    pub fn lease(&mut self, pod: Arc<str>, length: Duration, now: Instant) {
        let until = now + length.min(LONGEST_LEASE);
        self.lease = Some(Lease {
            pod,
            until,
            is_ended: length.is_zero(),
        });
        self.changed = true;
    }

    /// A lease dies with its pod.
    pub fn only_pod(&mut self, pod: Option<&Arc<str>>) {
        if self
            .lease
            .as_ref()
            .is_some_and(|lease| Some(&lease.pod) != pod)
        {
            self.lease = None;
            self.changed = true;
        }
    }

    /// Whether a sleep has to wait: something is begun, or a lease lasts.
    #[must_use]
    pub fn is_busy(&self, now: Instant) -> bool {
        self.begun > 0 || self.lease.as_ref().is_some_and(|lease| lease.until > now)
    }

    /// Requests begun and not ended, the parked ones included.
    #[must_use]
    pub const fn begun(&self) -> usize {
        self.begun as usize
    }

    /// Whether a full report has to name this sandbox: it was used since this process began.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.begun > 0 || self.quiet_since.is_some() || self.lease.is_some()
    }

    /// Whether something changed since the last report.
    #[must_use]
    pub const fn is_changed(&self) -> bool {
        self.changed
    }

    /// What to report, `parked` of the requests being in the lot. Counts as reported.
    pub fn report(&mut self, parked: u32, now: Instant) -> Seen {
        self.changed = false;
        let busy = self.lease.as_ref().and_then(|lease| {
            let left = lease.until.saturating_duration_since(now);
            (lease.is_ended || !left.is_zero()).then(|| (Arc::clone(&lease.pod), left))
        });
        if self.lease.as_ref().is_some_and(|lease| lease.until <= now) {
            // Told once: told again later it might end the lease that another activator heard of.
            self.lease = None;
        }
        Seen {
            in_flight: self.begun.saturating_sub(parked),
            parked,
            quiet_for: match self.quiet_since {
                Some(since) if self.begun == 0 => now.saturating_duration_since(since),
                _ => Duration::ZERO,
            },
            busy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::any_instant;

    #[test]
    fn a_lease_that_the_agent_ended_is_told_once_and_one_that_ran_out_never() {
        let start = any_instant();
        let mut activity = Activity::default();
        activity.lease("pod".into(), Duration::from_secs(5), start);
        assert_eq!(
            activity.report(0, start).busy,
            Some(("pod".into(), Duration::from_secs(5)))
        );
        assert!(activity.is_busy(start));
        let later = start + Duration::from_secs(6);
        assert!(!activity.is_busy(later));
        assert_eq!(activity.report(0, later).busy, None);
        activity.lease("pod".into(), Duration::ZERO, later);
        assert_eq!(
            activity.report(0, later).busy,
            Some(("pod".into(), Duration::ZERO))
        );
        assert_eq!(activity.report(0, later).busy, None);
    }

    #[test]
    fn a_lease_dies_with_its_pod() {
        let start = any_instant();
        let mut activity = Activity::default();
        activity.lease("old".into(), Duration::from_secs(5), start);
        activity.only_pod(Some(&"old".into()));
        assert!(activity.is_busy(start));
        activity.only_pod(Some(&"new".into()));
        assert!(!activity.is_busy(start));
    }

    #[test]
    fn quiet_begins_when_the_last_request_ends() {
        let start = any_instant();
        let mut activity = Activity::default();
        assert!(!activity.is_known() && !activity.is_changed());
        activity.begin();
        activity.begin();
        activity.end(start);
        let seen = activity.report(1, start + Duration::from_secs(9));
        assert_eq!(
            (seen.in_flight, seen.parked, seen.quiet_for),
            (0, 1, Duration::ZERO)
        );
        activity.end(start + Duration::from_secs(10));
        assert!(activity.is_changed());
        let seen = activity.report(0, start + Duration::from_secs(13));
        assert_eq!(
            (seen.in_flight, seen.quiet_for),
            (0, Duration::from_secs(3))
        );
        assert!(!activity.is_changed() && activity.is_known());
    }
}
