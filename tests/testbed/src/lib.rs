//! A real control plane on loopback, with nodes: for the tests, and for trying Reveille without a cluster.
//!
//! ```text
//! test ── Testbed ──stdin: commands, and the lifeline──▶ testbed run ─┬─ etcd
//!            ▲                                                        ├─ kube-apiserver
//!            └───────────stdout: ready, answers───────────────────────├─ kube-controller-manager
//!                                                                     ├─ kube-scheduler
//!                                                                     ├─ agent-sandbox-controller
//!                                                                     ├─ nats-server
//!                                                                     └─ nodes (tasks of its own, or real)
//! ```
//!
//! The parts are children of a process of their own, not of the test: whatever ends the test, be it
//! SIGKILL, closes the lifeline, and then everything goes. Should that process be killed, the kernel ends
//! its parts ([`launch`]), and the next testbed sweeps its folder away.
//!
//! A test binary shares one [`Testbed`] and takes a namespace for each test:
//!
//! ```no_run
//! # async fn example() -> Result<(), reveille_testbed::Error> {
//! let testbed = reveille_testbed::Testbed::shared().await?;
//! let namespace = testbed.namespace("sleep").await?;
//! testbed.apply_in(&namespace, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}").await?;
//! # Ok(())
//! # }
//! ```

pub mod apply;
pub mod bed;
pub mod detached;
mod facts;
mod guard;
pub mod launch;
pub mod node;
mod options;
mod part;
pub mod programs;
mod protocol;
pub mod real;
pub mod serve;

pub use crate::facts::Facts;
pub use crate::guard::{Error, Testbed, Who};
pub use crate::options::{Nodes, Options};
pub use crate::part::Part;
