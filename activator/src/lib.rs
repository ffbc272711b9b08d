//! The activator: the HTTP front of every sandbox. It parks a request for a sandbox that sleeps, asks
//! for its wake, and delivers the request once the sandbox is up.
//!
//! ```text
//! server → proxy ─ route · way · pages · naming · headers          rescue ← error
//!            │
//!            ├─ directory → slot ─ parking ⇄ wake ─ probe        (one task per waking sandbox)
//!            └─ upstream · dial → body · tunnel
//! changes ─▶ directory      carrier ─▶ inbox      report ─▶ carrier ◀─ wake ─▶ fallback
//! ```
//!
//! It writes nothing but messages: a watch tells it where sandboxes are, a scaler wakes them.

pub mod config;
pub mod host;
pub mod metrics;
pub mod nats;

mod body;
mod dial;
mod directory;
mod error;
mod fallback;
mod front;
mod grpc;
mod headers;
mod inbox;
mod looks;
mod naming;
mod pages;
mod parking;
mod probe;
mod proxy;
mod report;
mod rescue;
mod route;
mod server;
mod sight;
mod slot;
mod sparing;
mod stream;
#[cfg(test)]
mod tests;
mod tunnel;
mod upstream;
mod wake;
mod way;
mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use reveille_crds::change::Change;
use reveille_crds::message::{ToActivator, ToScaler};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use crate::config::Config;
pub use crate::metrics::Metrics;

use crate::directory::{Directory, Projector};
use crate::fallback::Fallback;
use crate::inbox::Inbox;
use crate::looks::Looks;
use crate::parking::Parking;
use crate::report::Reporter;
use crate::upstream::Upstream;
use crate::wake::Wakes;

/// The way to the scalers, be it channels of this process or NATS.
#[derive(Debug)]
pub struct Carrier {
    /// What this activator says.
    pub to_scaler: mpsc::Sender<ToScaler>,
    /// What the scalers say.
    pub from_scaler: mpsc::Receiver<ToActivator>,
    /// Whether the carrier is up.
    pub link: watch::Receiver<bool>,
}

/// What tells the activator which sandboxes there are.
#[derive(Debug)]
pub struct Watch {
    /// All that exists, then whatever becomes of it.
    pub changes: mpsc::Receiver<Change>,
    /// False while something known may be out of date. What is known is served then, and nothing is put to
    /// sleep: an activator that cannot see a sandbox go would send to whoever has its address next.
    pub current: watch::Receiver<bool>,
}

/// What every connection shares.
pub(crate) struct Activator {
    pub(crate) config: Config,
    pub(crate) directory: Arc<Directory>,
    pub(crate) parking: Parking,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) metrics: Metrics,
}

/// Why the activator ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener is broken.
    #[error("the proxy listener failed: {0}")]
    Listener(#[from] std::io::Error),
}

/// Serves until `shutdown` is cancelled and in-flight work is done or the grace is over. `serving` is told
/// when clients are taken: once it is known what exists, and that has settled.
///
/// # Errors
/// If the listener fails for good.
pub async fn run(
    config: Config,
    listener: tokio::net::TcpListener,
    watch: Watch,
    carrier: Carrier,
    metrics: Metrics,
    serving: watch::Sender<bool>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let closing = shutdown.child_token();
    let settle = config.settle;
    let (activator, background) = assemble(config, watch, carrier, metrics, closing.clone());
    // Until it is known what exists, clients wait in the listener's backlog rather than hear 404.
    let settled = async {
        activator.directory.synced().await;
        tokio::time::sleep(settle).await;
    };
    if closing.run_until_cancelled(settled).await.is_some() {
        serving.send_replace(true);
    }
    let served = server::serve(listener, Arc::clone(&activator), closing.clone()).await;
    // A listener that failed ends what is parked as a shutdown does.
    closing.cancel();
    activator.parking.join().await;
    // Reports went on while anything was in flight; from here silence is right.
    background.stop().await;
    served.map_err(Error::Listener)
}

/// Builds what connections share and starts what runs beside them.
pub(crate) fn assemble(
    config: Config,
    watch: Watch,
    carrier: Carrier,
    metrics: Metrics,
    closing: CancellationToken,
) -> (Arc<Activator>, Background) {
    let Carrier {
        to_scaler,
        from_scaler,
        link,
    } = carrier;
    let incarnation = uuid::Uuid::new_v4().to_string();
    let full_report = Arc::new(AtomicBool::new(false));
    let looks = Looks::default();
    let directory = Arc::new(Directory::new());
    let wakes = Arc::new(Wakes {
        activator: config.name.clone(),
        to_scaler: to_scaler.clone(),
        link: link.clone(),
        fallback: Fallback::new(&config),
        metrics: metrics.clone(),
        closing,
    });
    let inbox = Inbox {
        activator: config.name.clone(),
        incarnation: incarnation.clone(),
        directory: Arc::clone(&directory),
        to_scaler: to_scaler.clone(),
        full_report: Arc::clone(&full_report),
        looks: looks.clone(),
        metrics: metrics.clone(),
    };
    let reporter = Reporter {
        activator: config.name.clone(),
        incarnation,
        interval: config.report_interval,
        directory: Arc::clone(&directory),
        to_scaler,
        link,
        full_report,
        looks,
        metrics: metrics.clone(),
    };
    let upstream = Arc::new(Upstream::new(metrics.upstream_connections.clone()));
    let projector = Projector::new(
        Arc::clone(&directory),
        Arc::clone(&upstream),
        &config,
        metrics.clone(),
    );
    let mut tasks = JoinSet::new();
    tasks.spawn(projector.follow(watch));
    tasks.spawn(inbox.follow(from_scaler));
    tasks.spawn(reporter.run());
    let parking = Parking::new(&config, wakes, metrics.clone());
    (
        Arc::new(Activator {
            config,
            directory,
            parking,
            upstream,
            metrics,
        }),
        Background { tasks },
    )
}

/// The tasks beside the connections. They end only by being stopped: a watch or a carrier that ends
/// leaves the directory as it is.
pub(crate) struct Background {
    tasks: JoinSet<()>,
}

impl Background {
    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}
