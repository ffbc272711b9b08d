//! The activator's rules, without a clock, a task, or a socket.
//!
//! Everything here is told `now` and answers with values: what to send, whom to release, and when it
//! wants to be asked again. The shell around it translates and waits; the simulation drives the very
//! same [`entry::Entry`] with a clock of its own.
#![warn(missing_docs)]

pub mod activity;
pub mod admission;
pub mod entry;
pub mod events;
pub mod gate;
pub mod life;
pub mod lot;
pub mod pace;
pub mod past;
pub mod quota;
pub mod report;
pub mod retry;
pub mod sparing;
pub mod view;
pub mod wake;
pub mod websocket;

/// A point in time for tests: the cores only ever add to it.
#[cfg(test)]
fn any_instant() -> std::time::Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one clock of these tests, read once in each"
    )]
    std::time::Instant::now()
}
