//! Why a sandbox is awake or asleep right now: one word each for programs, one sentence for people.

use std::fmt;
use std::sync::Arc;

use crate::lease::Source;
use crate::roster::Silence;
use crate::view::Blocked;
use crate::wake::Cause;

/// The reason of the present state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is no such thing (any more).
    Gone,
    /// Not ours to touch.
    Blocked(Blocked),
    /// The policy is paused.
    Paused,
    /// No policy governs it.
    Unmanaged,
    /// An operator keeps it awake.
    HeldAwake,
    /// An operator keeps it asleep.
    HeldAsleep,
    /// Nobody needs it.
    Asleep,
    /// A wake failed, and the next try waits.
    WakeBackOff(Arc<str>),
    /// A wake is under way.
    Waking(Cause),
    /// It starts without our doing.
    Starting,
    /// It does not come up, for this reason.
    Faulty(Arc<str>),
    /// A write is under way or queued.
    Writing,
    /// It is being asked for.
    Asked,
    /// Requests are under way.
    InFlight(u32),
    /// Requests are parked.
    Parked(u32),
    /// A busy lease.
    Busy(Source),
    /// The agent is being asked whether it is busy.
    AskingBusy,
    /// The agent gave no usable answer to that.
    BusyUnknown,
    /// It woke a moment ago.
    MinimumUptime,
    /// It was created a moment ago.
    InitialCooldown,
    /// It was needed a moment ago.
    Cooldown,
    /// What happened before is not known, so it counts as needed until a cooldown has passed.
    Unknown,
    /// Not all activators have been heard.
    Silence(Silence),
    /// A drain was refused, and the next one waits.
    DrainBackOff,
    /// The activators are being asked to stop sending.
    Draining,
}

impl Why {
    /// Whether it passes by itself within a report of an activator, most likely.
    #[must_use]
    pub const fn is_of_the_moment(&self) -> bool {
        matches!(
            self,
            Self::Writing | Self::Asked | Self::InFlight(_) | Self::Parked(_) | Self::DrainBackOff
        )
    }

    /// CamelCase, a fixed set.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Gone => "NotFound",
            Self::Blocked(Blocked::Deleting) => "Deleting",
            Self::Blocked(Blocked::PoolOwned) => "PoolOwned",
            Self::Blocked(Blocked::Expired) => "SandboxExpired",
            Self::Paused => "Paused",
            Self::Unmanaged => "Unmanaged",
            Self::HeldAwake => "HeldAwake",
            Self::HeldAsleep => "HeldAsleep",
            Self::Asleep => "Asleep",
            Self::WakeBackOff(_) => "WakeBackOff",
            Self::Waking(_) => "Waking",
            Self::Starting => "Starting",
            Self::Faulty(_) => "Faulty",
            Self::Writing => "Writing",
            Self::Asked => "Asked",
            Self::InFlight(_) => "InFlight",
            Self::Parked(_) => "Parked",
            Self::Busy(_) => "Busy",
            Self::AskingBusy => "AskingBusy",
            Self::BusyUnknown => "BusyUnknown",
            Self::MinimumUptime => "MinimumUptime",
            Self::InitialCooldown => "InitialCooldown",
            Self::Cooldown => "Cooldown",
            Self::Unknown => "Unknown",
            Self::Silence(_) => "ActivatorsUnheard",
            Self::DrainBackOff => "DrainBackOff",
            Self::Draining => "Draining",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("there is no such sandbox"),
            Self::Blocked(Blocked::Deleting) => f.write_str("it is being deleted"),
            Self::Blocked(Blocked::PoolOwned) => f.write_str("it belongs to a warm pool and is not claimed yet"),
            Self::Blocked(Blocked::Expired) => f.write_str("its shutdownTime has passed"),
            Self::Paused => f.write_str("its policy is paused"),
            Self::Unmanaged => f.write_str("no ScaledSandbox governs it, so it is never put to sleep"),
            Self::HeldAwake => f.write_str("an operator holds it awake"),
            Self::HeldAsleep => f.write_str("an operator holds it asleep"),
            Self::Asleep => f.write_str("nobody needs it; a request wakes it"),
            Self::WakeBackOff(reason) => write!(f, "its last wake failed ({reason}), and the next try waits"),
            Self::Waking(cause) => write!(f, "it is being woken, cause {}", cause.as_str()),
            Self::Starting => f.write_str("it is starting"),
            Self::Faulty(reason) => write!(f, "its pod will not come up: {reason}"),
            Self::Writing => f.write_str("a change of its state is being written"),
            Self::Asked => f.write_str("somebody has just asked for it"),
            Self::InFlight(1) => f.write_str("1 request is in flight"),
            Self::InFlight(count) => write!(f, "{count} requests are in flight"),
            Self::Parked(1) => f.write_str("1 request is parked"),
            Self::Parked(count) => write!(f, "{count} requests are parked"),
            Self::Busy(source) => write!(f, "it is busy: {}", source.as_str()),
            Self::AskingBusy => f.write_str("the agent is being asked whether it is busy"),
            Self::BusyUnknown => f.write_str("the agent does not say on its busy.path whether it is busy, so it counts as busy; it is asked busy.failureLimit times"),
            Self::MinimumUptime => f.write_str("it woke less than minimumUptime ago"),
            Self::InitialCooldown => f.write_str("it was created less than initialCooldownPeriod ago"),
            Self::Cooldown => f.write_str("it was needed less than cooldownPeriod ago"),
            Self::Unknown => f.write_str("what happened before the scaler listened is not known, so a full cooldownPeriod must pass"),
            Self::Silence(silence) => silence.fmt(f),
            Self::DrainBackOff => f.write_str("its last sleep did not come about; it is tried again shortly"),
            Self::Draining => f.write_str("it is about to sleep: the activators are asked to stop sending"),
        }
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeading => f.write_str("another scaler leads and decides about its sleep"),
            Self::LinkDown => f.write_str("the activators cannot be heard: their carrier is down"),
            Self::Blind => {
                f.write_str("a watch of the API does not run, so what is known may be old")
            }
            Self::NoMembers => {
                f.write_str("no activator is known that could tell whether it is idle")
            }
            Self::Unheard(name) => write!(f, "activator {name} has not been heard yet"),
            Self::Silent(name) => write!(f, "activator {name} is silent"),
            Self::Partial(name) => write!(f, "activator {name} has not reported in full yet"),
        }
    }
}
