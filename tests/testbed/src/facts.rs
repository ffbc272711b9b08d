//! Where a running testbed has what.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::part::Part;

/// Where a running testbed has what; the same over restarts of its parts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// Id of the process that holds all others.
    pub pid: u32,
    /// Folder of all state: `log/<part>.log`, `kubeconfig/`, the data.
    pub dir: PathBuf,
    /// Of the API server.
    pub api_url: String,
    /// Of NATS.
    pub nats_url: String,
    /// Where upstream's controller converts objects, with the API server's own certificate; 0 where it does
    /// not.
    pub conversion_port: u16,
    /// The `kubectl` that belongs to the API server.
    pub kubectl: PathBuf,
}

impl Facts {
    /// Of the administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_of("admin")
    }

    /// JSON lines of the API server's audit log.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.dir.join("audit.log")
    }

    /// What a part has written.
    #[must_use]
    pub fn log(&self, part: Part) -> PathBuf {
        self.dir.join("log").join(format!("{part}.log"))
    }

    pub(crate) fn kubeconfig_of(&self, name: &str) -> PathBuf {
        self.dir.join("kubeconfig").join(format!("{name}.yaml"))
    }
}
