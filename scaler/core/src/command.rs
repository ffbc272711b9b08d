//! What an operator may ask of one target, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use crate::roster::Silence;
use crate::wake::{Cause, Refusal};
use crate::why::Why;

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Wake it.
    Wake {
        /// On whose behalf. For [`Cause::Api`] the back-off of failed wakes does not count.
        cause: Cause,
        /// Requests parked for it.
        waiting: u32,
    },
    /// Put it to sleep without waiting for its cooldown.
    Sleep {
        /// Whoever needs it: what is in flight has a grace, and no lease counts.
        force: bool,
    },
}

/// What becomes of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is awake.
    Awake,
    /// A wake is under way.
    Waking,
    /// It is asleep.
    Asleep,
    /// The drain before the sleep is under way.
    Draining {
        /// Of an order: how long what is in flight has left.
        grace: Option<Duration>,
    },
    /// It will not be woken.
    Refused(Refusal),
    /// Its last wakes failed, and the next one is not due.
    BackedOff {
        /// One CamelCase word.
        reason: Arc<str>,
        /// One sentence.
        message: Arc<str>,
        /// Time until the next one may be tried.
        retry_after: Duration,
    },
    /// Not in its present state.
    Conflict(Why),
    /// Not before the activators were heard.
    Unheard(Silence),
}
