//! What Reveille relies on in upstream's controller, checked against the real one.
//!
//! The numbers are those of `reference/agent-sandbox.md` §8.3.

mod claims;
mod modes;
mod reliance;
