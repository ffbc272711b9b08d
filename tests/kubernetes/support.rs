//! What the tests on Kubernetes stand on: one control plane for all of them, and in it, per test, a
//! namespace with two activators, two scalers and a nats-server of its own.
//!
//! ```text
//! Cluster ─┬─ plane      etcd, API server, upstream's controller, a node that runs pods as processes
//!          ├─ access     ServiceAccounts, roles of deploy/base, kubeconfigs
//!          ├─ Part       one process: `reveille activator` or `reveille scaler`; killed, started again
//!          ├─ Nats       its nats-server
//!          ├─ objects    what a user does with kubectl: create, patch, delete, wait for
//!          └─ Audit      who asked the API server for what
//! Agent, policy …        manifests · Load  clients that count · Instances  which pods live, by watch
//! ```
//!
//! Waiting is always for an event, and never longer than [`PATIENCE`].

pub(crate) mod access;
pub(crate) mod audit;
#[path = "../e2e/support/churn.rs"]
pub(crate) mod churn;
pub(crate) mod cluster;
#[allow(dead_code, reason = "shared with tests/e2e")]
#[path = "../e2e/support/counts.rs"]
pub(crate) mod counts;
pub(crate) mod figures;
#[allow(dead_code, reason = "shared with tests/e2e")]
#[path = "../e2e/support/http.rs"]
pub(crate) mod http;
pub(crate) mod instances;
pub(crate) mod load;
#[allow(dead_code, reason = "shared with tests/e2e")]
#[path = "../e2e/support/log.rs"]
pub(crate) mod log;
pub(crate) mod manifests;
#[allow(dead_code, reason = "shared with tests/e2e")]
#[path = "../e2e/support/nats.rs"]
pub(crate) mod nats;
pub(crate) mod objects;
pub(crate) mod part;
#[allow(dead_code, reason = "shared with tests/e2e")]
#[path = "../e2e/support/patience.rs"]
mod patience;
pub(crate) mod plane;
#[path = "../e2e/support/port.rs"]
pub(crate) mod port;
#[allow(dead_code, reason = "shared with tests/e2e")]
#[path = "../e2e/support/process.rs"]
pub(crate) mod process;

pub(crate) use patience::{PATIENCE, setting, until, until_for, within};

/// A size: the small one in an ordinary run, the whole one with `REVEILLE_LONG=1`.
pub(crate) fn size(small: u64, whole: u64) -> u64 {
    if setting("REVEILLE_LONG", 0) == 0 {
        small
    } else {
        whole
    }
}
