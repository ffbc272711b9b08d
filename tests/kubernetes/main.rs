//! The loop on Kubernetes: a real API server, upstream's sandbox controller, a real nats-server for
//! each test, two activators and two scalers, and pods that run as processes.
//!
//! Run by theme: `cargo test --test kubernetes kill::`. `REVEILLE_LONG=1` takes the whole sizes. The
//! programs `reveille` and `testbed` lie beside the test; `tests/run` builds both, and
//! `cargo build -p reveille-testbed` the latter.
#![expect(clippy::unwrap_used, clippy::panic, reason = "all of this is tests")]

mod chaos;
mod claims;
mod controller;
mod cycle;
mod herd;
mod kill;
mod leases;
mod nats;
mod policies;
mod proxy;
mod race;
mod sdk;
mod soak;
mod support;
mod upgrade;
