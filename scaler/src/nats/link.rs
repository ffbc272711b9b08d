//! Whether the connection is up: it is there, and the server has taken all subscriptions.
//!
//! ```text
//! down ── connection n ──▶ asking ── echo of n ──▶ up
//!   ▲                      │  ▲ └─ no echo: ask again
//!   └── connection lost ───┴──┴────────────────────┘
//! ```
//! A server takes the subscriptions of a connection in their order, and the echo's message comes after
//! them. Whoever counts on hearing all activators must not count on a connection alone.

use std::future::pending;
use std::time::Duration;

use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::{Error, PUBLISH};

/// Time for a message to ourselves to come back before another one is sent.
const ECHO: Duration = Duration::from_secs(2);

pub(super) struct Link {
    client: Client,
    link: watch::Sender<bool>,
    /// Number of the present connection.
    connection: Option<u64>,
    asked: Option<Asked>,
    inbox: String,
    echoes: Subscriber,
}

/// A message to ourselves that is on its way.
struct Asked {
    token: String,
    /// When it is given up.
    until: Instant,
}

impl Link {
    pub(super) async fn new(client: Client, link: watch::Sender<bool>) -> Result<Self, Error> {
        let inbox = client.new_inbox();
        let subject = "an inbox";
        let echoes = client
            .subscribe(inbox.clone())
            .await
            .map_err(|source| Error::Subscribe { subject, source })?;
        Ok(Self {
            client,
            link,
            connection: None,
            asked: None,
            inbox,
            echoes,
        })
    }

    pub(super) fn is_up(&self) -> bool {
        *self.link.borrow()
    }

    /// There is another connection, or none. One that was lost and made again in one go was down all the
    /// same: what was sent meanwhile is gone.
    pub(super) async fn connected(&mut self, connection: Option<u64>) {
        if connection == self.connection {
            return;
        }
        self.connection = connection;
        self.asked = None;
        if self.is_up() {
            warn!("lost the connection to nats: nothing is put to sleep until it is back");
            self.link.send_replace(false);
        }
        if connection.is_some() {
            self.send().await;
        }
    }

    /// The next message to ourselves, or nothing once it is overdue. Cancel-safe.
    pub(super) async fn echo(&mut self) -> Option<Message> {
        let Some(asked) = &self.asked else {
            return pending().await;
        };
        // An echo that is there is no late one.
        tokio::select! {
            biased;
            Some(echo) = self.echoes.next() => Some(echo),
            () = sleep_until(asked.until) => None,
        }
    }

    /// Takes what [`Link::echo`] gave: the latest message to ourselves means that the link is up.
    pub(super) async fn take(&mut self, echo: Option<Message>) {
        let Some(echo) = echo else {
            warn!("nats does not send back what is sent to an inbox of ours, asking again");
            return self.send().await;
        };
        let is_latest = |asked: &mut Asked| echo.payload == asked.token;
        if self.asked.take_if(is_latest).is_some() {
            info!("connected to nats");
            self.link.send_replace(true);
        }
    }

    async fn send(&mut self) {
        let token = uuid::Uuid::new_v4().to_string();
        let publish = self
            .client
            .publish(self.inbox.clone(), token.clone().into());
        if !matches!(timeout(PUBLISH, publish).await, Ok(Ok(()))) {
            debug!("the nats client does not take a message");
        }
        let until = Instant::now() + ECHO;
        self.asked = Some(Asked { token, until });
    }
}
