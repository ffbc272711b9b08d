//! The carrier over NATS core subjects.
//!
//! Nothing is kept for later: while the connection is down, messages to the activators are dropped, since
//! a drain or an outcome that arrives late is worse than one that never does. The shell is told by `link`,
//! and asks for full reports when it is back.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt;
use futures_util::stream::{SelectAll, select_all};
use reveille_crds::cloudevent::CloudEvent;
use reveille_crds::codec::CodecError;
use reveille_crds::message::{ToActivator, ToScaler};
use reveille_crds::subject;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// How often the connection's state is looked at: the client's callback belongs to whoever connects it.
const LOOK: Duration = Duration::from_millis(100);
/// Time for the client to take a message; it waits only when its own queue is full.
const PUBLISH: Duration = Duration::from_secs(1);
/// Time for a message to ourselves to come back before the link counts as up.
const ECHO: Duration = Duration::from_secs(2);

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
/// # Errors
/// If the client is closed, or the shell ends, before `shutdown`.
pub async fn carry(
    client: Client,
    mut from_shell: mpsc::Receiver<ToActivator>,
    to_shell: mpsc::Sender<ToScaler>,
    mut events: mpsc::Receiver<CloudEvent>,
    link: watch::Sender<bool>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let mut inbox = subscribe(&client).await?;
    let mut watcher = Connection::new(client.clone(), link).await?;
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut events_open = true;
    loop {
        tokio::select! {
            // The state of the link first, so that what follows is judged by it; then what others wait
            // for; users' events last.
            biased;
            () = shutdown.cancelled() => return Ok(()),
            _ = look.tick() => watcher.look().await,
            message = from_shell.recv() => match message {
                Some(message) => publish(&client, &watcher, message.encode()).await,
                None => return Err(Error::ShellEnded),
            },
            message = inbox.next() => {
                let Some(message) = message else { return Err(Error::Closed) };
                let Some(message) = read(&message) else { continue };
                if to_shell.send(message).await.is_err() {
                    return Err(Error::ShellEnded);
                }
            }
            event = events.recv(), if events_open => match event {
                Some(event) => publish(&client, &watcher, event.encode()).await,
                None => events_open = false,
            },
        }
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

struct Connection {
    client: Client,
    link: watch::Sender<bool>,
    connects: u64,
    inbox: String,
    echoes: Subscriber,
}

impl Connection {
    async fn new(client: Client, link: watch::Sender<bool>) -> Result<Self, Error> {
        let inbox = client.new_inbox();
        let echoes = client.subscribe(inbox.clone()).await;
        let subject = "an inbox";
        Ok(Self {
            echoes: echoes.map_err(|source| Error::Subscribe { subject, source })?,
            client,
            link,
            connects: 0,
            inbox,
        })
    }

    fn is_up(&self) -> bool {
        *self.link.borrow()
    }

    /// Tells the shell what became of the link. A connection that was lost and made again between two
    /// looks was down all the same: what was sent meanwhile is gone.
    async fn look(&mut self) {
        let connects = self
            .client
            .statistics()
            .connects
            .load(std::sync::atomic::Ordering::Relaxed);
        let connected = self.client.connection_state() == State::Connected;
        let renewed = connects != self.connects;
        if self.is_up() && (!connected || renewed) {
            warn!("lost the connection to nats: nothing is put to sleep until it is back");
            self.link.send_replace(false);
        }
        if !self.is_up() && connected {
            if self.answers().await {
                self.connects = connects;
                info!("connected to nats");
                self.link.send_replace(true);
            } else {
                warn!("nats does not send back what is sent to an inbox of ours");
            }
        }
    }

    /// Whether the server has taken all subscriptions: it takes them in their order, this message last.
    async fn answers(&mut self) -> bool {
        let token = uuid::Uuid::new_v4().to_string();
        let echo = async {
            let payload = token.clone().into();
            self.client
                .publish(self.inbox.clone(), payload)
                .await
                .ok()?;
            self.client.flush().await.ok()?;
            while self.echoes.next().await?.payload != token {}
            Some(())
        };
        matches!(timeout(ECHO, echo).await, Ok(Some(())))
    }
}

fn read(message: &Message) -> Option<ToScaler> {
    ToScaler::decode(&message.subject, &message.payload)
        .inspect_err(|error| debug!(subject = %message.subject, %error, "ignored a message"))
        .ok()
}

async fn publish(client: &Client, connection: &Connection, message: Encoded) {
    let (subject, payload) = match message {
        Ok(encoded) => encoded,
        Err(error) => return warn!(%error, "dropped a message that cannot be written"),
    };
    if !connection.is_up() {
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
