//! The testbed itself: what it serves, what it survives, and that nothing of it is left.
#![expect(clippy::unwrap_used, clippy::panic, reason = "all of this is tests")]

mod ends;
mod parts;
mod serves;
mod support;
