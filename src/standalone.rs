//! `reveille standalone`: activator, scaler and the process controller in one process.
//!
//! Start-up goes from the sandboxes outwards, so that whoever can connect can be served; the end goes
//! from the clients inwards: requests finish, then deciding stops, then the agents are ended.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use prometheus_client::registry::Registry;
use reveille_crds::change::Change;
use reveille_lifecycle::local::{self, Controller};
use reveille_lifecycle::manifest;
use reveille_lifecycle::object::Object;
use reveille_lifecycle::store::Store;
use reveille_scaler::api;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::{BadConfiguration, StandaloneArgs};
use crate::running::{Part, Running};
use crate::shutdown::Shutdown;
use crate::telemetry::{self, TelemetryArgs};
use crate::welcome::{self, Addresses};
use crate::{admin, carrier};

/// Changes on their way from the store to one reader. The store coalesces behind it, so this only
/// smooths scheduling: a fleet of 10,000 loads in forty bursts.
const CHANGES: usize = 256;

/// The name of the one activator.
const MEMBER: &str = "standalone";

/// What the process was given besides its arguments.
pub(crate) struct Environment {
    /// All environment variables.
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// The file this process was started from; agents' commands are looked up beside it first.
    pub(crate) executable: Option<PathBuf>,
}

/// Runs until a signal, then drains.
///
/// # Errors
/// [`BadConfiguration`] for what the user wrote; anything else for what the machine refused.
pub(crate) fn run(
    args: StandaloneArgs,
    telemetry: &TelemetryArgs,
    environment: Environment,
) -> anyhow::Result<()> {
    let human = telemetry::init(telemetry)?;
    let objects =
        manifest::load(&args.filename).map_err(|errors| BadConfiguration(errors.to_string()))?;
    let env: BTreeMap<String, String> = environment
        .variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let config = local::Config {
        state_dir: state_dir(&args, &env)?,
        logs: args.logs,
        path_dirs: environment
            .executable
            .as_deref()
            .and_then(Path::parent)
            .map(Path::to_owned)
            .into_iter()
            .collect(),
        env,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(serve(args, human, config, objects))
}

/// `--state-dir`, else the user's (XDG Base Directory Specification, `XDG_STATE_HOME`).
fn state_dir(
    args: &StandaloneArgs,
    env: &BTreeMap<String, String>,
) -> Result<PathBuf, BadConfiguration> {
    let of_user = || {
        env.get("XDG_STATE_HOME")
            .map(PathBuf::from)
            .filter(|folder| folder.is_absolute())
    };
    let of_home = || {
        env.get("HOME")
            .map(|home| Path::new(home).join(".local/state"))
    };
    args.state_dir
        .clone()
        .or_else(|| Some(of_user().or_else(of_home)?.join("reveille")))
        .ok_or_else(|| {
            BadConfiguration(
                "there is no home folder to keep state in; give --state-dir".to_owned(),
            )
        })
}

/// Puts the parts together and waits for an order to stop, or for a part that ends by itself.
async fn serve(
    args: StandaloneArgs,
    human: bool,
    config: local::Config,
    objects: Vec<Object>,
) -> anyhow::Result<()> {
    let shutdown = Shutdown::default();
    let signals = tokio::spawn(shutdown.listen().context("installing signal handlers")?);
    let clients = bind(args.activator.listen, "--listen").await?;
    let operators = bind(args.admin, "--admin").await?;
    let addresses = Addresses {
        clients: clients.local_addr()?,
        operators: operators.local_addr()?,
    };

    let controller = Controller::open(config, objects).await?;
    let store = controller.store();
    if human {
        print!(
            "{}",
            welcome::text(&store, &args.activator.domain, addresses).await
        );
    }
    let outcome = Parts {
        args,
        addresses,
        store,
        controller,
    }
    .run(clients, operators, &shutdown)
    .await;
    shutdown.now.cancel();
    signals.await.context("the signal listener")?;
    outcome
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address}; choose another address with {flag}"))?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, flag, "listening beyond this machine without authentication: whoever reaches it can wake and use every sandbox");
    }
    Ok(listener)
}

/// What the loop is made of.
struct Parts {
    args: StandaloneArgs,
    addresses: Addresses,
    store: Store,
    controller: Controller,
}

impl Parts {
    /// Runs everything; returns once everything has ended.
    async fn run(
        self,
        clients: TcpListener,
        operators: TcpListener,
        shutdown: &Shutdown,
    ) -> anyhow::Result<()> {
        let Self {
            args,
            addresses,
            store,
            controller,
        } = self;
        let mut registry = Registry::default();
        let activator_metrics = reveille_activator::Metrics::register(&mut registry);
        let scaler_metrics = reveille_scaler::metrics::Metrics::register(&mut registry);
        let inner = CancellationToken::new();
        let mut pumps = JoinSet::new();
        let ends = match &args.nats {
            None => carrier::in_process(),
            Some(url) => carrier::over_nats(url, MEMBER, &mut pumps, inner.clone()).await?,
        };
        let (router, api) = api::router();
        let (changes_of_activator, mut known_to_activator) = pump(&store, &mut pumps, &inner);
        let (changes_of_scaler, mut known_to_scaler) = pump(&store, &mut pumps, &inner);
        // The scaler's inbox must outlive the activator, which stops first.
        let inbox = ends.activator.to_scaler.clone();
        let agents = CancellationToken::new();
        let readiness = readiness(&known_to_scaler, &ends.activator.link, &shutdown.drain);

        let mut parts = Running::default();
        parts.spawn(Part::Controller, controller.run(agents.clone()));
        parts.spawn(
            Part::Scaler,
            reveille_scaler::run(
                scaler_config(&args),
                changes_of_scaler,
                store,
                ends.scaler,
                scaler_metrics,
                api,
                inner.clone(),
            ),
        );
        parts.spawn(
            Part::Admin,
            admin::serve(operators, router, registry, readiness, inner.clone()),
        );
        let activator = reveille_activator::run(
            activator_config(&args, addresses),
            clients,
            changes_of_activator,
            ends.activator,
            activator_metrics,
            shutdown.drain.clone(),
        );
        // A second signal drops the activator where it stands, and its connections with it.
        let now = shutdown.now.clone();
        parts.spawn(Part::Activator, async move {
            now.run_until_cancelled(activator).await.unwrap_or(Ok(()))
        });
        // A part that failed knows nothing; its end is told below.
        let _ = known_to_activator.wait_for(|known| *known).await;
        let _ = known_to_scaler.wait_for(|known| *known).await;
        tracing::info!(listen = %addresses.clients, admin = %addresses.operators, "serving");

        let outcome = parts.stop_in_order(&shutdown.drain, &inner, &agents).await;
        drop(inbox);
        while pumps.join_next().await.is_some() {}
        outcome
    }
}

/// Ready once everything is known, while not stopping and while the carrier is up. Warm traffic flows
/// without the carrier, so its loss shows here only for whoever has another replica to send to.
fn readiness(
    known: &watch::Receiver<bool>,
    link: &watch::Receiver<bool>,
    drain: &CancellationToken,
) -> admin::Readiness {
    let (known, link, drain) = (known.clone(), link.clone(), drain.clone());
    Box::new(move || {
        if drain.is_cancelled() {
            Err("stopping\n")
        } else if !*known.borrow() {
            Err("the sandboxes are not known yet\n")
        } else if !*link.borrow() {
            Err("the carrier to the scaler is down; awake sandboxes are served\n")
        } else {
            Ok(())
        }
    })
}

/// Feeds one reader from the store until `shutdown`, and tells when it was given all there is.
fn pump(
    store: &Store,
    pumps: &mut JoinSet<()>,
    shutdown: &CancellationToken,
) -> (mpsc::Receiver<Change>, watch::Receiver<bool>) {
    let (changes, reader) = mpsc::channel(CHANGES);
    let (synced, known) = watch::channel(false);
    let mut watch = store.watch();
    let shutdown = shutdown.clone();
    pumps.spawn(async move {
        let feed = async {
            loop {
                let change = watch.next().await;
                let is_last = change == Change::Synced;
                if changes.send(change).await.is_err() {
                    break;
                }
                if is_last {
                    synced.send_replace(true);
                }
            }
        };
        shutdown.run_until_cancelled(feed).await;
    });
    (reader, known)
}

fn activator_config(args: &StandaloneArgs, addresses: Addresses) -> reveille_activator::Config {
    let flags = &args.activator;
    reveille_activator::Config {
        name: MEMBER.to_owned(),
        domain: flags.domain.clone(),
        total_parked: flags.max_parked,
        connections: flags.max_connections,
        wakes_per_caller: flags.wakes_per_caller,
        wakes_per_sandbox: flags.wakes_per_sandbox,
        response_header_timeout: flags.response_header_timeout,
        grace: flags.grace,
        wake_unmanaged: args.scaler.wake_unmanaged,
        fallback_api: args
            .nats
            .is_some()
            .then(|| format!("http://{}", addresses.operators)),
        ..reveille_activator::Config::default()
    }
}

fn scaler_config(args: &StandaloneArgs) -> reveille_scaler::config::Config {
    reveille_scaler::config::Config {
        members: vec![MEMBER.into()],
        wake_unmanaged: args.scaler.wake_unmanaged,
        // There is no API server to be spared: a write is a change in memory.
        writes_per_second: 100_000,
        write_burst: 100_000,
        ..reveille_scaler::config::Config::default()
    }
}
