//! The parts of a control plane.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A process of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// `etcd`
    Etcd,
    /// `kube-apiserver`
    #[serde(rename = "kube-apiserver")]
    ApiServer,
    /// `kube-controller-manager`
    #[serde(rename = "kube-controller-manager")]
    ControllerManager,
    /// `kube-scheduler`
    #[serde(rename = "kube-scheduler")]
    Scheduler,
    /// `agent-sandbox-controller`
    #[serde(rename = "agent-sandbox-controller")]
    SandboxController,
    /// `nats-server`
    #[serde(rename = "nats-server")]
    Nats,
}

impl Part {
    /// All, in the order in which they start.
    pub const ALL: [Self; 6] = [
        Self::Nats,
        Self::Etcd,
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
        Self::SandboxController,
    ];

    /// The name of its program.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::SandboxController => "agent-sandbox-controller",
            Self::Nats => "nats-server",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program())
    }
}
