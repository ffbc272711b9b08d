//! What the programs stand on: the binary with their manifest, one each, and a client beside it.

#[path = "../e2e/support/admin.rs"]
#[allow(dead_code, reason = "shared with tests/e2e")]
mod admin;
#[path = "../e2e/support/client.rs"]
#[allow(dead_code, unused_imports, reason = "shared with tests/e2e")]
mod client;
#[path = "../e2e/support/home.rs"]
#[allow(dead_code, reason = "shared with tests/e2e")]
mod home;
#[path = "../e2e/support/http.rs"]
#[allow(dead_code, reason = "shared with tests/e2e")]
mod http;
#[path = "../e2e/support/log.rs"]
#[allow(dead_code, reason = "shared with tests/e2e")]
mod log;
#[path = "../e2e/support/manifests.rs"]
#[allow(dead_code, reason = "shared with tests/e2e")]
mod manifests;
#[path = "../e2e/support/patience.rs"]
#[allow(dead_code, reason = "shared with tests/e2e")]
mod patience;
#[path = "../e2e/support/process.rs"]
#[allow(dead_code, reason = "shared with tests/e2e")]
mod process;
#[path = "../e2e/support/reveille.rs"]
#[allow(dead_code, reason = "shared with tests/e2e")]
mod reveille;
pub(crate) mod tools;
pub(crate) mod trial;

pub(crate) use patience::{PATIENCE, setting, until, within};
