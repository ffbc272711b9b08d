//! Starts the command, and is the only place that reads the environment and names exit codes.

mod activator;
mod admin;
mod carrier;
mod cli;
mod cluster;
mod crds;
mod listen;
mod running;
mod scaler;
mod shutdown;
mod standalone;
mod telemetry;
mod welcome;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::{env, iter};

use clap::Parser;

use crate::cli::{BadConfiguration, Cli, Command};

/// What the user wrote cannot be run (`EX_CONFIG` of sysexits.h). clap itself exits 2 on unknown flags.
const BAD_CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    let Cli { command, telemetry } = Cli::parse();
    let outcome = match command {
        Command::Standalone(args) => {
            let environment = standalone::Environment {
                variables: env::vars_os().collect(),
                executable: env::current_exe().ok(),
            };
            standalone::run(*args, &telemetry, environment)
        }
        Command::Activator(args) => activator::run(*args, &telemetry),
        Command::Scaler(args) => scaler::run(*args, &telemetry),
        Command::Crds(args) => crds::run(&args),
        Command::ExampleAgent { args } => {
            return reveille_example_agent::start(iter::once("example-agent".into()).chain(args));
        }
    };
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    // Nobody reads a terminal that is closed.
    let _ = writeln!(io::stderr(), "reveille: {error:#}");
    if error.is::<BadConfiguration>() {
        ExitCode::from(BAD_CONFIGURATION)
    } else {
        ExitCode::FAILURE
    }
}
