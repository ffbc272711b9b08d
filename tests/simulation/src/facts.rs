//! What happened in one step, for the invariants that speak of events rather than of states.

use std::time::Instant;

use reveille_activator_core::lot::Ending;

use crate::objects::{Name, Uid};
use crate::requests::RequestId;
use crate::writes::Applied;

/// The events of one step.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) endings: Vec<Ended>,
    pub(crate) applied: Vec<Applied>,
    /// Targets whose wake was told again.
    pub(crate) told_twice: Vec<(Name, u64)>,
    /// Targets that an activator took for gone.
    pub(crate) dropped: Vec<(usize, Name)>,
}

impl Facts {
    /// A new step begins.
    pub(crate) fn clear(&mut self) {
        self.deliveries.clear();
        self.endings.clear();
        self.applied.clear();
        self.told_twice.clear();
        self.dropped.clear();
    }
}

/// An agent got a request.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) request: RequestId,
    pub(crate) pod: Uid,
    /// The target that the pod stands for.
    pub(crate) owner: Option<Name>,
    /// The pod was being deleted, and its activator knew.
    pub(crate) known_terminating: bool,
    /// The pod was being deleted because a scaler put its sandbox to sleep.
    pub(crate) put_to_sleep: bool,
    /// Its activator's watch had told nothing for longer than can go unnoticed.
    pub(crate) is_blind: bool,
    /// The pod that it was meant for was put to sleep by a scaler.
    pub(crate) meant_asleep: bool,
}

/// A ticket ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) request: RequestId,
    pub(crate) ending: Ending,
    /// It was waiting until then; `None`: it was not waiting.
    pub(crate) deadline: Option<Instant>,
    pub(crate) place: u64,
}
