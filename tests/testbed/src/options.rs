//! What a testbed is made of.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Options {
    /// What runs the pods.
    pub nodes: Nodes,
    /// Whether the API server writes an audit log of every request.
    pub audit: bool,
    /// Whether upstream's controller runs. Its CRDs are there in any case.
    pub controller: bool,
    /// Whether it converts objects between versions for CRDs that ask it; those installed here do not. It then
    /// listens on all addresses of the machine.
    pub conversion: bool,
    /// Folders where commands of pods are found before `PATH`. Empty: the folder of the `testbed` binary,
    /// where `reveille` is too.
    pub path_dirs: Vec<PathBuf>,
    /// The `testbed` binary, where it is not beside the caller's.
    #[serde(skip)]
    pub binary: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: Nodes::default(),
            audit: true,
            controller: true,
            conversion: false,
            path_dirs: Vec::new(),
            binary: None,
        }
    }
}

/// What runs the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Nodes {
    /// Nothing: pods stay pending.
    None,
    /// So many nodes `agent-0`, `agent-1`, …, whose pods are processes on this machine.
    Agent(u32),
    /// A kubelet with containers; needs root.
    Real,
}

impl Default for Nodes {
    fn default() -> Self {
        Self::Agent(1)
    }
}
