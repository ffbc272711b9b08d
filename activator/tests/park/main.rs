//! The activator over a real `nats-server`: the carrier by itself, and the whole while it is lost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what a test relies on")]

use std::time::Duration;

mod carrier;
mod loss;
mod server;

/// Longest time for anything that has to happen. More than a parked request may wait, so that an answer
/// after that wait is one.
const PATIENCE: Duration = Duration::from_secs(90);
