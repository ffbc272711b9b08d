//! How long a pod that was seen to leave is still waited for: its node may be dead and never say so.

use std::time::{Duration, Instant};

/// Added to a pod's grace: the time for its node to begin with it, and for the watch to tell.
pub const SLACK: Duration = Duration::from_secs(5);

/// When everything that is still open towards a pod is over, which was seen deleted or on its way out `now`, and whose
/// processes have `grace` to end.
#[must_use]
pub fn over_at(now: Instant, grace: Duration) -> Instant {
    now + grace.saturating_add(SLACK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::any_instant;

    #[test]
    fn a_pod_has_its_grace_and_a_moment_more() {
        let now = any_instant();
        let grace = Duration::from_secs(30);
        assert_eq!(over_at(now, grace), now + Duration::from_secs(35));
    }
}
