//! `reveille standalone`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{ActivatorArgs, CarrierArgs, GuardArgs, PolicyArgs, value};

#[derive(Debug, Args)]
pub(crate) struct StandaloneArgs {
    /// YAML or JSON file, or folder of such files, with sandboxes and policies. May be repeated.
    #[arg(
        short,
        long = "filename",
        value_name = "PATH",
        required = true,
        env = "REVEILLE_FILENAME",
        value_delimiter = ','
    )]
    pub(crate) filename: Vec<PathBuf>,
    /// Where volumes, logs and records are kept [default: the user's state directory, e.g. ~/.local/state/reveille].
    #[arg(long, value_name = "FOLDER", env = "REVEILLE_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Also print what the agents print, each line prefixed with its sandbox.
    #[arg(long, env = "REVEILLE_LOGS")]
    pub(crate) logs: bool,
    /// Listener for operators: /healthz, /readyz, /metrics, /v1/sandboxes. Port 0 takes a free one.
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
    #[command(flatten)]
    pub(crate) carrier: CarrierArgs,
    #[command(flatten)]
    pub(crate) activator: ActivatorArgs,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}
