//! How wake and idle events get from the activator to the scaler and back: channels within the
//! process, or NATS. Both sides see channels and do not know which.

use std::time::Duration;

use anyhow::Context;
use async_nats::{Client, ConnectOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Messages on their way in one direction. A waking sandbox repeats its Wake every 250 ms at most and an
/// activator reports once a second, so 10,000 sandboxes woken in the same instant fit twice with room for
/// the rest; what does not fit is repeated, since every message is a hint.
const MESSAGES: usize = 32_768;
/// A dead connection is noticed after two of these.
const PING: Duration = Duration::from_secs(5);

/// The two ends of a carrier.
pub(crate) struct Ends {
    pub(crate) activator: reveille_activator::Carrier,
    pub(crate) scaler: reveille_scaler::Carrier,
}

/// Within the process: always up.
pub(crate) fn in_process() -> Ends {
    let (to_scaler, from_activators) = mpsc::channel(MESSAGES);
    let (to_activators, from_scaler) = mpsc::channel(MESSAGES);
    let (_, up) = watch::channel(true);
    Ends {
        activator: reveille_activator::Carrier {
            to_scaler,
            from_scaler,
            link: up.clone(),
        },
        scaler: reveille_scaler::Carrier {
            to_activators,
            from_activators,
            link: up,
            events: None,
        },
    }
}

/// Over NATS: one connection for each end, as if they were far apart. The pumps are spawned into `pumps`
/// and end with `shutdown`.
///
/// # Errors
/// If the URL or its credentials are unusable. A server that is not there yet is waited for.
pub(crate) async fn over_nats(
    url: &str,
    member: &str,
    pumps: &mut JoinSet<()>,
    shutdown: CancellationToken,
) -> anyhow::Result<Ends> {
    let (to_scaler, of_activator) = mpsc::channel(MESSAGES);
    let (to_shell, from_scaler) = mpsc::channel(MESSAGES);
    let (activator_up, activator_link) = watch::channel(false);
    let client = connect(url, "reveille-activator").await?;
    pumps.spawn(reveille_activator::nats::carry(
        client,
        member.to_owned(),
        of_activator,
        to_shell,
        activator_up,
        shutdown.clone(),
    ));

    let (to_activators, of_scaler) = mpsc::channel(MESSAGES);
    let (to_shell, from_activators) = mpsc::channel(MESSAGES);
    let (events, of_events) = mpsc::channel(MESSAGES);
    let (scaler_up, scaler_link) = watch::channel(false);
    let client = connect(url, "reveille-scaler").await?;
    let pump =
        reveille_scaler::nats::carry(client, of_scaler, to_shell, of_events, scaler_up, shutdown);
    // Its end ends the scaler, which then says so; the reason is told here.
    pumps.spawn(async {
        pump.await
            .unwrap_or_else(|error| tracing::error!(%error, "the carrier ended"))
    });

    Ok(Ends {
        activator: reveille_activator::Carrier {
            to_scaler,
            from_scaler,
            link: activator_link,
        },
        scaler: reveille_scaler::Carrier {
            to_activators,
            from_activators,
            link: scaler_link,
            events: Some(events),
        },
    })
}

async fn connect(url: &str, name: &str) -> anyhow::Result<Client> {
    ConnectOptions::new()
        .name(name)
        .retry_on_initial_connect()
        .ping_interval(PING)
        // The pumps tell what became of the link; the client's own words are for whoever looks closer.
        .event_callback(|event| async move { tracing::debug!(%event, "nats") })
        .connect(url)
        .await
        .with_context(|| format!("connecting to NATS at {url}"))
}
