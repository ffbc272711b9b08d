//! How activators and scalers hear each other.

use std::path::PathBuf;

use clap::Args;

use super::value;

#[derive(Debug, Args)]
#[command(next_help_heading = "NATS")]
pub(crate) struct CarrierArgs {
    /// NATS server, or several separated by commas, that carries wake and idle events:
    /// nats://[user:password@]host:port. Without it nothing is put to sleep on Kubernetes, and
    /// wakes go by the scalers' API; one machine needs none.
    #[arg(
        long,
        value_name = "URL",
        value_parser = value::nats,
        env = "REVEILLE_NATS",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(crate) nats: Vec<String>,
    /// File with the credentials for NATS: a user's JWT and seed, as `nsc` writes it.
    #[arg(
        long,
        value_name = "FILE",
        env = "REVEILLE_NATS_CREDENTIALS",
        requires = "nats"
    )]
    pub(crate) nats_credentials: Option<PathBuf>,
}
