//! What the end-to-end tests stand on: the real binary, real agents, real sockets.
//!
//! ```text
//! Reveille ─┬─ Home       manifests and state folder, kept across restarts
//!           ├─ Log        its JSON log: waited for, and shown when a test fails
//!           ├─ client     HTTP/1.1 as clients speak it; raw sockets; WebSocket
//!           ├─ admin      /v1/sandboxes, /metrics
//!           └─ process    memory, CPU, descriptors; which agents live
//! Nats, Chaos             a real server, and a proxy before it that doubles, delays and cuts
//! ```
//!
//! Waiting is always for an event, and never longer than [`PATIENCE`].

pub(crate) mod admin;
pub(crate) mod chaos;
pub(crate) mod churn;
pub(crate) mod client;
pub(crate) mod counts;
pub(crate) mod home;
pub(crate) mod http;
#[allow(dead_code, reason = "shared with tests/kubernetes")]
pub(crate) mod log;
pub(crate) mod manifests;
pub(crate) mod nats;
mod patience;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod reveille;
pub(crate) mod socket;

pub(crate) use patience::{PATIENCE, setting, until, within};
