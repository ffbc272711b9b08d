//! The command line. Every flag can also be set as `REVEILLE_<FLAG>`.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::telemetry::TelemetryArgs;

mod activator;
mod carrier;
mod cluster;
mod policy;
mod scaler;
mod standalone;

pub(crate) use activator::{ActivatorArgs, ActivatorCommand};
pub(crate) use carrier::CarrierArgs;
pub(crate) use cluster::ClusterArgs;
pub(crate) use policy::PolicyArgs;
pub(crate) use scaler::{Members, ScalerCommand};
pub(crate) use standalone::StandaloneArgs;

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
    /// Be the HTTP front of the sandboxes of a Kubernetes cluster. It only reads there.
    Activator(Box<ActivatorCommand>),
    /// Put sandboxes of a Kubernetes cluster to sleep, and wake them for the activators.
    Scaler(Box<ScalerCommand>),
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
pub(crate) struct CrdsArgs {
    /// Write one file a kind into this folder instead of printing.
    #[arg(long, value_name = "FOLDER", env = "REVEILLE_OUTPUT")]
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
        for subcommand in command.get_subcommands() {
            let named = subcommand.get_arguments().filter_map(|argument| {
                let long = argument.get_long().filter(|long| *long != "help")?;
                Some((argument, long))
            });
            for (argument, long) in named {
                let expected = format!("REVEILLE_{}", long.to_uppercase().replace('-', "_"));
                assert_eq!(
                    argument.get_env().and_then(|name| name.to_str()),
                    Some(expected.as_str()),
                    "{} --{long}",
                    subcommand.get_name()
                );
            }
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
