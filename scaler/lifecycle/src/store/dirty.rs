//! A set of changed objects in the order in which they changed first.

use std::collections::{HashSet, VecDeque};

use reveille_crds::SandboxKey;

use super::kind::Kind;

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) kind: Kind,
    pub(crate) key: SandboxKey,
}

/// At most one entry per object, so it is bounded by what ever existed since it was last emptied.
#[derive(Default)]
pub(super) struct Dirty {
    order: VecDeque<Id>,
    members: HashSet<Id>,
}

impl Dirty {
    pub(super) fn add(&mut self, id: Id) {
        if self.members.insert(id.clone()) {
            self.order.push_back(id);
        }
    }

    pub(super) fn take(&mut self) -> Option<Id> {
        let id = self.order.pop_front()?;
        self.members.remove(&id);
        if self.order.is_empty() {
            // The initial list is the largest this ever gets; its room is given back.
            self.order.shrink_to(64);
            self.members.shrink_to(64);
        }
        Some(id)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}
