//! `reveille scaler`: puts sandboxes of a Kubernetes cluster to sleep, and wakes them for the activators.
//!
//! Every replica wakes; the one that holds the lease puts to sleep. The lease is given up last, when no
//! write of this process can be under way any more.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use reveille_kubernetes::health::Health;
use reveille_kubernetes::members;
use reveille_scaler::config::{Config, fixed_members};
use reveille_scaler::kubernetes::Writer;
use reveille_scaler::leader::{self, Lead};
use reveille_scaler::{Objects, api, lease, nats};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Door};
use crate::cli::{Members, ScalerCommand};
use crate::cluster::{Cluster, follow_current};
use crate::running::{Part, Running};
use crate::shutdown::{self, Shutdown};
use crate::telemetry::{self, TelemetryArgs};
use crate::{carrier, cluster, listen};

/// Runs until a signal, then finishes the writes under way.
///
/// # Errors
/// [`crate::cli::BadConfiguration`] for what the user wrote; anything else for what the machine refused.
pub(crate) fn run(args: ScalerCommand, telemetry: &TelemetryArgs) -> anyhow::Result<()> {
    shutdown::run(async |shutdown| {
        let _telemetry = telemetry::init(telemetry)?;
        serve(args, shutdown).await
    })
}

async fn serve(args: ScalerCommand, shutdown: Shutdown) -> anyhow::Result<()> {
    let members = args.members();
    let connecting = Cluster::connect(&args.cluster, "reveille-scaler");
    let Some(cluster) = shutdown.unless_stopped(connecting).await? else {
        return Ok(());
    };
    let operators = listen::bind_open(args.cluster.admin, "--admin").await?;
    let admin = operators.local_addr()?;

    let mut registry = Registry::default();
    let metrics = reveille_scaler::metrics::Metrics::register(&mut registry);
    let inner = CancellationToken::new();
    let mut parts = Running::default();
    let carrier = carry(&args, &mut parts, &shutdown.drain, &inner).await?;
    let mut watched = cluster.watch(&args.cluster, true, &mut parts, &mut registry, &inner);
    let (router, api) = api::router();
    let readiness = readiness(&watched.health, &shutdown.drain);
    let operators = Door::new(operators, &args.cluster.guard);
    let operating = admin::serve(operators, Some(router), registry, readiness, inner.clone());
    parts.spawn(Part::Admin, operating);
    let (lead, leader) = leader::elected();
    let config = Config {
        wake_unmanaged: args.policy.wake_unmanaged,
        writes_per_second: args.writes_per_second.get(),
        write_burst: args.write_burst.get(),
        leader,
        ..look(members, &cluster, &watched.health, &mut parts, &inner)
    };
    let holding = hold(&args, &cluster, &config, lead, &inner);
    // Whoever is told to end at once may have a write under way, and does not give the lease up.
    parts.spawn(Part::Lease, shutdown.unless_now(holding));
    let writer = Writer::new(
        cluster.client.clone(),
        cluster.discovery.clone(),
        &cluster.name,
    );
    let scaler = reveille_scaler::run(
        config,
        watched.changes,
        Objects::Kubernetes(writer),
        carrier,
        metrics,
        api,
        shutdown.drain.clone(),
    );
    parts.spawn(Part::Scaler, shutdown.unless_now(scaler));

    let welcome = async {
        // A scaler that ends before it knows anything has nothing to say.
        if watched
            .health
            .wait_for(|health| health.synced)
            .await
            .is_ok()
        {
            tracing::info!(%admin, name = cluster.name, "serving");
        }
    };
    let stages = [(&[Part::Scaler][..], &inner)];
    let (outcome, ()) = tokio::join!(parts.stop_in_order(&shutdown.drain, &stages), welcome);
    outcome
}

async fn carry(
    args: &ScalerCommand,
    parts: &mut Running,
    drain: &CancellationToken,
    shutdown: &CancellationToken,
) -> anyhow::Result<reveille_scaler::Carrier> {
    if args.carrier.nats.is_empty() {
        tracing::warn!(
            "--nats is not given: activators cannot be heard, so nothing is put to sleep"
        );
        let (carrier, open) = carrier::none_for_scaler(shutdown.clone());
        parts.spawn_sure(Part::Carrier, open);
        return Ok(carrier);
    }
    let (carrier, carry) = carrier::nats::for_scaler(&args.carrier, shutdown.clone()).await?;
    let drain = drain.clone();
    parts.spawn(Part::Carrier, async move {
        match carry.await {
            // What the scaler says last is carried, so the carrier is the one to find that it has ended.
            Err(nats::Error::ShellEnded) if drain.is_cancelled() => Ok(()),
            outcome => outcome,
        }
    });
    Ok(carrier)
}

/// Settings with what the scaler has to see for its decisions: the activators, and whether it sees at all.
fn look(
    members: Members,
    cluster: &Cluster,
    health: &watch::Receiver<Health>,
    parts: &mut Running,
    shutdown: &CancellationToken,
) -> Config {
    let (members, listed) = follow(members, cluster, parts, shutdown);
    let (tell, current) = watch::channel(false);
    parts.spawn_sure(Part::Watch, follow_current(health.clone(), listed, tell));
    Config {
        members,
        current,
        ..Config::default()
    }
}

/// The activators whose silence blocks every sleep, and how the watch of them does.
fn follow(
    members: Members,
    cluster: &Cluster,
    parts: &mut Running,
    shutdown: &CancellationToken,
) -> (watch::Receiver<Vec<Arc<str>>>, watch::Receiver<Health>) {
    match members {
        Members::Named(names) => {
            let named = fixed_members(names.into_iter().map(Arc::from));
            (named, cluster::nothing())
        }
        Members::Pods {
            namespace,
            selector,
        } => {
            let namespace = namespace.unwrap_or_else(|| cluster.namespace.clone());
            let (tell, members) = watch::channel(Vec::new());
            let (report, health) = watch::channel(Health::default());
            let following = members::follow(
                cluster.client.clone(),
                namespace,
                selector,
                tell,
                report,
                shutdown.clone(),
            );
            parts.spawn_sure(Part::Members, following);
            (members, health)
        }
    }
}

/// Takes part in the election of the leader.
fn hold(
    args: &ScalerCommand,
    cluster: &Cluster,
    config: &Config,
    lead: Lead,
    shutdown: &CancellationToken,
) -> impl Future<Output = Result<(), lease::Error>> + use<> {
    let namespace = args.lease_namespace.as_ref().unwrap_or(&cluster.namespace);
    let settings = lease::Settings {
        namespace: namespace.clone(),
        name: args.lease_name.clone(),
        identity: cluster.name.clone(),
        timing: lease::Timing::default(),
        write_timeout: config.write_timeout,
    };
    lease::hold(cluster.client.clone(), settings, lead, shutdown.clone())
}

/// Ready once everything is known, while not stopping: wakes work without NATS, by the API.
fn readiness(health: &watch::Receiver<Health>, drain: &CancellationToken) -> admin::Readiness {
    let (health, drain) = (health.clone(), drain.clone());
    Box::new(move || {
        if drain.is_cancelled() {
            Err("stopping\n")
        } else if !health.borrow().synced {
            Err("the sandboxes are not known yet\n")
        } else {
            Ok(())
        }
    })
}
