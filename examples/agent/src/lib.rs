//! An agent worth waking: it keeps a conversation on its volume, so that whoever wakes it can see
//! that nothing was lost. Small enough to read in one sitting, and with enough bad habits on request
//! (slow start, crash, a port that refuses) to be the target of the end-to-end tests. It runs as
//! `reveille example-agent`, so that trying Reveille out takes nothing but Reveille.
//!
//! ```text
//! start ─ options ─ server ─┬─ about, chat ── notebook ── journal (volume)
//!                           └─ streams, transfer, lease, echo, execute, health
//! ```

mod about;
mod agent;
mod chat;
mod conversation;
mod echo;
mod error;
mod execute;
mod files;
mod health;
mod journal;
mod lease;
mod memory;
mod notebook;
mod options;
mod server;
mod streams;
mod transfer;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::options::Options;
use crate::server::End;

/// Exit code of a crash that was asked for, told apart from one that was not.
const CRASHED: u8 = 3;

/// Runs the agent as a whole process: `args` as given to it, the program's name first.
#[must_use]
pub fn start(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match run(Options::parse_from(args)) {
        Ok(End::Stopped) => ExitCode::SUCCESS,
        Ok(End::Crashed) => ExitCode::from(CRASHED),
        Err(error) => {
            eprintln!("example-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One thread serves: the agent is one among many on its machine, and most of its life it sleeps.
fn run(options: Options) -> anyhow::Result<End> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let end = runtime.block_on(server::run(options));
    runtime.shutdown_background();
    end
}
