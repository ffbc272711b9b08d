//! The five kinds that are watched: where they are found, and how one of them is read.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use reveille_crds::SandboxKey;
use reveille_crds::change::{ClaimFacts, PodFacts, SandboxFacts};
use reveille_crds::names::label;
use reveille_crds::released_claim::ReleasedClaim;
use reveille_crds::scaled_sandbox::{PolicyFacts, ScaledSandbox};
use reveille_crds::trimmed;
use serde::Deserialize;

use crate::discovery::{Served, Version};

/// A kind that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sandbox,
    Pod,
    Claim,
    Released,
    Policy,
}

/// What is kept of an object.
#[derive(Clone, Debug)]
pub(crate) enum Facts {
    Sandbox(Arc<SandboxFacts>),
    Pod(Arc<PodFacts>),
    Claim(Arc<ClaimFacts>),
    /// With the UID of the ReleasedClaim itself.
    Released(Arc<str>, Arc<ClaimFacts>),
    Policy(Arc<PolicyFacts>),
}

/// Which object it is, and how new.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Head {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) resource_version: String,
}

impl Head {
    /// Of any object.
    pub(crate) fn of(json: &str) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Object {
            metadata: Head,
        }
        serde_json::from_str::<Object>(json).map(|object| object.metadata)
    }
}

impl From<&ObjectMeta> for Head {
    fn from(meta: &ObjectMeta) -> Self {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        Self {
            namespace: text(&meta.namespace),
            name: text(&meta.name),
            resource_version: text(&meta.resource_version),
        }
    }
}

/// An object that was read: which one, and its facts unless it is none of ours.
pub(crate) type Read<F> = (Head, Option<F>);

/// How objects of one kind are found and read.
pub(crate) struct Reading<K, F> {
    /// Which of them, by label; all where missing.
    pub(crate) selector: Option<String>,
    /// What an object goes by; `None` where its name cannot be carried.
    pub(crate) key: fn(&Head) -> Option<K>,
    /// One object from its JSON.
    pub(crate) read: fn(&str) -> serde_json::Result<Read<F>>,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Sandbox,
        Self::Pod,
        Self::Claim,
        Self::Released,
        Self::Policy,
    ];

    /// Plural and group, as RBAC and `kubectl` write it.
    fn resource(self) -> &'static str {
        match self {
            Self::Sandbox => "sandboxes.agents.x-k8s.io",
            Self::Pod => "pods",
            Self::Claim => "sandboxclaims.extensions.agents.x-k8s.io",
            Self::Released => "releasedclaims.reveille.dev",
            Self::Policy => "scaledsandboxes.reveille.dev",
        }
    }

    /// What a person calls the watch.
    pub(crate) fn name(self, namespace: Option<&str>) -> Arc<str> {
        match namespace {
            None => self.resource().into(),
            Some(namespace) => format!("{} in {namespace}", self.resource()).into(),
        }
    }

    /// The version in which it is served; `None` where it is not.
    fn version(self, served: Served) -> Option<&'static str> {
        let ours = |there: bool| there.then_some("v1alpha1");
        match self {
            Self::Sandbox => served.sandboxes.map(Version::as_str),
            Self::Pod => Some("v1"),
            Self::Claim => served.claims.map(Version::as_str),
            Self::Released => ours(served.released_claims),
            Self::Policy => ours(served.policies),
        }
    }

    /// Path of the collection; `None` where the API server has none.
    pub(crate) fn path(self, served: Served, namespace: Option<&str>) -> Option<String> {
        let version = self.version(served)?;
        let (plural, root) = match self.resource().split_once('.') {
            None => (self.resource(), format!("/api/{version}")),
            Some((plural, group)) => (plural, format!("/apis/{group}/{version}")),
        };
        Some(match namespace {
            None => format!("{root}/{plural}"),
            Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}"),
        })
    }

    /// How it is read.
    pub(crate) fn reading(self) -> Reading<SandboxKey, Facts> {
        Reading {
            // A bare name selects whatever has the label.
            selector: (self == Self::Pod).then(|| label::NAME_HASH.to_owned()),
            key: |head| SandboxKey::new(&head.namespace, &head.name).ok(),
            read: match self {
                Self::Sandbox => sandbox,
                Self::Pod => pod,
                Self::Claim => claim,
                Self::Released => released,
                Self::Policy => policy,
            },
        }
    }
}

fn sandbox(json: &str) -> serde_json::Result<Read<Facts>> {
    let read = trimmed::sandbox(json)?;
    let facts = Facts::Sandbox(Arc::new(SandboxFacts::of(&read)));
    Ok((Head::from(&read.metadata), Some(facts)))
}

fn pod(json: &str) -> serde_json::Result<Read<Facts>> {
    let read = trimmed::pod(json)?;
    let facts = PodFacts::of(&read).map(|facts| Facts::Pod(Arc::new(facts)));
    Ok((Head::from(&read.metadata), facts))
}

fn claim(json: &str) -> serde_json::Result<Read<Facts>> {
    let read = trimmed::claim(json)?;
    let facts = Facts::Claim(Arc::new(ClaimFacts::of(&read)));
    Ok((Head::from(&read.metadata), Some(facts)))
}

fn released(json: &str) -> serde_json::Result<Read<Facts>> {
    let read: ReleasedClaim = serde_json::from_str(json)?;
    let uid = read.metadata.uid.as_deref().unwrap_or_default().into();
    let facts = Facts::Released(uid, Arc::new(ClaimFacts::released(&read)));
    Ok((Head::from(&read.metadata), Some(facts)))
}

fn policy(json: &str) -> serde_json::Result<Read<Facts>> {
    let read: ScaledSandbox = serde_json::from_str(json)?;
    let facts = Facts::Policy(Arc::new(PolicyFacts::of(&read)));
    Ok((Head::from(&read.metadata), Some(facts)))
}
