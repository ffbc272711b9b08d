//! The manifests of `deploy/`: the API server takes them, they give each component what it needs, and
//! nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

mod fence;
mod manifests;
mod nats;
mod readiness;
mod rights;
mod support;
mod whole_loop;
