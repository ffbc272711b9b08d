//! Programs of others that are used in a browser: run by `tests/agents/run`, which installs Chromium.
//! What they are, and how they are tried, says main.rs.
#![expect(clippy::unwrap_used, clippy::panic, reason = "all of this is tests")]

mod programs;
mod support;

use crate::support::tools::Tools;

fn main() {
    support::trial::run(Tools::Browsers, programs::IN_A_BROWSER);
}
