//! The controller with real processes: `/bin/sh` is every agent.

mod bench;
mod claims;
mod pods;
mod restarts;
mod wakes;
