//! The objects of the API as this model needs them, and their changes as a watch tells them.

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
    /// `shutdownTime`.
    pub(crate) expires: Option<Instant>,
    /// It has a deletion timestamp.
    pub(crate) deleting: bool,
    /// An unclaimed member of the warm pool.
    pub(crate) pool_member: bool,
    /// The claim that controls it.
    pub(crate) claim: Option<Name>,
    pub(crate) has_volumes: bool,
}

/// A SandboxClaim, or what is remembered of one that was released.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claim {
    pub(crate) uid: Uid,
    pub(crate) created: Instant,
    pub(crate) epoch: u64,
    pub(crate) released: bool,
    /// The Sandbox that stands for it.
    pub(crate) sandbox: Option<Name>,
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
    Policy(Name, Arc<Policy>),
}

impl Change {
    /// Kinds are watched by streams of their own: order holds within a stream, not between them.
    pub(crate) const STREAMS: usize = 4;

    /// The stream it belongs to.
    pub(crate) const fn stream(&self) -> usize {
        match self {
            Self::Sandbox(..) => 0,
            Self::Claim(..) => 1,
            Self::Pod(..) => 2,
            Self::Policy(..) => 3,
        }
    }
}

/// A watcher's copy of all objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cache {
    pub(crate) sandboxes: std::collections::BTreeMap<Name, Arc<Sandbox>>,
    pub(crate) claims: std::collections::BTreeMap<Name, Arc<Claim>>,
    pub(crate) pods: std::collections::BTreeMap<Name, Arc<Pod>>,
    pub(crate) policies: std::collections::BTreeMap<Name, Arc<Policy>>,
}
