//! The command line. Every flag can also be set as `REVEILLE_<FLAG>`.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::telemetry::TelemetryArgs;

/// Puts agent sandboxes to sleep when nobody needs them, and wakes them on demand.
#[derive(Debug, Parser)]
#[command(name = "reveille", version, about, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) telemetry: TelemetryArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything on this machine: sandboxes are processes, no other server is needed.
    Standalone(Box<StandaloneArgs>),
    /// Print the CustomResourceDefinitions.
    Crds(CrdsArgs),
    /// Be the agent of examples/: a conversation kept on a volume. For trying Reveille out.
    #[command(disable_help_flag = true)]
    ExampleAgent {
        /// The agent's own flags; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

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
    /// Carry wake and idle events over this NATS server instead of within the process.
    #[arg(long, value_name = "URL", env = "REVEILLE_NATS")]
    pub(crate) nats: Option<String>,
    /// Listener for operators: /healthz, /readyz, /metrics, /v1/sandboxes. Port 0 takes a free one.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9090",
        env = "REVEILLE_ADMIN"
    )]
    pub(crate) admin: SocketAddr,
    #[command(flatten)]
    pub(crate) activator: ActivatorArgs,
    #[command(flatten)]
    pub(crate) scaler: ScalerArgs,
}

/// Flags of whatever runs an activator.
#[derive(Debug, Args)]
#[command(next_help_heading = "Activator")]
pub(crate) struct ActivatorArgs {
    /// Listener for the sandboxes' clients. Port 0 takes a free one.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        env = "REVEILLE_LISTEN"
    )]
    pub(crate) listen: SocketAddr,
    /// Hosts `<name>.<namespace>.<DOMAIN>` reach a sandbox.
    #[arg(long, default_value = "sandbox.localhost", env = "REVEILLE_DOMAIN")]
    pub(crate) domain: String,
    /// Most client connections at a time.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 110_000,
        env = "REVEILLE_MAX_CONNECTIONS"
    )]
    pub(crate) max_connections: usize,
    /// Most parked requests at a time, over all sandboxes.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100_000,
        env = "REVEILLE_MAX_PARKED"
    )]
    pub(crate) max_parked: u32,
    /// Wakes that one client address may begin per minute; 0 is unlimited.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        env = "REVEILLE_WAKES_PER_CALLER"
    )]
    pub(crate) wakes_per_caller: u32,
    /// Wakes that may begin per minute for one sandbox; 0 is unlimited.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        env = "REVEILLE_WAKES_PER_SANDBOX"
    )]
    pub(crate) wakes_per_sandbox: u32,
    /// Longest time to a sandbox's response headers.
    #[arg(long, value_name = "DURATION", default_value = "300s", value_parser = duration, env = "REVEILLE_RESPONSE_HEADER_TIMEOUT")]
    pub(crate) response_header_timeout: Duration,
    /// Time that in-flight requests get to finish on shutdown.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration, env = "REVEILLE_GRACE")]
    pub(crate) grace: Duration,
}

/// Flags of whatever runs a scaler.
#[derive(Debug, Args)]
#[command(next_help_heading = "Scaler")]
pub(crate) struct ScalerArgs {
    /// Whether a request wakes a sandbox that no ScaledSandbox governs.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, env = "REVEILLE_WAKE_UNMANAGED")]
    pub(crate) wake_unmanaged: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CrdsArgs {
    /// Write one file a kind into this folder instead of printing.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,
}

/// What the user wrote cannot be run; the text says what to write instead.
#[derive(Debug)]
pub(crate) struct BadConfiguration(pub(crate) String);

impl fmt::Display for BadConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadConfiguration {}

/// `300s`, `5m`, `1m 30s`, or a plain number of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let parsed: jiff::SignedDuration = text
        .parse()
        .map_err(|_| format!("{text:?} is no duration; write for example 300s, 5m or 1m 30s"))?;
    Duration::try_from(parsed).map_err(|_| format!("{text:?} is negative; write for example 300s"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_environment_variable() {
        let command = Cli::command();
        let standalone = command.find_subcommand("standalone").unwrap();
        for argument in standalone
            .get_arguments()
            .filter(|argument| argument.get_long().is_some_and(|long| long != "help"))
        {
            let long = argument.get_long().unwrap();
            let expected = format!("REVEILLE_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(
                argument.get_env().and_then(|name| name.to_str()),
                Some(expected.as_str()),
                "--{long}"
            );
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("300s"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(duration("-1s").unwrap_err().contains("negative"));
        assert!(duration("soon").unwrap_err().contains("for example"));
    }
}
