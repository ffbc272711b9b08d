//! Deliberate faults: each switches off one rule, and the check named with it must notice.

use crate::invariants::Invariant;

/// One rule switched off, in a driver, in the model or in what stands between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mutant {
    /// The activator's timer never calls for tickets whose deadline has passed.
    TicketsNeverExpire,
    /// Only the first Wake is sent; its repetitions are dropped.
    WakesNotRepeated,
    /// Every Wake that arrives is written, and the store tests nothing.
    WakePerAsk,
    /// An activator's Busy reaches the scaler as Drained.
    DrainForged,
    /// What a broken connection left unanswered is sent again, whatever it is.
    EverythingResent,
    /// An asleep sandbox is dialled at the address it had.
    AddressRemembered,
    /// A pod that is being deleted still counts as the present one.
    TerminatingAccepted,
    /// The sandbox controller does not wait for the old pod before it makes the new one.
    OldPodForgotten,
    /// The store applies a sleep without testing epoch and UID.
    FenceIgnored,
    /// The scaler is not called when it asked to be.
    CooldownTimerLost,
    /// A name nobody knows gets a slot of its own.
    StrangersRemembered,
    /// The newest waiter goes first.
    LastComeFirst,
    /// The operator's hold does not reach the scaler's view.
    HoldStripped,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::TicketsNeverExpire,
        Self::WakesNotRepeated,
        Self::WakePerAsk,
        Self::DrainForged,
        Self::EverythingResent,
        Self::AddressRemembered,
        Self::TerminatingAccepted,
        Self::OldPodForgotten,
        Self::FenceIgnored,
        Self::CooldownTimerLost,
        Self::StrangersRemembered,
        Self::LastComeFirst,
        Self::HoldStripped,
    ];

    /// The invariant that it breaks.
    #[must_use]
    pub const fn breaks(self) -> Invariant {
        match self {
            Self::TicketsNeverExpire => Invariant::TicketEndsOnceInTime,
            Self::WakesNotRepeated => Invariant::WaitersAreHeard,
            Self::WakePerAsk => Invariant::OneWakeForAll,
            Self::DrainForged => Invariant::NoSleepInUse,
            Self::EverythingResent => Invariant::SentOnce,
            Self::AddressRemembered | Self::TerminatingAccepted => Invariant::RightPod,
            Self::OldPodForgotten => Invariant::OnePodPerIdentity,
            Self::FenceIgnored => Invariant::SleepIsFenced,
            Self::CooldownTimerLost => Invariant::QuietSleeps,
            Self::StrangersRemembered => Invariant::MemoryBounded,
            Self::LastComeFirst => Invariant::FirstComeFirst,
            Self::HoldStripped => Invariant::HandsOff,
        }
    }
}
