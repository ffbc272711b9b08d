//! `reveille-loadtest`: puts load on a running Reveille and prints what came of it.
//!
//! It knows only the wire: sandboxes by their headers, the operator's API for putting them to sleep.
//! Figures compare two ways to reach the same agent in the same run, since machines are noisy.

mod client;
mod herd;
mod wake;
mod warm;

use clap::{Parser, Subcommand};

/// Puts load on a running Reveille and prints what came of it.
#[derive(Debug, Parser)]
#[command(name = "reveille-loadtest", version, about)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// An awake sandbox through the activator and directly, in turns.
    Warm(warm::Args),
    /// Many requests at once to one sleeping sandbox.
    Herd(herd::Args),
    /// One request to a sleeping sandbox, again and again.
    Wake(wake::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().scenario {
        Scenario::Warm(args) => warm::run(args).await,
        Scenario::Herd(args) => herd::run(args).await,
        Scenario::Wake(args) => wake::run(args).await,
    }
}
