//! Busy leases: "I am working though nobody is calling me".
//!
//! Three sources, each with one lease of its own; the longest counts. What the agent says of itself is kept
//! here and dies with the pod that said it; zero ends the lease of that source alone. What the API was told
//! stands on the Sandbox ([`crate::view::SandboxView::busy_until`]), where every replica sees it, and ends
//! with the epoch.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest lease that may be set at a time.
pub const LONGEST_LEASE: Duration = Duration::from_secs(86_400);

/// Who set a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The agent, in a response header.
    Header,
    /// The agent, when asked on its busy path.
    Probe,
    /// Somebody allowed to, on the Sandbox.
    Api,
}

impl Source {
    /// For a sentence.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Header => "the agent said so in a response",
            Self::Probe => "the agent said so when asked",
            Self::Api => "its annotation reveille.dev/busy-until says so",
        }
    }
}

/// What the agent of one sandbox said of itself.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    held: Vec<Lease>,
    /// The last word of a pod that is not there (yet): an activator may see a pod before its scaler does.
    early: Option<Box<Lease>>,
}

#[derive(Clone, Debug)]
struct Lease {
    source: Source,
    pod: Arc<str>,
    until: Instant,
}

impl Lease {
    fn new(source: Source, pod: &Arc<str>, until: Instant) -> Self {
        let pod = Arc::clone(pod);
        Self { source, pod, until }
    }
}

impl Leases {
    /// Sets the lease of `source` for `pod`; a zero `length` ends it. Where `present` is another pod, the
    /// word counts when that pod is seen; the word of a pod that is gone never does.
    pub fn set(
        &mut self,
        source: Source,
        pod: &Arc<str>,
        present: Option<&Arc<str>>,
        length: Duration,
        now: Instant,
    ) {
        if present.is_some_and(|present| present != pod) {
            return self.expect(source, pod, length, now);
        }
        self.held.retain(|lease| lease.source != source);
        let until = now.checked_add(length).filter(|until| *until > now);
        self.held
            .extend(until.map(|until| Lease::new(source, pod, until)));
    }

    /// Sets the lease of `source` for a pod that is yet to be seen.
    pub fn expect(&mut self, source: Source, pod: &Arc<str>, length: Duration, now: Instant) {
        let until = now.checked_add(length).filter(|until| *until > now);
        self.early = until.map(|until| Box::new(Lease::new(source, pod, until)));
    }

    /// Drops what belongs to another pod than the present one.
    pub fn see(&mut self, present: Option<&Arc<str>>) {
        let Some(present) = present else { return };
        self.held.retain(|lease| lease.pod == *present);
        let early = self.early.take_if(|early| early.pod == *present);
        self.held.extend(early.map(|early| *early));
    }

    /// The pod is gone. What the next one has said already stays.
    pub fn clear(&mut self) {
        self.held = Vec::new();
    }

    /// Another object bears the name.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// The lease that ends last, if any is left.
    #[must_use]
    pub fn longest(&self, now: Instant) -> Option<(Instant, Source)> {
        let left = self.held.iter().filter(|lease| lease.until > now);
        left.max_by_key(|lease| lease.until)
            .map(|lease| (lease.until, lease.source))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a case has to begin somewhere")]
mod tests {
    use super::*;

    fn pods() -> (Arc<str>, Arc<str>) {
        ("old".into(), "new".into())
    }

    #[test]
    fn the_longest_lease_counts_and_zero_ends_only_its_own() {
        let (now, (_, pod)) = (Instant::now(), pods());
        let seconds = Duration::from_secs;
        let mut leases = Leases::default();
        leases.set(Source::Header, &pod, Some(&pod), seconds(60), now);
        leases.set(Source::Probe, &pod, Some(&pod), seconds(30), now);
        assert_eq!(
            leases.longest(now),
            Some((now + seconds(60), Source::Header))
        );
        leases.set(Source::Header, &pod, Some(&pod), Duration::ZERO, now);
        assert_eq!(
            leases.longest(now),
            Some((now + seconds(30), Source::Probe))
        );
        assert_eq!(leases.longest(now + seconds(30)), None);
    }

    #[test]
    fn a_lease_dies_with_its_pod() {
        let (now, (old, new)) = (Instant::now(), pods());
        let mut leases = Leases::default();
        leases.set(
            Source::Header,
            &old,
            Some(&old),
            Duration::from_secs(60),
            now,
        );
        leases.see(None);
        assert!(
            leases.longest(now).is_some(),
            "a pod not seen is not a pod replaced"
        );
        leases.see(Some(&new));
        assert_eq!(leases.longest(now), None);
    }

    #[test]
    fn the_word_of_a_pod_that_is_yet_to_be_seen_counts_when_it_is() {
        let (now, (old, new)) = (Instant::now(), pods());
        for asleep in [false, true] {
            let mut leases = Leases::default();
            if asleep {
                leases.expect(Source::Header, &new, Duration::from_secs(60), now);
                leases.clear();
            } else {
                leases.set(
                    Source::Header,
                    &new,
                    Some(&old),
                    Duration::from_secs(60),
                    now,
                );
            }
            assert_eq!(leases.longest(now), None);
            leases.see(Some(&new));
            assert!(leases.longest(now).is_some());
        }
    }

    #[test]
    fn the_word_of_a_pod_that_is_gone_changes_nothing() {
        let (now, (old, new)) = (Instant::now(), pods());
        let mut leases = Leases::default();
        leases.set(
            Source::Header,
            &new,
            Some(&new),
            Duration::from_secs(60),
            now,
        );
        leases.set(Source::Header, &old, Some(&new), Duration::ZERO, now);
        assert!(leases.longest(now).is_some());
    }
}
