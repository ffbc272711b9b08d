//! The command line. Every flag can also be set as `REVEILLE_<FLAG>`.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::telemetry::TelemetryArgs;

mod activator;
mod carrier;
mod cluster;
mod front;
mod guard;
mod policy;
mod scaler;
mod standalone;
mod value;

pub(crate) use activator::{ActivatorArgs, ActivatorCommand};
pub(crate) use carrier::CarrierArgs;
pub(crate) use cluster::ClusterArgs;
pub(crate) use front::FrontArgs;
pub(crate) use guard::GuardArgs;
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

    /// What clap says of these flags.
    fn told(flags: &[&str]) -> clap::Error {
        let all = ["reveille"].iter().chain(flags);
        Cli::try_parse_from(all).expect_err("it is refused")
    }

    #[test]
    fn a_setting_that_cannot_work_is_refused_with_a_sentence_and_exit_code_2() {
        let standalone =
            |flag: &'static str, value: &'static str| told(&["standalone", "-f", "x", flag, value]);
        for error in [
            standalone("--log", "loud"),
            standalone("--domain", ""),
            standalone("--domain", "bad domain"),
            standalone("--listen", "8080"),
            standalone("--admin", "nowhere:port"),
            standalone("--max-connections", "0"),
            standalone("--max-parked", "0"),
            standalone("--response-header-timeout", "0s"),
            standalone("--grace", "-1s"),
            standalone("--nats", ""),
            standalone("--nats-credentials", "x"),
            standalone("--state-dir", ""),
            standalone("-f", ""),
            standalone("--wake-unmanaged", "maybe"),
            told(&["activator", "--scaler-api", "scaler:9090"]),
            told(&["activator", "--settle", "soon"]),
            told(&["activator", "--name", ""]),
            told(&["activator", "--watch-namespace", "A"]),
            told(&["scaler", "--activators", "a.b"]),
            told(&["scaler", "--activator-selector", ""]),
            told(&["scaler", "--activator-namespace", ""]),
            told(&["scaler", "--lease-name", "A"]),
            told(&["scaler", "--lease-namespace", ""]),
            told(&["scaler", "--writes-per-second", "0"]),
            told(&["scaler", "--write-burst", "0"]),
            told(&["crds", "--output", ""]),
        ] {
            assert_eq!(error.exit_code(), 2, "{error}");
            let text = error.to_string();
            assert!(text.contains("--") && text.len() > 40, "{text}");
        }
    }

    #[test]
    fn addresses_work_as_people_write_them() {
        for address in [":8080", "localhost:8080", "[::1]:8080", "127.0.0.1:0"] {
            let flags = [
                "standalone",
                "-f",
                "x",
                "--listen",
                address,
                "--admin",
                address,
            ];
            let all = ["reveille"].iter().chain(&flags);
            assert!(Cli::try_parse_from(all).is_ok(), "{address}");
        }
    }
}
