//! The objects of the API as this model needs them, and their changes as a watch tells them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use reveille_scaler_core::view::{Hold, Mode, Policy};

/// Name of an object within the one namespace of the model.
pub(crate) type Name = Arc<str>;
/// UID of an object; never used twice.
pub(crate) type Uid = Arc<str>;
/// Last byte of a pod's address; used again and again.
pub(crate) type Ip = u8;

/// A Sandbox.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sandbox {
    pub(crate) uid: Uid,
    pub(crate) created: Instant,
    pub(crate) epoch: u64,
    pub(crate) mode: Mode,
    pub(crate) hold: Option<Hold>,
    /// The busy lease of somebody who asked a scaler for it.
    pub(crate) busy_until: Option<Instant>,
    /// When a scaler woke it, if none has put it to sleep since.
    pub(crate) woken: Option<Instant>,
    /// `shutdownTime`.
    pub(crate) expires: Option<Instant>,
    /// It has a deletion timestamp.
    pub(crate) deleting: bool,
    /// An unclaimed member of the warm pool.
    pub(crate) pool_member: bool,
    /// The claim that controls it.
    pub(crate) claim: Option<Name>,
    /// UID of the claim whose release has put it to sleep: who wakes it touches that claim first.
    pub(crate) releasing: Option<Uid>,
    pub(crate) has_volumes: bool,
}

/// A SandboxClaim.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claim {
    pub(crate) uid: Uid,
    /// `resourceVersion`.
    pub(crate) version: u64,
    pub(crate) created: Instant,
    pub(crate) epoch: u64,
    /// The Sandbox that stands for it.
    pub(crate) sandbox: Option<Name>,
}

/// What is remembered of a claim that was released.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Released {
    pub(crate) uid: Uid,
    pub(crate) created: Instant,
    /// UID of the claim.
    pub(crate) claim: Uid,
    pub(crate) epoch: u64,
}

/// A pod; it bears the name of its Sandbox, so there is one of a name at a time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pod {
    pub(crate) uid: Uid,
    pub(crate) sandbox_uid: Uid,
    pub(crate) ip: Option<Ip>,
    /// Its Ready condition.
    pub(crate) ready: bool,
    /// It has a deletion timestamp.
    pub(crate) terminating: bool,
    /// Why it will not come up.
    pub(crate) fault: Option<&'static str>,
}

/// The present state of one object, or its absence.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Sandbox(Name, Option<Arc<Sandbox>>),
    Claim(Name, Option<Arc<Claim>>),
    Pod(Name, Option<Arc<Pod>>),
    Policy(Name, Option<Arc<Policy>>),
    Released(Name, Option<Arc<Released>>),
}

impl Change {
    /// Kinds are watched by streams of their own: order holds within a stream, not between them.
    pub(crate) const STREAMS: usize = 5;
    /// The streams of Sandboxes, and of what is remembered of released claims.
    pub(crate) const SANDBOXES: usize = 0;
    pub(crate) const MEMORIES: usize = 4;

    /// The stream it belongs to.
    pub(crate) const fn stream(&self) -> usize {
        match self {
            Self::Sandbox(..) => Self::SANDBOXES,
            Self::Claim(..) => 1,
            Self::Pod(..) => 2,
            Self::Policy(..) => 3,
            Self::Released(..) => Self::MEMORIES,
        }
    }

    /// The object's.
    pub(crate) const fn name(&self) -> &Name {
        match self {
            Self::Sandbox(name, _)
            | Self::Claim(name, _)
            | Self::Pod(name, _)
            | Self::Policy(name, _)
            | Self::Released(name, _) => name,
        }
    }

    /// Whether the object is no more.
    pub(crate) const fn is_end(&self) -> bool {
        matches!(
            self,
            Self::Sandbox(_, None)
                | Self::Claim(_, None)
                | Self::Pod(_, None)
                | Self::Policy(_, None)
                | Self::Released(_, None)
        )
    }

    /// That the object is no more.
    pub(crate) fn gone(self) -> Self {
        match self {
            Self::Sandbox(name, _) => Self::Sandbox(name, None),
            Self::Claim(name, _) => Self::Claim(name, None),
            Self::Pod(name, _) => Self::Pod(name, None),
            Self::Policy(name, _) => Self::Policy(name, None),
            Self::Released(name, _) => Self::Released(name, None),
        }
    }
}

/// A watcher's copy of all objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cache {
    pub(crate) sandboxes: BTreeMap<Name, Arc<Sandbox>>,
    pub(crate) claims: BTreeMap<Name, Arc<Claim>>,
    pub(crate) pods: BTreeMap<Name, Arc<Pod>>,
    pub(crate) policies: BTreeMap<Name, Arc<Policy>>,
    pub(crate) released: BTreeMap<Name, Arc<Released>>,
    /// Of these neither claim nor memory is there any more, and until when what was there still counts:
    /// a release or a bind shows in one watch before it shows in the other.
    pub(crate) held: BTreeMap<Name, Instant>,
}

impl Cache {
    /// Objects that can be targets.
    pub(crate) fn len(&self) -> usize {
        self.sandboxes.len() + self.claims.len() + self.released.len()
    }

    /// Objects of each kind.
    pub(crate) fn counts(&self) -> [usize; Change::STREAMS] {
        [
            self.sandboxes.len(),
            self.claims.len(),
            self.pods.len(),
            self.policies.len(),
            self.released.len(),
        ]
    }

    /// All objects that a stream tells of.
    pub(crate) fn of(&self, stream: usize) -> Vec<Change> {
        fn all<T>(
            map: &BTreeMap<Name, Arc<T>>,
            change: fn(Name, Option<Arc<T>>) -> Change,
        ) -> Vec<Change> {
            let each = map.iter();
            each.map(|(name, object)| change(Arc::clone(name), Some(Arc::clone(object))))
                .collect()
        }
        match stream {
            0 => all(&self.sandboxes, Change::Sandbox),
            1 => all(&self.claims, Change::Claim),
            2 => all(&self.pods, Change::Pod),
            3 => all(&self.policies, Change::Policy),
            _ => all(&self.released, Change::Released),
        }
    }
}
