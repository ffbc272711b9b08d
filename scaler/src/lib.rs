//! The scaler: writes intent (`operatingMode`, claims) when a sandbox must wake or may sleep.
//!
//! The rules live in `reveille-scaler-core`, one machine per target. This shell feeds the machines with
//! what it sees and hears, and does what they answer:
//!
//! ```text
//! changes ─▶┐                        ┌─▶ apply         all that is written, each write fenced
//! carrier ─▶│  fleet.rs   one task,  ├─▶ carrier        outcomes, drains, sync
//! API     ─▶│  one timer queue       ├─▶ busy_probe.rs  asks agents
//! timer   ─▶┘                        └─▶ journal.rs     log, metrics, CloudEvents
//! ```
//!
//! Nothing runs per idle sandbox; its whole cost is its entry in the map. On Kubernetes `lease.rs` beside
//! it takes part in the election of the leader, who alone puts to sleep.

pub mod api;
mod apply;
mod busy_probe;
pub mod config;
mod fleet;
pub mod idle_when;
mod journal;
pub mod leader;
pub mod lease;
pub mod metrics;
pub mod nats;
mod observe;
pub mod policy;
mod status;

use reveille_crds::change::Change;
use reveille_crds::cloudevent::CloudEvent;
use reveille_crds::message::{ToActivator, ToScaler};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use apply::{Objects, kubernetes};
use config::Config;
use fleet::Fleet;
use journal::Journal;
use metrics::Metrics;

/// Both ends of the scaler's conversation with the activators, whatever carries it.
#[derive(Debug)]
pub struct Carrier {
    /// Outcomes, drains and syncs, each for all activators.
    pub to_activators: mpsc::Sender<ToActivator>,
    /// Wakes, reports and replies, of all activators.
    pub from_activators: mpsc::Receiver<ToScaler>,
    /// Whether the carrier is up. While it is not, nothing is put to sleep.
    pub link: watch::Receiver<bool>,
    /// CloudEvents for whoever listens; dropped when the channel is full.
    pub events: Option<mpsc::Sender<CloudEvent>>,
}

/// Why the scaler ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The watch ended.
    #[error("the watch of sandboxes ended")]
    WatchEnded,
    /// The carrier ended.
    #[error("the carrier to the activators ended")]
    CarrierEnded,
    /// A task ended badly.
    #[error("a task of the scaler ended badly: {0}")]
    TaskFailed(String),
}

/// Runs until `shutdown` is cancelled; then begins nothing new and waits for the writes under way.
///
/// # Errors
/// If the watch or the carrier ends first.
pub async fn run(
    config: Config,
    changes: mpsc::Receiver<Change>,
    objects: Objects,
    carrier: Carrier,
    metrics: Metrics,
    api: api::Receiver,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let journal = Journal::new(metrics, carrier.events.clone());
    Fleet::new(config, objects, journal)
        .run(changes, carrier, api, shutdown)
        .await
}
