//! The kinds of the store, and what they have in common.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use reveille_crds::SandboxKey;
use reveille_crds::change::{Change, ClaimFacts, PodFacts, SandboxFacts};
use reveille_crds::claim::SandboxClaim;
use reveille_crds::sandbox::{PodTemplate, Sandbox};
use reveille_crds::scaled_sandbox::{PolicyFacts, ScaledSandbox};
use reveille_crds::template::SandboxTemplate;
use reveille_crds::warm_pool::SandboxWarmPool;

use super::dirty::Id;
use crate::local::environment::ports;

/// Kinds, in the order in which a watch lists them: what others refer to comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Policy,
    Template,
    Pool,
    Claim,
    Sandbox,
    Pod,
}

/// A Sandbox whose pod template is shared with its equals; `sandbox.spec.pod_template` is empty.
#[derive(Clone, Debug)]
pub(crate) struct SandboxObject {
    pub(crate) sandbox: Sandbox,
    pub(crate) template: Arc<PodTemplate>,
}

impl PartialEq for SandboxObject {
    fn eq(&self, other: &Self) -> bool {
        let same = Arc::ptr_eq(&self.template, &other.template) || self.template == other.template;
        same && self.sandbox == other.sandbox
    }
}

/// A claim, or the manifest of one that was released.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClaimObject {
    pub(crate) claim: SandboxClaim,
    pub(crate) released: bool,
}

pub(crate) struct Entry<T: Stored> {
    pub(super) object: Arc<T>,
    pub(super) facts: Option<Arc<T::Facts>>,
}

pub(crate) type Table<T> = HashMap<SandboxKey, Entry<T>>;

/// A kind of object.
pub(crate) trait Stored: Clone + PartialEq {
    const KIND: Kind;
    type Facts: PartialEq;
    fn meta(&self) -> &ObjectMeta;
    fn meta_mut(&mut self) -> &mut ObjectMeta;
    /// Whether the generation stays.
    fn same_spec(&self, other: &Self) -> bool;
    fn facts(&self) -> Option<Self::Facts>;
    fn table(tables: &Tables) -> &Table<Self>;
    fn table_mut(tables: &mut Tables) -> &mut Table<Self>;
}

/// All objects by kind.
#[derive(Default)]
pub(crate) struct Tables {
    sandboxes: Table<SandboxObject>,
    pods: Table<Pod>,
    claims: Table<ClaimObject>,
    pools: Table<SandboxWarmPool>,
    templates: Table<SandboxTemplate>,
    policies: Table<ScaledSandbox>,
}

impl Tables {
    /// Every object, by kind and then by name.
    pub(super) fn ids(&self) -> Vec<Id> {
        let mut ids =
            Vec::with_capacity(self.sandboxes.len() + self.claims.len() + self.pods.len());
        let mut add =
            |kind, keys: Vec<SandboxKey>| ids.extend(keys.into_iter().map(|key| Id { kind, key }));
        add(Kind::Policy, sorted(&self.policies));
        add(Kind::Template, sorted(&self.templates));
        add(Kind::Pool, sorted(&self.pools));
        add(Kind::Claim, sorted(&self.claims));
        add(Kind::Sandbox, sorted(&self.sandboxes));
        add(Kind::Pod, sorted(&self.pods));
        ids
    }

    /// What a watcher learns of an object; `None` for a kind that watchers do not see.
    pub(super) fn change(&self, id: Id) -> Option<Change> {
        fn facts<T: Stored>(table: &Table<T>, key: &SandboxKey) -> Option<Arc<T::Facts>> {
            table.get(key).and_then(|entry| entry.facts.clone())
        }
        let key = id.key;
        match id.kind {
            Kind::Sandbox => Some(Change::Sandbox(key.clone(), facts(&self.sandboxes, &key))),
            Kind::Pod => Some(Change::Pod(key.clone(), facts(&self.pods, &key))),
            Kind::Claim => Some(Change::Claim(key.clone(), facts(&self.claims, &key))),
            Kind::Policy => Some(Change::Policy(key.clone(), facts(&self.policies, &key))),
            Kind::Template | Kind::Pool => None,
        }
    }
}

fn sorted<T: Stored>(table: &Table<T>) -> Vec<SandboxKey> {
    let mut keys: Vec<_> = table.keys().cloned().collect();
    keys.sort_unstable();
    keys
}

macro_rules! stored {
    ($kind:ident, $type:ty, $facts:ty, $table:ident, |$it:ident| $meta:expr, $spec:expr, $trim:expr) => {
        impl Stored for $type {
            const KIND: Kind = Kind::$kind;
            type Facts = $facts;

            fn meta(&self) -> &ObjectMeta {
                let $it = self;
                &$meta
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                let $it = self;
                &mut $meta
            }

            fn same_spec(&self, other: &Self) -> bool {
                let same: fn(&Self, &Self) -> bool = $spec;
                same(self, other)
            }

            fn facts(&self) -> Option<$facts> {
                let trim: fn(&Self) -> Option<$facts> = $trim;
                trim(self)
            }

            fn table(tables: &Tables) -> &Table<Self> {
                &tables.$table
            }

            fn table_mut(tables: &mut Tables) -> &mut Table<Self> {
                &mut tables.$table
            }
        }
    };
}

stored!(
    Sandbox,
    SandboxObject,
    SandboxFacts,
    sandboxes,
    |it| it.sandbox.metadata,
    |a, b| {
        a.sandbox.spec == b.sandbox.spec
            && (Arc::ptr_eq(&a.template, &b.template) || a.template == b.template)
    },
    |it| {
        let mut facts = SandboxFacts::of(&it.sandbox);
        // Nothing else is mapped to a port of this machine.
        facts.ports = Some(ports(&it.template).into());
        Some(facts)
    }
);
stored!(
    Pod,
    Pod,
    PodFacts,
    pods,
    |it| it.metadata,
    |a, b| a.spec == b.spec,
    PodFacts::of
);
stored!(
    Claim,
    ClaimObject,
    ClaimFacts,
    claims,
    |it| it.claim.metadata,
    |a, b| { a.claim.spec == b.claim.spec },
    |it| {
        let mut facts = ClaimFacts::of(&it.claim);
        if it.released {
            facts.released = true;
            facts.sandbox = None;
        }
        Some(facts)
    }
);
stored!(
    Pool,
    SandboxWarmPool,
    (),
    pools,
    |it| it.metadata,
    |a, b| a.spec == b.spec,
    |_| None
);
stored!(
    Template,
    SandboxTemplate,
    (),
    templates,
    |it| it.metadata,
    |a, b| a.spec == b.spec,
    |_| None
);
stored!(
    Policy,
    ScaledSandbox,
    PolicyFacts,
    policies,
    |it| it.metadata,
    |a, b| a.spec == b.spec,
    |it| { Some(PolicyFacts::of(it)) }
);
