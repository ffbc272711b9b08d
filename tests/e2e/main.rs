//! End-to-end tests: the real binary, agents that are real processes with state on disk, real
//! sockets, a real nats-server. They know the wire, the manifests and the log, and nothing inside.
//!
//! Run by theme: `cargo test --test e2e wake::`. `REVEILLE_TEST_UPLOAD_MIB`,
//! `REVEILLE_TEST_RACE_TRIES`, `REVEILLE_TEST_HOSTS` and `REVEILLE_TEST_SANDBOXES` set the size of the
//! long ones, and `REVEILLE_LONG=1` that of the soak.
#![expect(clippy::unwrap_used, clippy::panic, reason = "all of this is tests")]

mod bad_yaml;
mod busy;
mod examples;
mod faults;
mod herd;
mod malformed;
mod names;
mod nats;
mod pages;
mod protocols;
mod scale;
mod sleep_race;
mod slow;
mod soak;
mod stop;
mod streams;
mod support;
mod terminal;
mod wake;
