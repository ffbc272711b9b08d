//! One target of an activator's directory.

use std::time::Instant;

use reveille_activator_core::entry::Entry;

use crate::objects::{Ip, Uid};
use crate::requests::RequestId;

/// One target of the directory.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Differs for each slot there ever was.
    pub(crate) serial: u64,
    pub(crate) entry: Entry<RequestId>,
    /// Requests that hold it.
    pub(crate) users: usize,
    /// Address of the present pod.
    pub(crate) ip: Option<Ip>,
    /// The call at which the entry will be polled; others are stale.
    pub(super) due: Option<Instant>,
    /// The pod that is being probed.
    pub(super) probing: Option<Uid>,
    /// What the invariants look at: when a Wake was last sent, since when somebody waits, how many
    /// released requests have no answer yet, and what was last answered to a drain.
    pub(crate) asked: Option<Instant>,
    pub(crate) answered: Option<Instant>,
    pub(crate) waiting_since: Option<Instant>,
    pub(crate) unanswered: usize,
    pub(crate) drained: Vec<Drained>,
    /// The order that was last heard (nonce), and until when it holds the gate.
    pub(crate) ordered: Option<(u64, Instant)>,
}

/// An answer to a drain: Drained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drained {
    pub(crate) nonce: u64,
    pub(crate) at: Instant,
    pub(crate) until: Instant,
}

impl Slot {
    pub(crate) fn new(serial: u64) -> Self {
        Self {
            serial,
            entry: Entry::new(),
            users: 0,
            ip: None,
            due: None,
            probing: None,
            asked: None,
            answered: None,
            waiting_since: None,
            unanswered: 0,
            drained: Vec::new(),
            ordered: None,
        }
    }
}
