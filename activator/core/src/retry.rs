//! How long a dial goes on, and what may be sent a second time.

use std::time::{Duration, Instant};

/// First pause between two dials.
pub const FIRST_STEP: Duration = Duration::from_millis(5);
/// Longest pause between two dials.
pub const LONGEST_STEP: Duration = Duration::from_millis(250);
/// How long a pod that has been up for a while is dialled: long enough for a listener that restarts,
/// short enough that a wrong port is answered promptly.
pub const PATIENCE: Duration = Duration::from_millis(1500);

/// The pauses of one dial.
#[derive(Clone, Copy, Debug)]
pub struct Dial {
    until: Instant,
    step: Duration,
}

impl Dial {
    /// Goes on until `young_until`, but at least for [`PATIENCE`].
    #[must_use]
    pub fn start(young_until: Option<Instant>, now: Instant) -> Self {
        let patient = now + PATIENCE;
        Self {
            until: young_until.map_or(patient, |young| young.max(patient)),
            step: FIRST_STEP,
        }
    }

    /// When the whole dial is over.
    #[must_use]
    pub const fn until(&self) -> Instant {
        self.until
    }

    /// After a refused attempt: when to try again, or `None` if the dial is over.
    pub fn next(&mut self, now: Instant) -> Option<Instant> {
        let at = now + self.step;
        self.step = (self.step * 2).min(LONGEST_STEP);
        (at <= self.until).then_some(at)
    }
}

/// What is known of an exchange whose connection died after bytes were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange<'a> {
    /// Method token.
    pub method: &'a str,
    /// The request has a body, be it an unread one.
    pub has_body: bool,
    /// A byte of the response came.
    pub response_began: bool,
    /// Times the request was sent.
    pub sent: u32,
}

impl Exchange<'_> {
    /// Whether it may be sent once more (RFC 9110 §9.2.2).
    #[must_use]
    pub fn may_resend(&self) -> bool {
        let is_idempotent = matches!(
            self.method,
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
        );
        is_idempotent && !self.has_body && !self.response_began && self.sent <= 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::any_instant;

    #[test]
    fn an_old_pod_is_dialled_for_a_moment_and_a_young_one_until_it_is_old() {
        let start = any_instant();
        for (young_until, until) in [
            (None, start + PATIENCE),
            (Some(start), start + PATIENCE),
            (
                Some(start + Duration::from_secs(60)),
                start + Duration::from_secs(60),
            ),
        ] {
            let mut dial = Dial::start(young_until, start);
            let (mut now, mut last) = (start, Duration::ZERO);
            while let Some(at) = dial.next(now) {
                assert!(
                    at - now >= last && at - now <= LONGEST_STEP,
                    "the step grows to its limit"
                );
                (last, now) = (at - now, at);
            }
            assert!(now <= until && now + LONGEST_STEP > until);
        }
    }

    #[test]
    fn only_an_unanswered_idempotent_request_without_a_body_is_sent_twice_and_never_thrice() {
        let good = Exchange {
            method: "GET",
            has_body: false,
            response_began: false,
            sent: 1,
        };
        assert!(good.may_resend());
        for method in ["POST", "PATCH", "CONNECT", "get", "LOCK"] {
            assert!(!Exchange { method, ..good }.may_resend(), "{method}");
        }
        assert!(
            !Exchange {
                has_body: true,
                ..good
            }
            .may_resend()
        );
        assert!(
            !Exchange {
                response_began: true,
                ..good
            }
            .may_resend()
        );
        assert!(!Exchange { sent: 2, ..good }.may_resend());
    }
}
