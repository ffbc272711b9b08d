//! End to end on a real node: a kubelet, containerd and runc run the agents, volumes are hostPath
//! PersistentVolumes; two activators and two scalers talk over NATS.
//!
//! `tests/testbed/real/run` is the command: it needs root, so this target is left out of an ordinary
//! `cargo test`. One test at a time, since they measure; each prints what it saw.
#![expect(clippy::unwrap_used, clippy::panic, reason = "all of this is tests")]

#[allow(dead_code, unused_imports, reason = "shared with tests/kubernetes")]
#[path = "../kubernetes"]
mod shared {
    pub(crate) mod support;
}

mod cycle;
mod dying;
mod probing;
mod race;
mod stage;
mod teardown;
mod timeline;
mod upstream;

use shared::support;
