//! Flags of whatever runs beside a Kubernetes API.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{GuardArgs, value};

#[derive(Debug, Args)]
#[command(next_help_heading = "Kubernetes")]
pub(crate) struct ClusterArgs {
    /// How to reach the Kubernetes API [default: KUBECONFIG, ~/.kube/config, else the pod's ServiceAccount].
    #[arg(long, value_name = "FILE", env = "REVEILLE_KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Namespaces to look after, separated by commas [default: all].
    #[arg(
        long,
        value_name = "NAMESPACE",
        value_parser = value::label_or_none,
        env = "REVEILLE_WATCH_NAMESPACE",
        value_delimiter = ','
    )]
    pub(crate) watch_namespace: Vec<String>,
    /// Name of this replica among its like: that of its pod [default: the host's].
    #[arg(long, value_name = "NAME", value_parser = value::text, env = "REVEILLE_NAME")]
    pub(crate) name: Option<String>,
    /// Listener for operators and probes: /healthz, /readyz, /metrics; a scaler's also /v1/sandboxes.
    /// Port 0 takes a free one.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9090",
        value_parser = value::address,
        env = "REVEILLE_ADMIN"
    )]
    pub(crate) admin: SocketAddr,
    #[command(flatten)]
    pub(crate) guard: GuardArgs,
}
