//! The carrier against a real nats-server.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/nats.rs"]
mod server;

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, Subscriber};
use futures_util::StreamExt;
use reveille_crds::SandboxKey;
use reveille_crds::cloudevent::{CloudEvent, Happening, Woke};
use reveille_crds::message::{
    Activity, Cause, Drain, Outcome, OutcomeKind, ToActivator, ToScaler, Wake,
};
use reveille_crds::subject;
use reveille_scaler::nats::{Error, carry};
use serde_json::{Value, json};
use server::Server;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(90);

fn key() -> SandboxKey {
    SandboxKey::new("agents", "alice").unwrap()
}

async fn connect(server: &Server) -> Client {
    connect_counted(server).await.0
}

/// A client, and the number of its present connection.
async fn connect_counted(server: &Server) -> (Client, watch::Receiver<Option<u64>>) {
    let (counted, connection) = watch::channel(None);
    let made = Arc::new(AtomicU64::new(0));
    let client = ConnectOptions::new()
        .reconnect_delay_callback(|_| Duration::from_millis(50))
        .event_callback(move |event| {
            match event {
                Event::Connected => {
                    let number = made.fetch_add(1, Ordering::Relaxed);
                    counted.send_replace(Some(number));
                }
                Event::Disconnected => drop(counted.send_replace(None)),
                _ => {}
            }
            ready(())
        })
        .retry_on_initial_connect()
        .connect(server.url())
        .await
        .unwrap();
    (client, connection)
}

struct Carried {
    to_activators: mpsc::Sender<ToActivator>,
    from_activators: mpsc::Receiver<ToScaler>,
    events: mpsc::Sender<CloudEvent>,
    link: watch::Receiver<bool>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

impl Carried {
    async fn start(server: &Server) -> Self {
        let (to_activators, from_shell) = mpsc::channel(16);
        let (to_shell, from_activators) = mpsc::channel(16);
        let (events, events_seen) = mpsc::channel(16);
        let (link_set, link) = watch::channel(false);
        let shutdown = CancellationToken::new();
        let (client, connection) = connect_counted(server).await;
        let task = tokio::spawn(carry(
            client,
            connection,
            from_shell,
            to_shell,
            events_seen,
            link_set,
            shutdown.clone(),
        ));
        let mut this = Self {
            to_activators,
            from_activators,
            events,
            link,
            shutdown,
            task,
        };
        this.until_link(true).await;
        this
    }

    async fn until_link(&mut self, up: bool) {
        timeout(PATIENCE, self.link.wait_for(|link| *link == up))
            .await
            .expect("the link never changed")
            .unwrap();
    }

    async fn hear(&mut self) -> ToScaler {
        timeout(PATIENCE, self.from_activators.recv())
            .await
            .expect("nothing was heard")
            .unwrap()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

fn activity(sequence: u64) -> Activity {
    let incarnation = "i".to_owned();
    Activity {
        activator: "a".into(),
        incarnation,
        sequence,
        full: true,
        sandboxes: Vec::new(),
        answers: Vec::new(),
    }
}

async fn publish(client: &Client, subject: String, payload: Value) {
    client
        .publish(subject, payload.to_string().into())
        .await
        .unwrap();
    timeout(PATIENCE, client.flush()).await.unwrap().unwrap();
}

/// Subscribed to everything, and the server knows.
async fn listen(client: &Client) -> Subscriber {
    let mut heard = client.subscribe("reveille.v1.>").await.unwrap();
    publish(client, "reveille.v1.here".to_owned(), json!({})).await;
    timeout(PATIENCE, heard.next()).await.unwrap().unwrap();
    heard
}

async fn report(client: &Client, sequence: u64) {
    publish(
        client,
        subject::activity("a").unwrap(),
        serde_json::to_value(activity(sequence)).unwrap(),
    )
    .await;
}

#[tokio::test]
async fn messages_travel_both_ways() {
    let server = Server::start().await;
    let mut carried = Carried::start(&server).await;
    let activator = connect(&server).await;
    let mut heard = listen(&activator).await;

    let drain = Drain {
        key: key(),
        epoch: 3,
        uid: Some("alice-uid".into()),
        nonce: 7,
        hold_ms: 10_000,
        order: false,
    };
    carried
        .to_activators
        .send(ToActivator::Drain(drain.clone()))
        .await
        .unwrap();
    let message = timeout(PATIENCE, heard.next()).await.unwrap().unwrap();
    assert_eq!(message.subject.as_str(), "reveille.v1.drain.agents.alice");
    assert_eq!(
        serde_json::from_slice::<Drain>(&message.payload).unwrap(),
        drain
    );

    let outcome = Outcome {
        key: key(),
        what: OutcomeKind::Undrain { nonce: 7 },
    };
    carried
        .to_activators
        .send(ToActivator::Outcome(outcome.clone()))
        .await
        .unwrap();
    let message = timeout(PATIENCE, heard.next()).await.unwrap().unwrap();
    assert_eq!(
        serde_json::from_slice::<Outcome>(&message.payload).unwrap(),
        outcome
    );

    carried.to_activators.send(ToActivator::Sync).await.unwrap();
    let message = timeout(PATIENCE, heard.next()).await.unwrap().unwrap();
    assert_eq!(message.subject.as_str(), subject::SYNC);

    let woke = Happening::Woke(Woke {
        key: key(),
        epoch: 1,
        cause: Cause::Http,
        took_ms: 212,
        parked: 3,
    });
    let event = CloudEvent::new("event-1".to_owned(), jiff::Timestamp::UNIX_EPOCH, woke);
    carried.events.send(event.clone()).await.unwrap();
    let message = timeout(PATIENCE, heard.next()).await.unwrap().unwrap();
    assert_eq!(message.subject.as_str(), subject::event(&key()));
    assert_eq!(
        serde_json::from_slice::<CloudEvent>(&message.payload).unwrap(),
        event
    );

    report(&activator, 1).await;
    assert_eq!(carried.hear().await, ToScaler::Activity(activity(1)));
    carried.stop().await;
}

#[tokio::test]
async fn one_scaler_of_many_takes_a_wake() {
    let server = Server::start().await;
    let mut one = Carried::start(&server).await;
    let mut two = Carried::start(&server).await;
    let activator = connect(&server).await;
    let wake = Wake {
        key: key(),
        reason: Cause::Http,
        port: None,
        waiting: 1,
        oldest_wait_ms: 0,
        activator: "a".into(),
        by: None,
        traceparent: None,
    };
    for _ in 0..10 {
        publish(
            &activator,
            subject::wake(&key()),
            serde_json::to_value(&wake).unwrap(),
        )
        .await;
    }
    report(&activator, 1).await;
    let (mut wakes, mut reports) = (0, 0);
    while wakes < 10 || reports < 2 {
        let heard = tokio::select! {
            heard = one.hear() => heard,
            heard = two.hear() => heard,
        };
        match heard {
            ToScaler::Wake(_) => wakes += 1,
            _ => reports += 1,
        }
    }
    assert_eq!(
        (wakes, reports),
        (10, 2),
        "each wake once, and the report reaches both"
    );
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_or_lies_about_its_subject_is_passed_over() {
    let server = Server::start().await;
    let mut carried = Carried::start(&server).await;
    let activator = connect(&server).await;
    publish(&activator, subject::wake(&key()), json!("no wake")).await;
    publish(
        &activator,
        subject::wake(&key()),
        json!({"key": "agents/bob", "reason": "http", "activator": "a"}),
    )
    .await;
    publish(
        &activator,
        subject::activity("b").unwrap(),
        serde_json::to_value(activity(1)).unwrap(),
    )
    .await;
    report(&activator, 2).await;
    assert_eq!(carried.hear().await, ToScaler::Activity(activity(2)));
    carried.stop().await;
}

#[tokio::test]
async fn a_lost_server_is_told_and_healed() {
    let server = Server::start().await;
    let port = server.port();
    let mut carried = Carried::start(&server).await;
    drop(server);
    carried.until_link(false).await;
    let drain = Drain {
        key: key(),
        epoch: 3,
        uid: Some("alice-uid".into()),
        nonce: 7,
        hold_ms: 10_000,
        order: false,
    };
    carried
        .to_activators
        .send(ToActivator::Drain(drain))
        .await
        .unwrap();
    // Taken from the channel before the server is back: what is sent while it is away is dropped.
    while carried.to_activators.capacity() < carried.to_activators.max_capacity() {
        tokio::task::yield_now().await;
    }
    let server = Server::start_on(port).await;
    let activator = connect(&server).await;
    let mut heard = listen(&activator).await;
    carried.until_link(true).await;
    report(&activator, 1).await;
    assert_eq!(
        carried.hear().await,
        ToScaler::Activity(activity(1)),
        "subscribed again"
    );
    carried.to_activators.send(ToActivator::Sync).await.unwrap();
    let mut subjects = Vec::new();
    while subjects
        .last()
        .is_none_or(|subject| subject != subject::SYNC)
    {
        let message = timeout(PATIENCE, heard.next()).await.unwrap().unwrap();
        subjects.push(message.subject.to_string());
    }
    assert!(
        !subjects.iter().any(|subject| subject.contains("drain")),
        "{subjects:?}"
    );
    carried.stop().await;
}
