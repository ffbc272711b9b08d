//! The same loop over a real nats-server, and over one that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::chaos::Chaos;
use crate::support::client::{post, send};
use crate::support::home::Home;
use crate::support::manifests::{Agent, Manifests};
use crate::support::nats::Nats;
use crate::support::reveille::Reveille;
use crate::support::until;

/// Agents `agent-0`, `agent-1`, … that sleep after so many quiet seconds.
fn fleet(size: usize, cooldown: u32) -> Manifests {
    (0..size)
        .fold(Manifests::new(), |all, number| {
            all.agent(Agent::asleep(&format!("agent-{number}")))
        })
        .policy(json!({"cooldownPeriod": cooldown, "minimumUptime": 0}))
}

#[tokio::test]
async fn the_loop_runs_over_nats() {
    let nats = Nats::start().await;
    let chaos = Chaos::before(nats.address).await;
    let home = Home::with(&fleet(1, 0));
    let reveille = Reveille::with(&home, &["--nats", &chaos.url()]).await;
    for wake in 1..=3 {
        let about = reveille.get("agent-0", "/").await.ok().json();
        assert_eq!(about["wakes"], wake);
        reveille.await_state("agent-0", "asleep").await;
    }
    assert!(chaos.messages() > 0, "nothing went over NATS");
}

#[tokio::test]
async fn doubled_and_delayed_messages_lose_and_repeat_nothing() {
    let nats = Nats::start().await;
    let chaos = Chaos::before(nats.address).await;
    let home = Home::with(&fleet(8, 0));
    let reveille = Reveille::with(&home, &["--nats", &chaos.url()]).await;
    chaos.disturb(50, Duration::from_millis(150));
    let mut clients = JoinSet::new();
    for number in 0..8 {
        let listen = reveille.listen;
        clients.spawn(async move {
            for done in 1..=12 {
                sleep(Duration::from_millis(fastrand::u64(0..2_500))).await;
                let reply = send(
                    listen,
                    post(&format!("agent-{number}"), "/count", &json!({})),
                )
                .await;
                assert_eq!(reply.unwrap().ok().json()["value"], done);
            }
        });
    }
    clients.join_all().await;
    chaos.disturb(0, Duration::ZERO);
    for number in 0..8 {
        reveille
            .await_state(&format!("agent-{number}"), "asleep")
            .await;
    }
}

#[tokio::test]
async fn nats_killed_and_restarted_under_load_loses_nothing_and_heals() {
    let mut nats = Nats::start().await;
    let home = Home::with(&fleet(6, 3));
    let reveille = Reveille::with(&home, &["--nats", &nats.url()]).await;
    reveille.get("agent-0", "/").await.ok();

    let load = Load::on(&reveille, 6);
    load.answers(60).await;
    nats.kill().await;
    let slept: usize = (0..6)
        .map(|number| reveille.sleeps(&format!("agent-{number}")))
        .sum();
    // Warm traffic goes on without NATS; wakes go another way or fail with a reason.
    load.answers(60).await;
    nats.restart().await;
    load.answers(60).await;
    let (sent, answered) = load.end().await;
    println!("{sent} sent, {answered} answered, {slept} sleeps before the kill");

    let mut counted = 0;
    for number in 0..6 {
        let name = format!("agent-{number}");
        counted += until("an answer", || async {
            Some(reveille.get(&name, "/count").await).filter(|reply| reply.status == 200)
        })
        .await
        .json()["value"]
            .as_u64()
            .unwrap();
    }
    assert_eq!(
        counted, answered,
        "what was answered was executed, and nothing else"
    );
    for number in 0..6 {
        reveille
            .await_state(&format!("agent-{number}"), "asleep")
            .await;
    }
    reveille.get("agent-0", "/").await.ok();
}

#[tokio::test]
async fn without_nats_nobody_is_put_to_sleep_and_a_wake_is_not_left_hanging() {
    let mut nats = Nats::start().await;
    let home = Home::with(&fleet(2, 1));
    let reveille = Reveille::with(&home, &["--nats", &nats.url()]).await;
    reveille.get("agent-0", "/").await.ok();
    nats.kill().await;
    let wakes = reveille.get("agent-0", "/").await.ok().json()["wakes"].clone();
    let slept = reveille.sleeps("agent-0");
    // Well beyond cooldown, report and drain: the other side is silent, and silence is not idleness.
    for _ in 0..40 {
        reveille.get("agent-1", "/slow?ms=100").await;
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(reveille.sleeps("agent-0"), slept);
    let about = reveille.get("agent-0", "/").await.ok().json();
    assert_eq!(about["wakes"], wakes);
    let other = reveille.get("agent-1", "/").await;
    assert!(
        other.status == 200 || (other.status == 503 && !other.header("retry-after").is_empty()),
        "{other:?}"
    );
    nats.restart().await;
    reveille.await_state("agent-0", "asleep").await;
    reveille.get("agent-0", "/").await.ok();
}

#[tokio::test]
async fn cut_connections_heal_by_themselves() {
    let nats = Nats::start().await;
    let chaos = Chaos::before(nats.address).await;
    let home = Home::with(&fleet(4, 0));
    let reveille = Reveille::with(&home, &["--nats", &chaos.url()]).await;
    let load = Load::on(&reveille, 4);
    for _ in 0..5 {
        load.answers(12).await;
        chaos.cut();
    }
    let (_, answered) = load.end().await;
    assert!(answered >= 60);
    for number in 0..4 {
        reveille
            .await_state(&format!("agent-{number}"), "asleep")
            .await;
    }
}

/// Clients that count on agents, at random moments, until told to end.
struct Load {
    clients: JoinSet<()>,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    over: AtomicBool,
    sent: AtomicU64,
    answered: AtomicU64,
}

impl Load {
    fn on(reveille: &Reveille, size: usize) -> Self {
        let mut clients = JoinSet::new();
        let told = Arc::<Told>::default();
        for number in 0..size {
            let (listen, told) = (reveille.listen, Arc::clone(&told));
            clients.spawn(async move {
                while !told.over.load(Ordering::Relaxed) {
                    // The first agent is always warm; the others have the time to sleep.
                    let longest = if number == 0 { 100 } else { 6_000 };
                    sleep(Duration::from_millis(fastrand::u64(0..longest))).await;
                    told.sent.fetch_add(1, Ordering::Relaxed);
                    let name = format!("agent-{number}");
                    let reply = send(listen, post(&name, "/count", &json!({})))
                        .await
                        .unwrap();
                    if reply.status == 200 {
                        told.answered.fetch_add(1, Ordering::Relaxed);
                    } else {
                        assert_eq!(reply.status, 503, "{name}: {reply:?}");
                        assert!(number != 0, "warm traffic is not touched: {reply:?}");
                    }
                }
            });
        }
        Self { clients, told }
    }

    /// Waits for so many more answers.
    async fn answers(&self, more: u64) {
        let goal = self.told.answered.load(Ordering::Relaxed) + more;
        until("answers", || async {
            (self.told.answered.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// Requests sent, and answered with 200.
    async fn end(self) -> (u64, u64) {
        self.told.over.store(true, Ordering::Relaxed);
        self.clients.join_all().await;
        (
            self.told.sent.load(Ordering::Relaxed),
            self.told.answered.load(Ordering::Relaxed),
        )
    }
}
