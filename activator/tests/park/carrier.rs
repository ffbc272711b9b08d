//! Messages between channels and subjects.

use async_nats::{Client, Subscriber};
use futures_util::StreamExt;
use reveille_activator::nats;
use reveille_crds::SandboxKey;
use reveille_crds::message::{
    Activity, Cause, Drain, DrainReply, Outcome, OutcomeKind, ToActivator, ToScaler, Wake,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::PATIENCE;
use crate::server::Server;

/// The carrier with both its ends in the hands of the test.
struct Carried {
    to_scaler: mpsc::Sender<ToScaler>,
    from_scaler: mpsc::Receiver<ToActivator>,
    link: watch::Receiver<bool>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Carried {
    async fn over(server: &Server) -> Self {
        let (to_scaler, rx) = mpsc::channel(64);
        let (tx, from_scaler) = mpsc::channel(64);
        let (link_tx, link) = watch::channel(false);
        let shutdown = CancellationToken::new();
        let (client, connection) = server.connect_counted().await;
        let carry = nats::carry(
            client,
            connection,
            "one".to_owned(),
            rx,
            tx,
            link_tx,
            shutdown.clone(),
        );
        let mut carried = Self {
            to_scaler,
            from_scaler,
            link,
            shutdown,
            task: tokio::spawn(carry),
        };
        carried.link_is(true).await;
        carried
    }

    async fn link_is(&mut self, up: bool) {
        let waiting = self.link.wait_for(|link| *link == up);
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("the link in time")
            .unwrap();
    }

    async fn heard(&mut self) -> ToActivator {
        let message = self.from_scaler.recv();
        tokio::time::timeout(PATIENCE, message)
            .await
            .expect("a message in time")
            .unwrap()
    }
}

/// Subscribed to everything, and the server knows: it has sent back what came after the subscription.
pub(crate) async fn everything(client: &Client) -> Subscriber {
    let mut subscriber = client.subscribe("reveille.v1.>").await.unwrap();
    client.publish("reveille.v1.here", "".into()).await.unwrap();
    tokio::time::timeout(PATIENCE, subscriber.next())
        .await
        .expect("an echo in time")
        .unwrap();
    subscriber
}

/// The next message to the scalers.
pub(crate) async fn next(subscriber: &mut Subscriber) -> ToScaler {
    let message = async {
        loop {
            let message = subscriber.next().await.expect("the subscription lasts");
            if let Ok(message) = ToScaler::decode(&message.subject, &message.payload) {
                return message;
            }
        }
    };
    tokio::time::timeout(PATIENCE, message)
        .await
        .expect("a message in time")
}

/// Publishes as a scaler does.
pub(crate) async fn say(client: &Client, message: &ToActivator) {
    let (subject, payload) = message.encode().unwrap();
    client.publish(subject, payload.into()).await.unwrap();
    client.flush().await.unwrap();
}

fn key() -> SandboxKey {
    SandboxKey::new("agents", "alice").unwrap()
}

fn wake(waiting: u32) -> ToScaler {
    ToScaler::Wake(Wake {
        key: key(),
        reason: Cause::Http,
        port: Some(8888),
        waiting,
        oldest_wait_ms: 12,
        activator: "one".to_owned(),
        by: None,
        traceparent: None,
    })
}

#[tokio::test]
async fn messages_travel_both_ways() {
    let server = Server::start().await;
    let scaler = server.connect().await;
    let mut heard = everything(&scaler).await;
    let mut carried = Carried::over(&server).await;
    let activity = ToScaler::Activity(Activity {
        activator: "one".to_owned(),
        incarnation: "i".to_owned(),
        sequence: 1,
        full: true,
        sandboxes: Vec::new(),
        answers: Vec::new(),
    });
    let reply = ToScaler::Drained(DrainReply {
        key: key(),
        activator: "one".to_owned(),
        incarnation: "i".to_owned(),
        nonce: 7,
        drained: true,
    });
    for message in [wake(3), activity, reply] {
        carried.to_scaler.send(message.clone()).await.unwrap();
        assert_eq!(next(&mut heard).await, message);
    }
    // The server has seen the subscriptions before what was published after them.
    let drain = ToActivator::Drain(Drain {
        key: key(),
        epoch: 4,
        uid: None,
        nonce: 7,
        hold_ms: 10_000,
        order: false,
    });
    let what = OutcomeKind::Undrain { nonce: 7 };
    let outcome = ToActivator::Outcome(Outcome { key: key(), what });
    for message in [ToActivator::Sync, drain, outcome] {
        say(&scaler, &message).await;
        assert_eq!(carried.heard().await, message);
    }
    carried.shutdown.cancel();
    tokio::time::timeout(PATIENCE, carried.task)
        .await
        .expect("it ends in time")
        .unwrap();
    assert!(!*carried.link.borrow());
}

#[tokio::test]
async fn what_cannot_be_read_is_passed_over() {
    let server = Server::start().await;
    let scaler = server.connect().await;
    let mut heard = everything(&scaler).await;
    let mut carried = Carried::over(&server).await;
    // Whoever is heard has been subscribed.
    carried.to_scaler.send(wake(1)).await.unwrap();
    assert_eq!(next(&mut heard).await, wake(1));
    for (subject, payload) in [
        ("reveille.v1.outcome.agents.alice", "not json"),
        (
            "reveille.v1.outcome.agents.alice",
            r#"{"key":"agents/bob","outcome":"undrain","nonce":1}"#,
        ),
        ("reveille.v1.drain.agents.alice", "{}"),
    ] {
        scaler.publish(subject, payload.into()).await.unwrap();
    }
    say(&scaler, &ToActivator::Sync).await;
    assert_eq!(carried.heard().await, ToActivator::Sync);
}

#[tokio::test]
async fn a_lost_server_takes_the_link_down_and_its_return_heals_all() {
    let server = Server::start().await;
    let mut carried = Carried::over(&server).await;
    let port = server.port.clone();
    drop(server);
    carried.link_is(false).await;
    for waiting in 0..200 {
        carried.to_scaler.send(wake(waiting)).await.unwrap();
    }
    let server = Server::start_on(port).await;
    let scaler = server.connect().await;
    let mut heard = everything(&scaler).await;
    carried.link_is(true).await;
    carried.to_scaler.send(wake(1000)).await.unwrap();
    assert_eq!(
        next(&mut heard).await,
        wake(1000),
        "stale wakes are dropped"
    );
    say(&scaler, &ToActivator::Sync).await;
    assert_eq!(
        carried.heard().await,
        ToActivator::Sync,
        "it is subscribed again"
    );
}
