//! The node agent under a real control plane: what a kubelet does, it does.
#![expect(clippy::unwrap_used, clippy::panic, reason = "all of this is tests")]

mod deletion;
mod outages;
mod pods;
mod sandboxes;
mod scripts;
mod support;
mod volumes;
