//! One object of any kind that a manifest can hold.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use reveille_crds::SandboxKey;
use reveille_crds::claim::SandboxClaim;
use reveille_crds::key::InvalidKey;
use reveille_crds::names::DEFAULT_NAMESPACE;
use reveille_crds::sandbox::Sandbox;
use reveille_crds::scaled_sandbox::ScaledSandbox;
use reveille_crds::template::SandboxTemplate;
use reveille_crds::warm_pool::SandboxWarmPool;

/// One object of any kind that a manifest can hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// One agent.
    Sandbox(Box<Sandbox>),
    /// The mould of agents.
    Template(Box<SandboxTemplate>),
    /// Agents started before anyone asks.
    Pool(Box<SandboxWarmPool>),
    /// A request for an agent out of a pool.
    Claim(Box<SandboxClaim>),
    /// When sandboxes sleep, wake and park.
    Policy(Box<ScaledSandbox>),
}

impl Object {
    /// Its kind, as written in a manifest.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sandbox(_) => "Sandbox",
            Self::Template(_) => "SandboxTemplate",
            Self::Pool(_) => "SandboxWarmPool",
            Self::Claim(_) => "SandboxClaim",
            Self::Policy(_) => "ScaledSandbox",
        }
    }

    /// Its metadata.
    #[must_use]
    pub const fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Sandbox(object) => &object.metadata,
            Self::Template(object) => &object.metadata,
            Self::Pool(object) => &object.metadata,
            Self::Claim(object) => &object.metadata,
            Self::Policy(object) => &object.metadata,
        }
    }

    /// Its namespace (`default` where it names none) and name.
    ///
    /// # Errors
    /// If either is no DNS-1123 label; a missing name is an empty one.
    pub fn key(&self) -> Result<SandboxKey, InvalidKey> {
        key_of(self.metadata())
    }
}

pub(crate) fn key_of(meta: &ObjectMeta) -> Result<SandboxKey, InvalidKey> {
    SandboxKey::new(
        meta.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE),
        meta.name.as_deref().unwrap_or_default(),
    )
}
