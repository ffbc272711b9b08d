//! The two edges of the activator on real sockets: clients on one side, agents in the test on the other.

#![allow(clippy::too_many_lines, reason = "tables of cases")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, its support code too"
)]

mod bodies;
mod connections;
mod contract;
mod departures;
mod ends;
mod framing;
mod grpc;
mod http2;
mod limits;
mod lives;
mod names;
mod pages;
mod resets;
mod streams;
mod support;
mod timers;
mod tunnels;
mod unread;
