//! The carrier over NATS core subjects.
//!
//! Nothing is kept for later: while the connection is down, messages to the activators are dropped, since
//! a drain or an outcome that arrives late is worse than one that never does. The shell is told by `link`,
//! and asks for full reports when it is back.

use std::future::pending;
use std::time::Duration;

use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt;
use futures_util::stream::{SelectAll, select_all};
use reveille_crds::cloudevent::CloudEvent;
use reveille_crds::codec::CodecError;
use reveille_crds::message::{ToActivator, ToScaler};
use reveille_crds::subject;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::link::Link;

mod link;

/// Time for the client to take a message; it waits only when its own queue is full.
const PUBLISH: Duration = Duration::from_secs(1);

/// A subject and a payload.
type Encoded = Result<(String, Vec<u8>), CodecError>;

/// Why carrying ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A subscription was refused by the client.
    #[error("cannot subscribe to {subject}: {source}")]
    Subscribe {
        /// What was subscribed to.
        subject: &'static str,
        /// The client's word.
        source: async_nats::SubscribeError,
    },
    /// The client was closed.
    #[error("the NATS client was closed")]
    Closed,
    /// The shell went away.
    #[error("the scaler behind the carrier ended")]
    ShellEnded,
}

/// Carries until `shutdown`: what the shell sends goes to subjects, what arrives goes to the shell, and
/// `link` says whether the connection is up.
///
/// `connection` is the number of the client's present connection, counted up by whoever connected it from
/// the client's events; `None` while there is none.
///
/// # Errors
/// If the client is closed, or the shell ends, before `shutdown`.
pub async fn carry(
    client: Client,
    connection: watch::Receiver<Option<u64>>,
    from_shell: mpsc::Receiver<ToActivator>,
    to_shell: mpsc::Sender<ToScaler>,
    events: mpsc::Receiver<CloudEvent>,
    link: watch::Sender<bool>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let pump = Pump {
        connection,
        from_shell,
        to_shell,
        events: Some(events),
    };
    let outcome = pump.run(&client, link, &shutdown).await;
    // What was published before the end is still in the client's queue.
    drop(timeout(PUBLISH, client.flush()).await);
    outcome
}

/// The ends of the channels.
struct Pump {
    connection: watch::Receiver<Option<u64>>,
    from_shell: mpsc::Receiver<ToActivator>,
    to_shell: mpsc::Sender<ToScaler>,
    /// `None` once nobody has any to tell.
    events: Option<mpsc::Receiver<CloudEvent>>,
}

impl Pump {
    async fn run(
        mut self,
        client: &Client,
        link: watch::Sender<bool>,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        let mut inbox = subscribe(client).await?;
        let mut link = Link::new(client.clone(), link).await?;
        let number = *self.connection.borrow_and_update();
        link.connected(number).await;
        loop {
            tokio::select! {
                // The state of the link first, so that what follows is judged by it; then what others wait
                // for; users' events last.
                biased;
                () = shutdown.cancelled() => return Ok(()),
                Ok(()) = self.connection.changed() => {
                    let number = *self.connection.borrow_and_update();
                    link.connected(number).await;
                }
                echo = link.echo() => link.take(echo).await,
                message = self.from_shell.recv() => match message {
                    Some(message) => publish(client, &link, message.encode()).await,
                    None => return Err(Error::ShellEnded),
                },
                message = inbox.next() => {
                    let Some(message) = message else { return Err(Error::Closed) };
                    let Some(message) = read(&message) else { continue };
                    if self.to_shell.send(message).await.is_err() {
                        return Err(Error::ShellEnded);
                    }
                }
                event = next(&mut self.events) => match event {
                    Some(event) => publish(client, &link, event.encode()).await,
                    None => self.events = None,
                },
            }
        }
    }
}

/// The next event, if there is anybody who has any. Cancel-safe.
async fn next(events: &mut Option<mpsc::Receiver<CloudEvent>>) -> Option<CloudEvent> {
    match events {
        Some(events) => events.recv().await,
        None => pending().await,
    }
}

async fn subscribe(client: &Client) -> Result<SelectAll<Subscriber>, Error> {
    let failed = |subject| move |source| Error::Subscribe { subject, source };
    let queue = subject::WAKE_QUEUE.to_owned();
    let wakes = client.queue_subscribe(subject::ALL_WAKES, queue).await;
    let mut all = vec![wakes.map_err(failed(subject::ALL_WAKES))?];
    for name in subject::FOR_EVERY_SCALER {
        all.push(client.subscribe(name).await.map_err(failed(name))?);
    }
    Ok(select_all(all))
}

fn read(message: &Message) -> Option<ToScaler> {
    ToScaler::decode(&message.subject, &message.payload)
        .inspect_err(|error| debug!(subject = %message.subject, %error, "ignored a message"))
        .ok()
}

async fn publish(client: &Client, link: &Link, message: Encoded) {
    let (subject, payload) = match message {
        Ok(encoded) => encoded,
        Err(error) => return warn!(%error, "dropped a message that cannot be written: {error}"),
    };
    if !link.is_up() {
        debug!(subject, "dropped a message: not connected to nats");
        return;
    }
    match timeout(PUBLISH, client.publish(subject.clone(), payload.into())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(subject, %error, "dropped a message"),
        Err(_) => debug!(
            subject,
            "dropped a message: the nats client does not take it"
        ),
    }
}
