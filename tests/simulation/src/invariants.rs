//! Twelve invariants of sandboxes and their requests, and eleven of what only several scalers and a real API
//! bring with them, each a named check after every step.

mod gates;
mod leaders;
mod sandboxes;
mod scalers;
mod streams;
mod tickets;
mod watchers;
mod writes;

use std::fmt;

use crate::world::World;

/// What must hold at all times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Invariant {
    /// 1. A parked request ends exactly once, and within its own deadline.
    TicketEndsOnceInTime,
    /// 2. While anyone waits, a Wake is sent within the repeat interval; after faults stop every waiter is
    ///    released or told why.
    WaitersAreHeard,
    /// 3. N waiters on one sandbox cost one wake.
    OneWakeForAll,
    /// 4. No sandbox sleeps with a request in flight, an open active stream, a busy lease, or an unknown
    ///    activator.
    NoSleepInUse,
    /// 5. A request is sent at most once unless it is idempotent, bodiless and unanswered.
    SentOnce,
    /// 6. A request for A never reaches B, nor a pod of A that is being deleted.
    RightPod,
    /// 7. Never two live pods with one identity.
    OnePodPerIdentity,
    /// 8. Sleep is fenced by epoch and UID.
    SleepIsFenced,
    /// 9. A quiet sandbox sleeps within cooldown, one report interval and the drain time.
    QuietSleeps,
    /// 10. Memory is bounded by parked requests and known sandboxes.
    MemoryBounded,
    /// 11. Release is first in, first out per sandbox.
    FirstComeFirst,
    /// 12. Held, expired, foreign and pool-owned sandboxes are never woken or put to sleep.
    HandsOff,
    /// 13. At most one scaler leads, and knows so.
    OneLeader,
    /// 14. A sleep is begun by the leader, has ended before another leads, and never undoes what a later
    ///     leader did.
    SleepIsLed,
    /// 15. A claim that is released is neither lost nor unknown for a moment.
    ClaimKept,
    /// 16. Once all is well, no watcher knows what is not there.
    GoneIsGone,
    /// 17. Once all is well, the view that a machine acts on is the object's.
    ViewIsObject,
    /// 18. An epoch never goes down, nor stays, by our doing.
    EpochRises,
    /// 19. A wake is told once.
    ToldOnce,
    /// 20. No wake waits for its turn longer than those before it take at the rate.
    WakesGoFirst,
    /// 21. Once all is well, no gate stays closed for a drain that is settled.
    GatesOpen,
    /// 22. A request that waits for a pod which was seen to leave is over when that has had its grace.
    DeadPodsLeft,
    /// 23. A stream that was silent for long is over when its pod is the target's no more.
    SilentLetGo,
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What was found.
    pub what: String,
}

type Check = fn(&World) -> Result<(), String>;

impl Invariant {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 23] = [
        Self::TicketEndsOnceInTime,
        Self::WaitersAreHeard,
        Self::OneWakeForAll,
        Self::NoSleepInUse,
        Self::SentOnce,
        Self::RightPod,
        Self::OnePodPerIdentity,
        Self::SleepIsFenced,
        Self::QuietSleeps,
        Self::MemoryBounded,
        Self::FirstComeFirst,
        Self::HandsOff,
        Self::OneLeader,
        Self::SleepIsLed,
        Self::ClaimKept,
        Self::GoneIsGone,
        Self::ViewIsObject,
        Self::EpochRises,
        Self::ToldOnce,
        Self::WakesGoFirst,
        Self::GatesOpen,
        Self::DeadPodsLeft,
        Self::SilentLetGo,
    ];

    /// Its number.
    #[must_use]
    pub const fn number(self) -> usize {
        self as usize + 1
    }

    const fn check(self) -> Check {
        match self {
            Self::TicketEndsOnceInTime => tickets::ticket_ends_once_in_time,
            Self::WaitersAreHeard => tickets::waiters_are_heard,
            Self::OneWakeForAll => writes::one_wake_for_all,
            Self::NoSleepInUse => writes::no_sleep_in_use,
            Self::SentOnce => tickets::sent_once,
            Self::RightPod => tickets::right_pod,
            Self::OnePodPerIdentity => sandboxes::one_pod_per_identity,
            Self::SleepIsFenced => writes::sleep_is_fenced,
            Self::QuietSleeps => sandboxes::quiet_sleeps,
            Self::MemoryBounded => sandboxes::memory_bounded,
            Self::FirstComeFirst => tickets::first_come_first,
            Self::HandsOff => writes::hands_off,
            Self::OneLeader => leaders::one_leader,
            Self::SleepIsLed => leaders::sleep_is_led,
            Self::ClaimKept => watchers::claim_kept,
            Self::GoneIsGone => watchers::gone_is_gone,
            Self::ViewIsObject => watchers::view_is_object,
            Self::EpochRises => writes::epoch_rises,
            Self::ToldOnce => scalers::told_once,
            Self::WakesGoFirst => scalers::wakes_go_first,
            Self::GatesOpen => gates::gates_open,
            Self::DeadPodsLeft => streams::dead_pods_left,
            Self::SilentLetGo => streams::silent_let_go,
        }
    }
}

/// Checks all of them.
///
/// # Errors
/// The first that does not hold.
pub(crate) fn check(world: &World) -> Result<(), Violation> {
    for invariant in Invariant::ALL {
        (invariant.check())(world).map_err(|what| Violation { invariant, what })?;
    }
    Ok(())
}

/// What must have come about when a run has come to its end.
///
/// # Errors
/// The first that has not.
pub(crate) fn check_end(world: &World) -> Result<(), Violation> {
    tickets::nobody_waits(world).map_err(|what| Violation {
        invariant: Invariant::WaitersAreHeard,
        what,
    })?;
    sandboxes::all_asleep(world).map_err(|what| Violation {
        invariant: Invariant::QuietSleeps,
        what,
    })
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invariant {} ({:?}): {}",
            self.invariant.number(),
            self.invariant,
            self.what
        )
    }
}
