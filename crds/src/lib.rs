//! Kinds, keys, messages, subjects and names that every other package speaks.
//!
//! Data only: no runtime, no network, no clock. What upstream's `agent-sandbox` defines is kept
//! field for field at `v1beta1`; what Reveille adds lives in `reveille.dev/v1alpha1`.
#![warn(missing_docs)]
#![allow(
    clippy::duplicated_attributes,
    reason = "every printer column of a kind has a type of its own"
)]

pub mod change;
pub mod claim;
pub mod cloudevent;
pub mod codec;
pub mod facts;
pub mod fault;
pub mod health;
pub mod index;
pub mod key;
pub mod labels;
pub mod manifest;
pub mod message;
pub mod names;
pub mod pod;
pub mod policy;
pub mod released_claim;
pub mod sandbox;
pub mod scaled_sandbox;
pub mod selector;
pub mod subject;
pub mod template;
pub mod trimmed;
pub mod warm_pool;

pub use key::SandboxKey;
