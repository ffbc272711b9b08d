//! The watches against a real API server and etcd: what no imitation shows.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what broke by the line"
)]

mod access;
mod bench;
mod kinds;
mod members;
mod outages;
mod relay;
