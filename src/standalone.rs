//! `reveille standalone`: activator, scaler and the process controller in one process.
//!
//! Start-up goes from the sandboxes outwards, so that whoever can connect can be served; the end goes
//! from the clients inwards: requests finish, then deciding stops, then the agents are ended.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use prometheus_client::registry::Registry;
use reveille_activator::config::Pages;
use reveille_crds::change::Change;
use reveille_lifecycle::local::{self, Controller};
use reveille_lifecycle::manifest;
use reveille_lifecycle::object::Object;
use reveille_lifecycle::store::Store;
use reveille_scaler::config::{Config, fixed_members};
use reveille_scaler::{Objects, api, policy};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Door};
use crate::cli::{BadConfiguration, StandaloneArgs};
use crate::running::{Part, Running};
use crate::shutdown::{self, Shutdown};
use crate::telemetry::{self, Telemetry, TelemetryArgs};
use crate::welcome::{self, Addresses};
use crate::{carrier, listen};

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
    shutdown::run(async |shutdown| start(args, telemetry, environment, shutdown).await)
}

/// Reads what the user wrote, and serves it.
async fn start(
    args: StandaloneArgs,
    telemetry: &TelemetryArgs,
    environment: Environment,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let telemetry = telemetry::init(telemetry)?;
    let read = async { manifest::load(&args.filename, policy::check) };
    let objects = shutdown.unless_stopped(read).await;
    let Some(objects) = objects.map_err(|errors| BadConfiguration(errors.to_string()))? else {
        return Ok(());
    };
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
    serve(args, &telemetry, config, objects, shutdown).await
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
    telemetry: &Telemetry,
    config: local::Config,
    objects: Vec<Object>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let clients = listen::bind_open(args.activator.listen, "--listen").await?;
    let operators = listen::bind_open(args.admin, "--admin").await?;
    let addresses = Addresses {
        clients: clients.local_addr()?,
        operators: operators.local_addr()?,
    };

    let opening = Controller::open(config, objects);
    let Some(controller) = shutdown.unless_stopped(opening).await? else {
        return Ok(());
    };
    let store = controller.store();
    let greeting = match telemetry.is_for_a_person() {
        true => Some(welcome::text(&store, &args.activator.domain, addresses).await),
        false => None,
    };
    let door = Door::new(operators, &args.guard);
    let parts = Parts {
        args,
        addresses,
        store,
        controller,
        greeting,
    };
    parts.run(clients, door, &shutdown).await
}

/// What the loop is made of.
struct Parts {
    args: StandaloneArgs,
    addresses: Addresses,
    store: Store,
    controller: Controller,
    /// What a person is to read once all of it works.
    greeting: Option<String>,
}

impl Parts {
    /// Runs everything; returns once everything has ended.
    async fn run(
        self,
        clients: TcpListener,
        operators: Door,
        shutdown: &Shutdown,
    ) -> anyhow::Result<()> {
        let Self {
            args,
            addresses,
            store,
            controller,
            greeting,
        } = self;
        let mut registry = Registry::default();
        let activator_metrics = reveille_activator::Metrics::register(&mut registry);
        let scaler_metrics = reveille_scaler::metrics::Metrics::register(&mut registry);
        let inner = CancellationToken::new();
        let agents = CancellationToken::new();
        let mut parts = Running::default();
        let (of_activator, of_scaler) = carry(&args, &mut parts, &inner).await?;
        let (router, api) = api::router();
        let mut pumps = JoinSet::new();
        let (changes_of_activator, known_to_activator) = pump(&store, &mut pumps, &inner);
        let (changes_of_scaler, known_to_scaler) = pump(&store, &mut pumps, &inner);
        // The scaler's inbox must outlive the activator, which stops first.
        let inbox = of_activator.to_scaler.clone();
        let readiness = readiness(&known_to_scaler, &of_activator.link, &shutdown.drain);

        parts.spawn(Part::Controller, controller.run(agents.clone()));
        let scaler = reveille_scaler::run(
            scaler_config(&args),
            changes_of_scaler,
            Objects::Memory(store),
            of_scaler,
            scaler_metrics,
            api,
            inner.clone(),
        );
        parts.spawn(Part::Scaler, outlive(scaler, shutdown.drain.clone()));
        let operating = admin::serve(operators, Some(router), registry, readiness, inner.clone());
        parts.spawn(Part::Admin, operating);
        let activator = reveille_activator::run(
            activator_config(&args, addresses),
            clients,
            sight(changes_of_activator),
            of_activator,
            activator_metrics,
            watch::channel(false).0,
            shutdown.drain.clone(),
        );
        parts.spawn(Part::Activator, shutdown.unless_now(activator));
        let stages = [
            (&[Part::Activator][..], &inner),
            (
                &[Part::Activator, Part::Scaler, Part::Admin, Part::Carrier][..],
                &agents,
            ),
        ];
        let known = [known_to_activator, known_to_scaler];
        let (outcome, ()) = tokio::join!(
            parts.stop_in_order(&shutdown.drain, &stages),
            welcome(known, greeting, addresses, &shutdown.drain)
        );
        drop(inbox);
        while pumps.join_next().await.is_some() {}
        outcome
    }
}

/// The scaler. The activator ends before it, and its end of the channels with it: after the order to stop
/// that is no failure.
async fn outlive(
    scaler: impl Future<Output = Result<(), reveille_scaler::Error>>,
    drain: CancellationToken,
) -> Result<(), reveille_scaler::Error> {
    match scaler.await {
        Err(reveille_scaler::Error::CarrierEnded) if drain.is_cancelled() => Ok(()),
        outcome => outcome,
    }
}

/// Says that all of it serves, once everything is known. A part that ends before that has nothing to say.
async fn welcome(
    known: [watch::Receiver<bool>; 2],
    greeting: Option<String>,
    addresses: Addresses,
    drain: &CancellationToken,
) {
    let all_known = async {
        for mut known in known {
            known.wait_for(|known| *known).await?;
        }
        Ok::<(), watch::error::RecvError>(())
    };
    let Some(Ok(())) = drain.run_until_cancelled(all_known).await else {
        return;
    };
    let Some(greeting) = greeting else {
        tracing::info!(listen = %addresses.clients, admin = %addresses.operators, "serving");
        return;
    };
    // A terminal that is closed by now is no reason to fail.
    let _ = io::stdout().write_all(greeting.as_bytes());
}

/// Within the process nothing that is known can be out of date.
fn sight(changes: mpsc::Receiver<Change>) -> reveille_activator::Watch {
    let current = watch::channel(true).1;
    reveille_activator::Watch { changes, current }
}

/// Within the process, or over NATS with one connection for each end, as if they were far apart.
async fn carry(
    args: &StandaloneArgs,
    parts: &mut Running,
    shutdown: &CancellationToken,
) -> anyhow::Result<(reveille_activator::Carrier, reveille_scaler::Carrier)> {
    if args.carrier.nats.is_empty() {
        return Ok(carrier::in_process());
    }
    let name = MEMBER.to_owned();
    let (of_activator, carry) =
        carrier::nats::for_activator(&args.carrier, name, shutdown.clone()).await?;
    parts.spawn_sure(Part::Carrier, carry);
    let (of_scaler, carry) = carrier::nats::for_scaler(&args.carrier, shutdown.clone()).await?;
    parts.spawn(Part::Carrier, carry);
    Ok((of_activator, of_scaler))
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
    let fallback = || format!("http://{}", addresses.operators);
    let is_remote = !args.carrier.nats.is_empty();
    reveille_activator::Config {
        name: MEMBER.to_owned(),
        wake_unmanaged: args.policy.wake_unmanaged,
        // Nobody authenticates, and browsers are on this machine.
        pages: args.activator.front.pages(Pages::Of(Vec::new())),
        fallback_apis: is_remote.then(fallback).into_iter().collect(),
        ..args.activator.config()
    }
}

fn scaler_config(args: &StandaloneArgs) -> Config {
    Config {
        members: fixed_members([MEMBER.into()]),
        is_beside_its_activator: args.carrier.nats.is_empty(),
        wake_unmanaged: args.policy.wake_unmanaged,
        // There is no API server to be spared: a write is a change in memory.
        writes_per_second: 100_000,
        write_burst: 100_000,
        ..Config::default()
    }
}
