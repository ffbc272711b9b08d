//! What activator and scaler learn from a watch: each object trimmed on arrival to the facts they use.
//!
//! A [`Change`] is level, not edge: it carries the whole present state of one object, or its absence.
//! Applying the same one twice, or skipping one that a later one replaces, is harmless.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::SandboxKey;
use crate::labels::Labels;
use crate::names::annotation;
use crate::sandbox::OperatingMode;
use crate::scaled_sandbox::PolicyFacts;

/// The present state of one object, or its absence.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A Sandbox, by its own name.
    Sandbox(SandboxKey, Option<Arc<SandboxFacts>>),
    /// A pod that a Sandbox controls, by the pod's namespace and name.
    Pod(SandboxKey, Option<Arc<PodFacts>>),
    /// A SandboxClaim.
    Claim(SandboxKey, Option<Arc<ClaimFacts>>),
    /// A ScaledSandbox, by namespace and name.
    Policy(SandboxKey, Option<Arc<PolicyFacts>>),
    /// Everything that existed when the watch began has been told.
    Synced,
}

/// What is kept of a Sandbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SandboxFacts {
    /// UID of the object.
    pub uid: Arc<str>,
    /// Creation instant.
    pub created: Option<Timestamp>,
    /// Labels, for selectors; without upstream's claim UID and name hash, which select no fleet.
    pub labels: Labels,
    /// Desired state.
    pub mode: OperatingMode,
    /// [`crate::names::annotation::EPOCH`], 0 where missing or unreadable.
    pub epoch: u64,
    /// Operator's pin.
    pub hold: Option<Hold>,
    /// [`crate::names::annotation::BUSY_UNTIL`], `None` where missing or unreadable.
    pub busy_until: Option<Box<Timestamp>>,
    /// Annotations of ours that say nothing that is known.
    pub misread: Option<Box<Misread>>,
    /// When Reveille woke it, if its last write was a wake: seconds since 1970.
    pub woken: Option<NonZeroU32>,
    /// Instant of expiry.
    pub shutdown_time: Option<Box<Timestamp>>,
    /// The object is being deleted.
    pub deleting: bool,
    /// An unclaimed member of a warm pool: not routable, not ours to wake or put to sleep.
    pub pool_member: bool,
    /// Name of the claim that controls this Sandbox.
    pub claim: Option<Arc<str>>,
    /// UID of that claim; `None` compares by name alone. A claim made again under an old name does not
    /// inherit the Sandbox of its predecessor.
    pub claim_uid: Option<Arc<str>>,
    /// Whether it has volume claim templates.
    pub has_volumes: bool,
    /// Container ports of its pods where no other can be reached, as on one machine or with `hostNetwork`;
    /// `None`: any port of the pod.
    pub ports: Option<Arc<[u16]>>,
    /// A reason of the Ready condition that no waiting will mend, with its message
    /// (`SandboxExpired`, `MultiplePods`, `InvalidConfiguration`, `ReconcilerError`).
    pub fault: Option<Fault>,
}

/// Annotations of Reveille whose values are passed over, as written; cut where they are long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Misread {
    /// [`crate::names::annotation::HOLD`].
    pub hold: Option<Box<str>>,
    /// [`crate::names::annotation::BUSY_UNTIL`].
    pub busy_until: Option<Box<str>>,
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = match (&self.hold, &self.busy_until) {
            (Some(_), Some(_)) => "; ",
            _ => "",
        };
        if let Some(word) = &self.hold {
            let name = annotation::HOLD;
            write!(
                f,
                "{name} is {word:?} and is passed over: write awake or asleep, or remove it"
            )?;
        }
        f.write_str(between)?;
        if let Some(text) = &self.busy_until {
            let name = annotation::BUSY_UNTIL;
            write!(
                f,
                "{name} is {text:?} and is passed over: write an instant as in 2026-01-31T12:00:00Z, or remove it"
            )?;
        }
        Ok(())
    }
}

/// An operator's pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Keep awake.
    Awake,
    /// Keep asleep.
    Asleep,
}

/// A reason in one word and a message for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// CamelCase, as Kubernetes' condition reasons.
    pub reason: Arc<str>,
    /// The cluster's own words, for operators; a client is told [`Fault::for_clients`].
    pub message: Arc<str>,
}

/// What is kept of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodFacts {
    /// UID of the pod.
    pub uid: Arc<str>,
    /// Name of the Sandbox that controls it.
    pub sandbox: Arc<str>,
    /// UID of that Sandbox.
    pub sandbox_uid: Arc<str>,
    /// Address, once it has one.
    pub ip: Option<IpAddr>,
    /// Container port to port at `ip`; `None` where they are the same (every real pod network).
    pub ports: Option<Box<[(u16, u16)]>>,
    /// Container ports that speak HTTP/2 without TLS: those whose name begins with `h2c` or `grpc` (the
    /// convention of Knative and Istio), but `grpc-web`. A container port has no `appProtocol`, and the Service
    /// that a Sandbox's controller makes of them has none either.
    pub h2c: Box<[u16]>,
    /// Pod condition Ready.
    pub ready: bool,
    /// It has a deletion timestamp.
    pub terminating: bool,
    /// Seconds its processes get to end: those of its deletion where it is being deleted, else
    /// `terminationGracePeriodSeconds`; 30 where missing.
    pub grace: u32,
    /// Why it will not come up by waiting.
    pub fault: Option<Fault>,
    /// Readiness probe of the first container that has one.
    pub probe: Option<Probe>,
    /// Creation instant.
    pub created: Option<Timestamp>,
}

impl PodFacts {
    /// Where `container_port` is reached, if the pod has an address and (where ports are mapped) the port.
    #[must_use]
    pub fn address(&self, container_port: u16) -> Option<SocketAddr> {
        let ip = self.ip?;
        let port = match &self.ports {
            None => container_port,
            Some(ports) => ports.iter().find(|(from, _)| *from == container_port)?.1,
        };
        Some(SocketAddr::new(ip, port))
    }
}

/// How a pod says that it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `httpGet`: 200 to 399 is ready.
    Http {
        /// Container port.
        port: u16,
        /// Path with query.
        path: Arc<str>,
        /// Extra headers, `Host` included where set.
        headers: Arc<[(String, String)]>,
        /// Time for one attempt.
        timeout: Duration,
    },
    /// `tcpSocket`: a connection is ready.
    Tcp {
        /// Container port.
        port: u16,
    },
    /// `grpc`: a `SERVING` of [`crate::health`] is ready.
    Grpc {
        /// Container port.
        port: u16,
        /// Name of the service that is asked about; empty is the server itself.
        service: Arc<str>,
        /// Time for one attempt.
        timeout: Duration,
    },
    /// `exec` or HTTPS: only the kubelet can tell; wait for the Ready condition.
    Kubelet,
}

/// What is kept of a SandboxClaim.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClaimFacts {
    /// UID of the claim.
    pub uid: Arc<str>,
    /// Creation instant.
    pub created: Option<Timestamp>,
    /// Labels, for selectors.
    pub labels: Labels,
    /// The Sandbox that stands for it, once bound.
    pub sandbox: Option<Arc<str>>,
    /// The warm pool it draws from.
    pub pool: Arc<str>,
    /// The claim is being deleted.
    pub deleting: bool,
    /// Reveille released it to put it to sleep (strategy Bind): the object is gone, its manifest is
    /// remembered, and a wake creates it again under the same name.
    pub released: bool,
    /// UID of a [`crate::released_claim::ReleasedClaim`] that stands beside the living claim of its name:
    /// of a release or a bind that is under way, or left over by one that was cut short.
    pub leftover: Option<Arc<str>>,
    /// When nothing is to be left of a released claim ([`crate::released_claim::RememberedClaim::ends`]).
    /// In a box, since nearly all have none.
    pub ends: Option<Box<Timestamp>>,
    /// When a released claim is forgotten because nobody has asked for it. In a box, since most are not
    /// released.
    pub lapse: Option<Box<Lapse>>,
    /// It sleeps as it is, whatever the policy says ([`crate::names::annotation::STAYS_BOUND`]).
    pub stays_bound: bool,
    /// Wakes and sleeps written by Reveille on this claim so far.
    pub epoch: u64,
    /// Why it cannot be bound by waiting.
    pub fault: Option<Fault>,
}

/// The end of what is remembered of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lapse {
    /// UID of the [`crate::released_claim::ReleasedClaim`].
    pub record: Arc<str>,
    /// Its removal.
    pub at: Timestamp,
}
