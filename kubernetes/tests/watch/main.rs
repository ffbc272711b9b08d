//! The watches against an API server that does everything wrong that one can do.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what broke by the line"
)]

mod bench;
mod claims;
mod connect;
mod fake;
mod faults;
mod gaps;
mod lists;
mod members;
mod objects;
mod versions;
