//! What a machine wants done. The shell does it and, where an answer is due, brings it back.

use std::sync::Arc;
use std::time::Duration;

use crate::drain::Ending;
use crate::wake::{Cause, Refusal};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Write this. One at a time per target: first [`crate::sandbox::Sandbox::begin_write`], then the
    /// result to [`crate::sandbox::Sandbox::written`].
    Write(Write),
    /// Tell all activators how the wake goes.
    Tell(Tell),
    /// Ask all activators to stop sending.
    Drain {
        /// Its epoch as we know it.
        epoch: u64,
        /// UID of the Sandbox that stands for it.
        uid: Option<Arc<str>>,
        /// Matches the replies.
        nonce: u64,
        /// How long a gate stays closed by itself.
        hold: Duration,
        /// An order: the gate closes whatever is in flight, and no lease counts. Repeated until nothing is.
        order: bool,
    },
    /// The sleep is off: open the gates that this nonce closed.
    Undrain {
        /// Of the question.
        nonce: u64,
    },
    /// Ask the agent in this pod whether it is busy; the answer to [`crate::sandbox::Sandbox::probed`].
    AskBusy {
        /// UID of the pod.
        pod: Arc<str>,
    },
    /// For log, metrics and users.
    Note(Note),
}

/// A write, fenced by UID, expected epoch and, for a mode, by the mode it starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// What to write.
    pub what: Intent,
    /// UID of the object.
    pub uid: Arc<str>,
    /// Epoch that it must have; the write adds one.
    pub epoch: u64,
    /// Why, as the annotation says it.
    pub cause: &'static str,
}

/// The whole of what the scaler writes on targets by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Suspended to Running.
    Restore,
    /// Running to Suspended.
    Suspend,
    /// A released claim comes back.
    Bind,
    /// A claim is given back.
    Release,
}

impl Intent {
    /// Whether somebody waits for it.
    #[must_use]
    pub const fn is_wake(self) -> bool {
        matches!(self, Self::Restore | Self::Bind)
    }

    /// For metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Suspend => "suspend",
            Self::Bind => "bind",
            Self::Release => "release",
        }
    }
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Done; the object has this epoch now.
    Done(u64),
    /// The fence held: the object is not as we saw it.
    Conflict,
    /// The fence held, since somebody else has woken it: the object has this epoch now.
    Overtaken(u64),
    /// Asking again does not help.
    Denied(Arc<str>),
    /// Not done; asking again may help.
    Unavailable(Arc<str>),
    /// No answer in time: done, or not. It is not done after this.
    Lost,
}

/// How a wake goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tell {
    /// Under way.
    Waking {
        /// Epoch after the wake.
        epoch: u64,
    },
    /// Not woken, and asking again at once does not help.
    Refused(Refusal),
    /// Failed.
    Failed {
        /// CamelCase.
        reason: Arc<str>,
        /// For the client, in our own words.
        message: Arc<str>,
        /// When a retry may help.
        retry_after: Duration,
    },
    /// It goes on, but something that it needs does not answer: for who does not wait for its end.
    Delayed {
        /// CamelCase.
        reason: Arc<str>,
        /// For the client, in our own words.
        message: Arc<str>,
    },
}

/// What happened, for log, metrics and users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A wake succeeded.
    Woke(Woke),
    /// A wake failed.
    WakeFailed {
        /// What asked first.
        cause: Cause,
        /// CamelCase.
        reason: Arc<str>,
        /// One sentence for operators.
        message: Arc<str>,
        /// Time from the first ask.
        after: Duration,
        /// When a retry may help.
        retry_after: Duration,
    },
    /// A wake was refused. Said once in a while, however often it is asked for.
    Refused {
        /// What asked.
        cause: Cause,
        /// Why.
        refusal: Refusal,
    },
    /// Put to sleep.
    Slept {
        /// Why.
        reason: SleepReason,
        /// Time since the last activity.
        quiet: Duration,
        /// Time since it woke, if that was seen.
        awake: Option<Duration>,
    },
    /// All activators had stopped sending, but the server refuses the sleep. It is tried again later.
    SleepDenied {
        /// Why it was to sleep.
        reason: SleepReason,
        /// The server's word.
        message: Arc<str>,
    },
    /// The agent gave no usable answer so many times in a row that it is put to sleep all the same.
    AgentSilent {
        /// How often it was asked.
        asked: u32,
    },
    /// It is woken again and again right after its own sleep.
    Flapping {
        /// How often in a row.
        wakes: u32,
        /// Its cooldown, within which it is woken.
        cooldown: Duration,
        /// What asked, as its activator describes it; empty where that is not known.
        by: Arc<str>,
    },
    /// Somebody else makes its claim again whenever it is released, so it stays bound from now on.
    MadeAgain {
        /// Time from the release.
        after: Duration,
    },
    /// A drain ended.
    Drained {
        /// How.
        ending: Ending,
        /// Time it took.
        took: Duration,
    },
}

/// A successful wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Woke {
    /// What asked first.
    pub cause: Cause,
    /// First ask to written.
    pub decide: Duration,
    /// Written to the pod's address.
    pub start: Duration,
    /// Address to ready.
    pub ready: Duration,
    /// Most requests parked meanwhile.
    pub parked: u32,
    /// It is known to take connections; else it runs, and nobody has tried.
    pub answers: bool,
}

impl Woke {
    /// All phases.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.decide + self.start + self.ready
    }
}

/// Why a sandbox is put to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SleepReason {
    /// Quiet for long enough.
    Idle,
    /// An operator holds it asleep.
    Held,
    /// An operator asked for it once, unless it was needed.
    Asked,
    /// An operator asked for it, whoever needs it.
    Forced,
    /// Its wake failed; the next one starts clean.
    WakeFailed,
    /// It never became ready, and nobody waits.
    NeverReady,
    /// Its pod has ended, which no controller starts again; the next wake makes a new one.
    PodEnded,
}

impl SleepReason {
    /// Whether somebody has ordered it: then nobody is asked, and what is in flight has a grace and no more.
    #[must_use]
    pub const fn is_order(self) -> bool {
        matches!(self, Self::Held | Self::Forced)
    }

    /// For metrics and annotations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Held => "hold",
            Self::Asked => "api",
            Self::Forced => "forced",
            Self::WakeFailed => "wake-failed",
            Self::NeverReady => "never-ready",
            Self::PodEnded => "pod-ended",
        }
    }
}
