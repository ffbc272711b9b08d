//! `reveille activator`: the HTTP front of the sandboxes of a Kubernetes cluster. It writes nothing there.
//!
//! Readiness begins when the sandboxes are known and settled, and ends with the order to stop. It depends on
//! neither the API nor NATS: without them an activator still serves what is awake, and taking all of them
//! out of their Service would not bring them back.

use prometheus_client::registry::Registry;
use reveille_activator::config::Pages;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Door};
use crate::cli::ActivatorCommand;
use crate::cluster::{Cluster, Watched, follow_current};
use crate::running::{Part, Running};
use crate::shutdown::{self, Shutdown};
use crate::telemetry::{self, TelemetryArgs};
use crate::{carrier, cluster, listen};

/// Runs until a signal, then drains.
///
/// # Errors
/// [`crate::cli::BadConfiguration`] for what the user wrote; anything else for what the machine refused.
pub(crate) fn run(args: ActivatorCommand, telemetry: &TelemetryArgs) -> anyhow::Result<()> {
    shutdown::run(async |shutdown| {
        let _telemetry = telemetry::init(telemetry)?;
        serve(args, shutdown).await
    })
}

async fn serve(args: ActivatorCommand, shutdown: Shutdown) -> anyhow::Result<()> {
    let connecting = Cluster::connect(&args.cluster, "reveille-activator");
    let Some(cluster) = shutdown.unless_stopped(connecting).await? else {
        return Ok(());
    };
    let clients = listen::bind_open(args.activator.listen, "--listen").await?;
    let operators = listen::bind(args.cluster.admin, "--admin").await?;
    let (listen, admin) = (clients.local_addr()?, operators.local_addr()?);

    let mut registry = Registry::default();
    let metrics = reveille_activator::Metrics::register(&mut registry);
    let inner = CancellationToken::new();
    let mut parts = Running::default();
    let carrier = carry(&args, &cluster.name, &mut parts, &inner).await?;
    let watched = cluster.watch(&args.cluster, false, &mut parts, &mut registry, &inner);
    let (serving, mut is_serving) = watch::channel(false);
    let readiness = readiness(&watched, &is_serving, &shutdown.drain);
    let operators = Door::new(operators, &args.cluster.guard);
    let operating = admin::serve(operators, None, registry, readiness, inner.clone());
    parts.spawn(Part::Admin, operating);
    let activator = reveille_activator::run(
        config(&args, &cluster.name),
        clients,
        sight(watched, &mut parts),
        carrier,
        metrics,
        serving,
        shutdown.drain.clone(),
    );
    parts.spawn(Part::Activator, shutdown.unless_now(activator));

    let welcome = async {
        // An activator that ends before it serves has nothing to say.
        if is_serving.wait_for(|serving| *serving).await.is_ok() {
            tracing::info!(%listen, %admin, name = cluster.name, "serving");
        }
    };
    let stages = [(&[Part::Activator][..], &inner)];
    let (outcome, ()) = tokio::join!(parts.stop_in_order(&shutdown.drain, &stages), welcome);
    outcome
}

async fn carry(
    args: &ActivatorCommand,
    name: &str,
    parts: &mut Running,
    shutdown: &CancellationToken,
) -> anyhow::Result<reveille_activator::Carrier> {
    if args.carrier.nats.is_empty() {
        if args.scaler_api.is_empty() {
            tracing::warn!("neither --nats nor --scaler-api is given, so nothing can be woken");
        }
        return Ok(carrier::none_for_activator());
    }
    let name = name.to_owned();
    let (carrier, carry) =
        carrier::nats::for_activator(&args.carrier, name, shutdown.clone()).await?;
    parts.spawn_sure(Part::Carrier, carry);
    Ok(carrier)
}

/// What the activator sees of the cluster, and whether that is up to date.
fn sight(watched: Watched, parts: &mut Running) -> reveille_activator::Watch {
    let (tell, current) = watch::channel(false);
    parts.spawn_sure(
        Part::Watch,
        follow_current(watched.health, cluster::nothing(), tell),
    );
    reveille_activator::Watch {
        changes: watched.changes,
        current,
    }
}

fn readiness(
    watched: &Watched,
    is_serving: &watch::Receiver<bool>,
    drain: &CancellationToken,
) -> admin::Readiness {
    let (health, is_serving, drain) = (watched.health.clone(), is_serving.clone(), drain.clone());
    Box::new(move || {
        if drain.is_cancelled() {
            Err("stopping\n")
        } else if !health.borrow().synced {
            Err("the sandboxes are not known yet\n")
        } else if !*is_serving.borrow() {
            Err("settling: a sleep decided without this activator may still land\n")
        } else {
            Ok(())
        }
    })
}

fn config(args: &ActivatorCommand, name: &str) -> reveille_activator::Config {
    reveille_activator::Config {
        name: name.to_owned(),
        settle: args.settle,
        wake_unmanaged: args.policy.wake_unmanaged,
        fallback_apis: args.scaler_api.clone(),
        // As with upstream's router, whoever is in front authenticates, and knows its own pages.
        pages: args.activator.front.pages(Pages::Unchecked),
        ..args.activator.config()
    }
}
