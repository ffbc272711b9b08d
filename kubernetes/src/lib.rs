//! What activator and scaler share of the Kubernetes API: connecting, discovery, watches. It only reads.
//!
//! ```text
//! connect ──client──▶ discovery ──which kinds, in which version──▶ watch ──Change──▶ an index
//!                                                                  members ──names──▶ the scaler
//! ```
//!
//! Everything here goes on for ever and repairs itself: while the API is away, what was told last stays
//! told, and after a gap whatever vanished meanwhile is told as gone.
#![warn(missing_docs)]

pub mod connect;
pub mod discovery;
pub mod health;
pub mod members;
pub mod watch;

mod backoff;
mod fetch;
mod kind;
mod lines;
mod reflect;
