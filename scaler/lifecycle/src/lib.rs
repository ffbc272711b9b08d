//! The sandbox controllers: what `operatingMode` means.
//!
//! The scaler writes intent into a [`store::Store`]; a controller makes it true. [`local`] runs a
//! sandbox's pod template as processes of this machine, from the same YAML as Kubernetes
//! ([`manifest`]). Nothing here knows of requests, cooldowns or policies.

pub mod local;
pub mod manifest;
pub mod object;
pub mod store;
