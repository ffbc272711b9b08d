//! The NATS carrier of the activator's side: moves messages between channels and core subjects.
//!
//! The client reconnects and resubscribes by itself. While it is away the link says so: wakes then go
//! another way, a Wake that is still in the queue is dropped as stale, and reports are made up for by
//! a full one when the link returns.

use std::time::Duration;

use async_nats::connection::State;
use futures_util::StreamExt;
use futures_util::stream::SelectAll;
use reveille_crds::message::{ToActivator, ToScaler};
use reveille_crds::subject;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How often the state of the connection is looked at. The client notices a silent link only by the
/// pings set by whoever connected it (every 5 s).
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longest time to hand one message to the client, whose queue fills up only when the server stalls.
const PUBLISH_WITHIN: Duration = Duration::from_secs(1);
/// Pause before subscribing is tried again.
const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(1);

/// Moves messages until `shutdown`, or until the activator's end of `rx` is closed and empty.
pub async fn carry(
    client: async_nats::Client,
    activator: String,
    mut rx: mpsc::Receiver<ToScaler>,
    tx: mpsc::Sender<ToActivator>,
    link: watch::Sender<bool>,
    shutdown: CancellationToken,
) {
    let Some(mut inbound) = subscribe(&client, &shutdown).await else {
        return;
    };
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            // The state of the link first: it decides what becomes of the message after it.
            biased;
            () = shutdown.cancelled() => break,
            _ = look.tick() => observe(&client, &activator, &link),
            message = rx.recv() => match message {
                Some(message) => {
                    let is_up = *link.borrow();
                    publish(&client, &message, is_up).await;
                }
                None => break,
            },
            message = inbound.next() => match message {
                Some(message) => receive(&message, &tx).await,
                None => break,
            },
        }
    }
    link.send_replace(false);
    // What was published before the end is still in the client's queue.
    drop(tokio::time::timeout(PUBLISH_WITHIN, client.flush()).await);
}

/// Subscribes to what scalers say; tries again until it works. `None` on shutdown.
async fn subscribe(
    client: &async_nats::Client,
    shutdown: &CancellationToken,
) -> Option<SelectAll<async_nats::Subscriber>> {
    loop {
        match all(client).await {
            Ok(inbound) => return Some(inbound),
            Err(error) => tracing::warn!(%error, "cannot subscribe"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return None,
            () = tokio::time::sleep(RESUBSCRIBE_AFTER) => {}
        }
    }
}

async fn all(
    client: &async_nats::Client,
) -> Result<SelectAll<async_nats::Subscriber>, async_nats::SubscribeError> {
    let mut inbound = SelectAll::new();
    for subject in subject::FOR_ACTIVATORS {
        inbound.push(client.subscribe(subject).await?);
    }
    Ok(inbound)
}

fn observe(client: &async_nats::Client, activator: &str, link: &watch::Sender<bool>) {
    let is_up = client.connection_state() == State::Connected;
    let is_news = link.send_if_modified(|up| std::mem::replace(up, is_up) != is_up);
    if is_news && is_up {
        tracing::info!(activator, "nats link is up");
    } else if is_news {
        tracing::warn!(
            activator,
            "nats link is down: wakes go by the scaler's api, nothing is put to sleep"
        );
    }
}

async fn publish(client: &async_nats::Client, message: &ToScaler, is_up: bool) {
    // Whatever waits for a link is stale when it returns: a Wake is repeated, a reply is asked for
    // again, and a full report follows.
    if !is_up {
        return;
    }
    let (subject, payload) = match message.encode() {
        Ok(encoded) => encoded,
        Err(error) => return tracing::warn!(%error, "message cannot be sent"),
    };
    match tokio::time::timeout(PUBLISH_WITHIN, client.publish(subject, payload.into())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "nats took no message"),
        Err(_) => tracing::warn!("nats client queue is full, message dropped"),
    }
}

async fn receive(message: &async_nats::Message, tx: &mpsc::Sender<ToActivator>) {
    match ToActivator::decode(&message.subject, &message.payload) {
        // The bounded queue of the inbox pushes back; the subscription buffers and then drops, and what
        // is dropped is asked for again.
        Ok(message) => drop(tx.send(message).await),
        Err(error) => tracing::debug!(%error, "message ignored"),
    }
}
