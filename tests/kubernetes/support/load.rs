//! Clients that count on agents at random moments until told to end: what they were answered, and
//! whether the agents agree.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::cluster::{Cluster, Door};
use crate::support::http::{Failure, Reply};
use crate::support::until;

/// Running clients.
#[derive(Debug)]
pub(crate) struct Load {
    clients: JoinSet<()>,
    told: Arc<Told>,
}

/// What happened, so far or in the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Per sandbox: requests sent, and answered with 200.
    pub(crate) counts: BTreeMap<String, (u64, u64)>,
    /// Answers that are not 200, with the sandbox's name.
    pub(crate) refusals: Vec<(String, Reply)>,
    /// Requests without an answer, by the door they took.
    pub(crate) failures: Vec<(usize, String)>,
}

#[derive(Debug, Default)]
struct Told {
    over: AtomicBool,
    answered: AtomicU64,
    tally: Mutex<Tally>,
}

impl Load {
    /// One client a name; it chooses a door and a moment, up to `longest` after its last answer, at
    /// random.
    pub(crate) fn on(cluster: &Cluster, names: &[String], longest: Duration) -> Self {
        let (mut clients, told) = (JoinSet::new(), Arc::<Told>::default());
        for name in names {
            let (doors, name, told) = (cluster.doors(), name.clone(), Arc::clone(&told));
            clients.spawn(async move {
                while !told.over.load(Ordering::Relaxed) {
                    let pause = longest.mul_f64(fastrand::f64());
                    sleep(pause).await;
                    let door = fastrand::usize(..doors.len());
                    told.sends(&name);
                    let answer = doors[door].try_count(&name).await;
                    told.hears(&name, door, answer);
                }
            });
        }
        Self { clients, told }
    }

    /// Waits for so many more answers of 200.
    pub(crate) async fn answers(&self, more: u64) {
        let goal = self.told.answered.load(Ordering::Relaxed) + more;
        until(&format!("{more} more answers"), || async {
            (self.told.answered.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// What happened so far.
    pub(crate) fn so_far(&self) -> Tally {
        self.told.tally.lock().unwrap().clone()
    }

    /// Ends, and tells what happened.
    pub(crate) async fn end(mut self) -> Tally {
        self.told.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        self.so_far()
    }
}

impl Tally {
    /// Requests sent, and answered with 200.
    pub(crate) fn sum(&self) -> (u64, u64) {
        let sum = |(sent, answered), (s, a): &(u64, u64)| (sent + s, answered + a);
        self.counts.values().fold((0, 0), sum)
    }

    /// Every answer was executed once, and nothing was executed that was not sent: agents remember.
    pub(crate) async fn agrees_with(&self, cluster: &Cluster) {
        for (name, (sent, answered)) in &self.counts {
            let executed = until("an answer", || async {
                Some(cluster.get(name, "/count").await).filter(|reply| reply.status == 200)
            })
            .await
            .json()["value"]
                .as_u64()
                .unwrap();
            assert!(
                (*answered..=*sent).contains(&executed),
                "{name}: {sent} sent, {executed} executed, {answered} answered"
            );
            let lost = self.failures.len() as u64;
            assert!(executed - answered <= lost + self.refusals.len() as u64);
        }
    }
}

impl Told {
    fn sends(&self, name: &str) {
        self.tally
            .lock()
            .unwrap()
            .counts
            .entry(name.to_owned())
            .or_default()
            .0 += 1;
    }

    fn hears(&self, name: &str, door: usize, answer: Result<Reply, Failure>) {
        let mut tally = self.tally.lock().unwrap();
        match answer {
            Ok(reply) if reply.status == 200 => {
                tally.counts.entry(name.to_owned()).or_default().1 += 1;
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(reply) => tally.refusals.push((name.to_owned(), reply)),
            Err(failure) => tally.failures.push((door, failure.to_string())),
        }
    }
}

impl Door {
    /// Counts one up; an error where the activator dies.
    pub(crate) async fn try_count(&self, name: &str) -> Result<Reply, Failure> {
        self.try_post(name, "/count", &serde_json::json!({})).await
    }
}
