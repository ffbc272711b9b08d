//! The NATS carrier of the activator's side: moves messages between channels and core subjects.
//!
//! The client reconnects and resubscribes by itself. While it is away the link says so: wakes then go
//! another way, a Wake that is still in the queue is dropped as stale, and reports are made up for by
//! a full one when the link returns. A subscription reaches the server before anything that is published
//! after it, so whoever hears this activator on a connection is heard by it.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::SelectAll;
use reveille_crds::message::{ToActivator, ToScaler};
use reveille_crds::subject;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::sparing::{self, Line};

/// Longest time to hand one message to the client, whose queue fills up only when the server stalls.
const PUBLISH_WITHIN: Duration = Duration::from_secs(1);
/// Pause before subscribing is tried again.
const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(1);

/// Moves messages until `shutdown`, or until the activator's end of `rx` is closed and empty.
///
/// `connection` is the number of the client's present connection, counted up by whoever connected it from
/// the client's events; `None` while there is none.
pub async fn carry(
    client: async_nats::Client,
    mut connection: watch::Receiver<Option<u64>>,
    activator: String,
    mut rx: mpsc::Receiver<ToScaler>,
    tx: mpsc::Sender<ToActivator>,
    link: watch::Sender<bool>,
    shutdown: CancellationToken,
) {
    let Some(mut inbound) = subscribe(&client, &shutdown).await else {
        return;
    };
    let mut carried = Link {
        activator,
        link,
        connection: None,
    };
    carried.observe(*connection.borrow_and_update());
    loop {
        tokio::select! {
            // The state of the link first: it decides what becomes of the message after it.
            biased;
            () = shutdown.cancelled() => break,
            Ok(()) = connection.changed() => carried.observe(*connection.borrow_and_update()),
            message = rx.recv() => match message {
                Some(message) => publish(&client, &message, carried.is_up()).await,
                None => break,
            },
            message = inbound.next() => match message {
                Some(message) => receive(&message, &tx).await,
                None => break,
            },
        }
    }
    carried.link.send_replace(false);
    // What was published before the end is still in the client's queue.
    drop(tokio::time::timeout(PUBLISH_WITHIN, client.flush()).await);
}

/// What the rest of the activator is told of the connection.
struct Link {
    activator: String,
    link: watch::Sender<bool>,
    /// Number of the connection that the link stands for.
    connection: Option<u64>,
}

impl Link {
    fn is_up(&self) -> bool {
        self.connection.is_some()
    }

    /// A connection that was lost and made again in one go was down all the same: what was sent meanwhile
    /// is gone, so the link goes down and up.
    fn observe(&mut self, connection: Option<u64>) {
        if connection == self.connection {
            return;
        }
        let activator = &self.activator;
        if self.is_up() {
            tracing::warn!(
                activator,
                "activator {activator} lost the connection to nats: wakes go by the scaler's API, nothing is put to sleep until it is back"
            );
            self.link.send_replace(false);
        }
        self.connection = connection;
        if self.is_up() {
            tracing::info!(activator, "activator {activator} is connected to nats");
            self.link.send_replace(true);
        }
    }
}

/// Subscribes to what scalers say; tries again until it works. `None` on shutdown.
async fn subscribe(
    client: &async_nats::Client,
    shutdown: &CancellationToken,
) -> Option<SelectAll<async_nats::Subscriber>> {
    loop {
        match all(client).await {
            Ok(inbound) => return Some(inbound),
            Err(error) => tracing::warn!(%error, "cannot subscribe at nats, trying again: {error}"),
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

async fn publish(client: &async_nats::Client, message: &ToScaler, is_up: bool) {
    // Whatever waits for a link is stale when it returns: a Wake is repeated, a reply is asked for
    // again, and a full report follows.
    if !is_up {
        return;
    }
    let (subject, payload) = match message.encode() {
        Ok(encoded) => encoded,
        Err(error) => {
            return tracing::warn!(%error, "dropped a message that cannot be written: {error}");
        }
    };
    match tokio::time::timeout(PUBLISH_WITHIN, client.publish(subject, payload.into())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            if let Some(Line { more, .. }) = sparing::line("NatsTookNoMessage") {
                tracing::warn!(%error, "nats took no message{more}: {error}");
            }
        }
        Err(_) => {
            if let Some(Line { more, .. }) = sparing::line("NatsQueueFull") {
                tracing::warn!("nats client queue is full, message dropped{more}");
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_was_made_again_in_one_go_is_news() {
        let (link, mut told) = watch::channel(false);
        let mut carried = Link {
            activator: "one".to_owned(),
            link,
            connection: None,
        };
        for (connection, is_news, up) in [
            (Some(1), true, true),
            (Some(1), false, true),
            (Some(2), true, true),
            (None, true, false),
            (None, false, false),
            (Some(3), true, true),
        ] {
            carried.observe(connection);
            assert_eq!(told.has_changed().unwrap(), is_news, "{connection:?}");
            assert_eq!(*told.borrow_and_update(), up, "{connection:?}");
        }
    }
}
