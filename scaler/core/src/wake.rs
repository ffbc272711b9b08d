//! Wake planning: what to do when somebody asks, and what a wake under way remembers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::act::{Intent, Write};
use crate::view::{Blocked, Desired, Fault, Hold, View};

mod attempt;

pub use attempt::Attempt;

/// First pause after a failed wake; it doubles with each further one.
const BACK_OFF: Duration = Duration::from_secs(1);
/// Longest pause.
const BACK_OFF_CAP: Duration = Duration::from_secs(120);
/// Pause after that failure. It does not grow, since it says nothing about the sandbox; and it is longer than the
/// interval in which a waiting activator repeats itself, so that its next Wake hears why.
const UNANSWERED_PAUSE: Duration = Duration::from_secs(3);
/// Reason of a wake that failed because the API gave no answer.
const API_UNAVAILABLE: &str = "ApiUnavailable";

/// A cause of wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// A request through the activator.
    Http,
    /// An operator or a program through the API.
    Api,
    /// An operator's hold.
    Hold,
    /// Unacknowledged messages.
    NatsJetstream,
    /// A timer.
    Cron,
    /// An external scaler.
    ExternalPush,
    /// One that this version does not know.
    Other,
}

impl Cause {
    /// For metrics, logs and annotations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Api => "api",
            Self::Hold => "hold",
            Self::NatsJetstream => "nats-jetstream",
            Self::Cron => "cron",
            Self::ExternalPush => "external-push",
            Self::Other => "other",
        }
    }
}

/// Somebody asks for a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Why.
    pub cause: Cause,
    /// Requests parked there.
    pub waiting: u32,
    /// The activator that asks; none for the API.
    pub member: Option<Arc<str>>,
    /// Who asked, in a few words for a person: method, path, upgrade.
    pub by: Option<Arc<str>>,
}

/// Why a sandbox will not be woken, whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// It does not exist.
    NotFound,
    /// It is being deleted.
    Deleting,
    /// It belongs to a warm pool.
    PoolOwned,
    /// Its `shutdownTime` has passed.
    Expired,
    /// An operator holds it asleep.
    HeldAsleep,
    /// Its policy is paused.
    Paused,
    /// Its policy names no trigger of this kind.
    NotTriggered,
    /// No policy governs it, and such are not woken here.
    Unmanaged,
}

impl Refusal {
    /// CamelCase.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "NotFound",
            Self::Deleting => "Deleting",
            Self::PoolOwned => "PoolOwned",
            Self::Expired => "SandboxExpired",
            Self::HeldAsleep => "HeldAsleep",
            Self::Paused => "Paused",
            Self::NotTriggered => "NotTriggered",
            Self::Unmanaged => "Unmanaged",
        }
    }

    /// One sentence for the client.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::NotFound => "there is no such sandbox",
            Self::Deleting => "the sandbox is being deleted",
            Self::PoolOwned => "the sandbox belongs to a warm pool and is not claimed",
            Self::Expired => "the sandbox has expired: its shutdownTime has passed",
            Self::HeldAsleep => "an operator holds the sandbox asleep",
            Self::Paused => "the sandbox is asleep and its policy is paused",
            Self::NotTriggered => "the policy of the sandbox does not let this cause wake it",
            Self::Unmanaged => {
                "no policy governs the sandbox, and such sandboxes are not woken here"
            }
        }
    }
}

/// What to do with an ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is awake, or on its way: tell so.
    Join,
    /// Write this when the way is free.
    Start,
    /// Say no.
    Refuse(Refusal),
}

/// Plans one ask.
#[must_use]
pub fn plan(view: &View, cause: Cause, wake_unmanaged: bool, now: Instant) -> Plan {
    if let Some(blocked) = view.blocked(now) {
        return Plan::Refuse(match blocked {
            Blocked::Deleting => Refusal::Deleting,
            Blocked::PoolOwned => Refusal::PoolOwned,
            Blocked::Expired => Refusal::Expired,
        });
    }
    if view.hold() == Some(Hold::Asleep) {
        return Plan::Refuse(Refusal::HeldAsleep);
    }
    match view.desired() {
        Desired::Gone => return Plan::Refuse(Refusal::NotFound),
        Desired::Running | Desired::Unbound => return Plan::Join,
        Desired::Suspended | Desired::Released => {}
    }
    let operator = matches!(cause, Cause::Api | Cause::Hold);
    match &view.policy {
        Some(policy) if policy.paused => Plan::Refuse(Refusal::Paused),
        Some(policy) if cause == Cause::Http && !policy.http => Plan::Refuse(Refusal::NotTriggered),
        None if !wake_unmanaged && !operator => Plan::Refuse(Refusal::Unmanaged),
        _ => Plan::Start,
    }
}

/// The write that wakes, if the objects are asleep.
#[must_use]
pub fn write(view: &View, cause: Cause) -> Option<Write> {
    let (what, uid, epoch) = match view.desired() {
        Desired::Suspended => {
            let sandbox = view.sandbox.as_ref()?;
            (Intent::Restore, &sandbox.uid, sandbox.epoch)
        }
        Desired::Released => {
            let claim = view.claim.as_ref()?;
            (Intent::Bind, &claim.uid, claim.epoch)
        }
        Desired::Gone | Desired::Unbound | Desired::Running => return None,
    };
    Some(Write {
        what,
        uid: Arc::clone(uid),
        epoch,
        cause: cause.as_str(),
    })
}

/// Whether the objects still ask for this wake: another scaler may have written it since.
#[must_use]
pub fn is_due(view: &View, wake: &Write) -> bool {
    write(view, Cause::Other)
        .is_some_and(|due| due.what == wake.what && due.uid == wake.uid && due.epoch == wake.epoch)
}

/// Wakes that failed one after another.
#[derive(Clone, Debug)]
pub struct Failures {
    count: u32,
    until: Instant,
    fault: Fault,
}

impl Failures {
    /// One more after `before`.
    #[must_use]
    pub fn after(before: Option<&Self>, fault: Fault, now: Instant) -> Self {
        let count = before.map_or(0, |before| before.count);
        if *fault.reason == *API_UNAVAILABLE {
            let until = now + UNANSWERED_PAUSE;
            return Self {
                count,
                until,
                fault,
            };
        }
        let count = count + 1;
        let pause = BACK_OFF
            .saturating_mul(1 << (count - 1).min(7))
            .min(BACK_OFF_CAP);
        Self {
            count,
            until: now + pause,
            fault,
        }
    }

    /// The end of the pause, if it is still on.
    #[must_use]
    pub fn until(&self, now: Instant) -> Option<Instant> {
        (now < self.until).then_some(self.until)
    }

    /// What the last one died of.
    #[must_use]
    pub const fn fault(&self) -> &Fault {
        &self.fault
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a case has to begin somewhere")]
mod tests {
    use super::*;

    #[test]
    fn failing_wakes_pause_longer_and_longer_up_to_the_cap() {
        let now = Instant::now();
        let fault = || Fault::new("ImagePull", "no such image");
        let mut failures = Failures::after(None, fault(), now);
        let mut pauses = vec![failures.until(now).unwrap() - now];
        for _ in 0..40 {
            failures = Failures::after(Some(&failures), fault(), now);
            pauses.push(failures.until(now).unwrap() - now);
        }
        assert_eq!(pauses[..4], [1, 2, 4, 8].map(Duration::from_secs));
        assert_eq!(pauses[40], BACK_OFF_CAP);
        assert_eq!(failures.until(now + BACK_OFF_CAP), None);
    }
}
