//! Programs of others: servers that people run in sandboxes, and the clients they reach them with, each
//! through sleep and wake, in use for a minute, and left attached until the sandbox sleeps again.
//!
//! A program is a folder here: a manifest, a server, and clients that print a line a step and exit with 0 if
//! everything was as it is without Reveille. They know the wire, the operator's API, and nothing else.
//!
//! `cargo test --test agents mcp`; `REVEILLE_TEST_USE_SECONDS` is how long each is in use. Those that need a
//! browser: `tests/agents/run`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "all of this is tests")]

mod programs;
mod support;

use crate::support::tools::Tools;

fn main() {
    support::trial::run(Tools::Programs, programs::WITHOUT_BROWSER);
}
