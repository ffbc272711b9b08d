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
    /// A mode is written without testing the operator's hold.
    HoldUnfenced,
    /// A sleep is written without testing the busy lease.
    LeaseUnfenced,
    /// A scaler that was suspended before it sent a write gives it its whole time from there on.
    DeadlineAnew,
    /// Another's lease is judged by the time that is written in it, against a clock that goes ahead.
    ElectionByWallClock,
    /// A holder leads until its lease may be taken, and its last write comes after that.
    ElectionWithoutMargin,
    /// Machines are told that their scaler leads, and not until when.
    LeadUnchecked,
    /// What vanished while a watch was broken is never told of.
    DeletesLost,
    /// An activator that has lost the API server answers drains, and opens its gates, as if it saw.
    BlindTrusted,
    /// A new activator takes clients as soon as it knows all objects.
    Unsettled,
    /// The first list of activators counts for ever.
    MembersFixed,
    /// A claim is deleted whatever became of it since it was looked at.
    ReleaseUnfenced,
    /// What is remembered of a live claim is removed without making older deletes fail.
    CollectUntouched,
    /// A release without an answer is taken back.
    MemoryTakenBack,
    /// A claim counts as gone as soon as one of two watches shows so.
    ClaimsNotHeld,
    /// A scaler whose watches do not run puts to sleep as if it saw.
    BlindLeader,
    /// A sleep without an answer is left to itself.
    LostSleepLeft,
    /// A wake that nobody waits for any more is taken back.
    Impatient,
    /// A claim is deleted while its Sandbox is awake.
    SandboxLeftAwake,
    /// What a release has put to sleep is woken without touching the claim that is to be deleted.
    MarkIgnored,
    /// A machine is not told of an object whose epoch is lower than it knew.
    EpochOverObject,
    /// A write of the mode leaves the epoch as it was.
    EpochKept,
    /// Who finds that another has woken it takes that for its own doing.
    OthersWakeTold,
    /// Holds and leases go before wakes.
    MarksAsWakes,
    /// What is in flight when a sleep is ordered has no time to end.
    GraceSkipped,
    /// That an order is off is told once.
    UndrainOnce,
    /// An order holds its gates for long with each telling.
    OrderHeldLong,
    /// A drain does not say which Sandbox it is about.
    GateByEpochAlone,
    /// What is open to a pod that has left waits for its end, however long.
    DeadPodsAwaited,
    /// Heartbeats are use.
    HeartbeatsCount,
    /// What was silent for long does not count again.
    SilentForEver,
    /// What is silent stays open to a pod that is gone.
    SilentKept,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 44] = [
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
        Self::HoldUnfenced,
        Self::LeaseUnfenced,
        Self::DeadlineAnew,
        Self::ElectionByWallClock,
        Self::ElectionWithoutMargin,
        Self::LeadUnchecked,
        Self::DeletesLost,
        Self::BlindTrusted,
        Self::Unsettled,
        Self::MembersFixed,
        Self::ReleaseUnfenced,
        Self::CollectUntouched,
        Self::MemoryTakenBack,
        Self::ClaimsNotHeld,
        Self::BlindLeader,
        Self::LostSleepLeft,
        Self::Impatient,
        Self::SandboxLeftAwake,
        Self::MarkIgnored,
        Self::EpochOverObject,
        Self::EpochKept,
        Self::OthersWakeTold,
        Self::MarksAsWakes,
        Self::GraceSkipped,
        Self::UndrainOnce,
        Self::OrderHeldLong,
        Self::GateByEpochAlone,
        Self::DeadPodsAwaited,
        Self::HeartbeatsCount,
        Self::SilentForEver,
        Self::SilentKept,
    ];

    /// The invariant that it breaks.
    #[must_use]
    pub const fn breaks(self) -> Invariant {
        match self {
            Self::TicketsNeverExpire => Invariant::TicketEndsOnceInTime,
            Self::WakesNotRepeated => Invariant::WaitersAreHeard,
            Self::WakePerAsk => Invariant::OneWakeForAll,
            Self::DrainForged
            | Self::GraceSkipped
            | Self::LostSleepLeft
            | Self::SandboxLeftAwake
            | Self::MarkIgnored => Invariant::NoSleepInUse,
            Self::EverythingResent => Invariant::SentOnce,
            Self::AddressRemembered | Self::TerminatingAccepted | Self::BlindTrusted => {
                Invariant::RightPod
            }
            Self::OldPodForgotten => Invariant::OnePodPerIdentity,
            Self::FenceIgnored | Self::ReleaseUnfenced => Invariant::SleepIsFenced,
            Self::CooldownTimerLost => Invariant::QuietSleeps,
            Self::StrangersRemembered => Invariant::MemoryBounded,
            Self::LastComeFirst => Invariant::FirstComeFirst,
            Self::HoldStripped | Self::HoldUnfenced | Self::BlindLeader => Invariant::HandsOff,
            Self::ElectionByWallClock | Self::LeadUnchecked => Invariant::OneLeader,
            Self::ElectionWithoutMargin => Invariant::SleepIsLed,
            Self::DeletesLost => Invariant::GoneIsGone,
            Self::LeaseUnfenced | Self::Unsettled | Self::DeadlineAnew | Self::Impatient => {
                Invariant::NoSleepInUse
            }
            Self::MembersFixed => Invariant::QuietSleeps,
            Self::EpochOverObject => Invariant::ViewIsObject,
            Self::EpochKept => Invariant::EpochRises,
            Self::OthersWakeTold => Invariant::ToldOnce,
            Self::MarksAsWakes => Invariant::WakesGoFirst,
            Self::UndrainOnce | Self::OrderHeldLong | Self::GateByEpochAlone => {
                Invariant::GatesOpen
            }
            Self::DeadPodsAwaited => Invariant::DeadPodsLeft,
            Self::HeartbeatsCount => Invariant::QuietSleeps,
            Self::SilentForEver => Invariant::NoSleepInUse,
            Self::SilentKept => Invariant::SilentLetGo,
            Self::CollectUntouched | Self::MemoryTakenBack | Self::ClaimsNotHeld => {
                Invariant::ClaimKept
            }
        }
    }
}
