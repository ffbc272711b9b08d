//! The rules of waking and sleeping, without clock, tasks, network or Kubernetes types.
//!
//! One [`sandbox::Sandbox`] machine per target. It is told what is seen ([`view::View`]), asked
//! ([`wake::Ask`]), reported ([`ledger::Report`]) and commanded, each time with `now`; [`poll`] then
//! answers with what to do ([`act::Act`]) and when to ask again. The [`roster::Roster`] of activators and
//! the write [`budget::Budget`] are shared by all machines.
//!
//! [`poll`]: sandbox::Sandbox::poll
#![warn(missing_docs)]

pub mod act;
pub mod budget;
pub mod command;
pub mod decide;
pub mod drain;
pub mod election;
pub mod explain;
pub mod flapping;
pub mod lease;
pub mod ledger;
pub mod overlooked;
pub mod roster;
pub mod sandbox;
pub mod view;
pub mod wake;
pub mod why;
