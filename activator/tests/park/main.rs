//! The activator over a real `nats-server`: the carrier by itself, and the whole while it is lost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what a test relies on")]

use std::time::Duration;

mod carrier;
mod loss;
mod server;

/// Longest time for anything that has to happen.
const PATIENCE: Duration = Duration::from_secs(20);
