//! A user who does anything at any time, during traffic. The seed is printed; `REVEILLE_SEED` takes it
//! again (what happens in between is still the machine's own doing).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::cluster::{Cluster, Door};
use crate::support::instances::{Instances, Pods, answered_by};
use crate::support::manifests::{Agent, claim, policy, pool};
use crate::support::objects::Kind;
use crate::support::{setting, size, until};

/// Sandboxes `agent-…`.
const AGENTS: usize = 5;
/// Claims `claim-…`.
const CLAIMS: usize = 3;

#[tokio::test]
async fn a_user_at_random_is_survived_and_every_answer_is_the_right_sandboxs() {
    let seed = setting("REVEILLE_SEED", fastrand::u64(..1_000_000));
    println!("REVEILLE_SEED={seed}");
    let cluster = Cluster::start().await;
    let instances = Instances::of(&cluster);
    let mut user = User {
        cluster: &cluster,
        rng: Rng::with_seed(seed),
    };
    user.make_everything().await;

    let over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for name in user.names() {
        let (doors, pods, over) = (cluster.doors(), instances.pods(), Arc::clone(&over));
        clients.spawn(ask(doors, pods, over, name));
    }
    let end = Instant::now() + Duration::from_secs(size(40, 300));
    let mut done: BTreeMap<&str, u32> = BTreeMap::new();
    while Instant::now() < end {
        *done.entry(user.does_something().await).or_default() += 1;
        sleep(Duration::from_millis(user.rng.u64(50..600))).await;
    }
    user.makes_peace().await;
    let mut answers: BTreeMap<u16, u32> = BTreeMap::new();
    over.store(true, Ordering::Relaxed);
    for of_one in clients.join_all().await {
        for (status, count) in of_one {
            *answers.entry(status).or_default() += count;
        }
    }
    println!("the user: {done:?}; answers: {answers:?}");

    for name in user.names() {
        let what = format!("{name} answers");
        until(&what, || async {
            let status = cluster.get(&name, "/").await.status;
            if status == 404 {
                // What was on its way out when the user made peace is gone only now.
                user.make_missing().await;
            }
            (status == 200).then_some(())
        })
        .await;
    }
    let all = AGENTS + CLAIMS;
    cluster
        .await_object("all asleep", Kind::Policy, "all", |policy| {
            policy["status"]["asleep"] == all
        })
        .await;
    cluster.nobody_panicked();
}

/// Asks one sandbox until told to end; every answer must be its own. Gives the statuses seen.
async fn ask(
    doors: Vec<Door>,
    pods: Pods,
    over: Arc<AtomicBool>,
    name: String,
) -> BTreeMap<u16, u32> {
    let mut statuses = BTreeMap::new();
    while !over.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(fastrand::u64(20..1_500))).await;
        let door = &doors[fastrand::usize(..doors.len())];
        let reply = door.get(&name, "/").await;
        let status = reply.status.as_u16();
        *statuses.entry(status).or_default() += 1;
        match status {
            200 => {
                let pod = pods.await_pod(&answered_by(&reply)).await;
                // What is not named so itself is named so by its claim.
                let right = pod.sandbox == name || pods.claim_of(&pod.sandbox_uid).await == name;
                assert!(right, "{name} was answered for by {pod:?}");
            }
            404 | 502 | 503 | 504 => assert!(reply.json()["detail"].is_string(), "{reply:?}"),
            _ => panic!("{name}: {reply:?}"),
        }
    }
    statuses
}

/// Someone with kubectl.
struct User<'a> {
    cluster: &'a Cluster,
    rng: Rng,
}

impl User<'_> {
    fn names(&self) -> Vec<String> {
        let agents = (0..AGENTS).map(|number| format!("agent-{number}"));
        agents
            .chain((0..CLAIMS).map(|number| format!("claim-{number}")))
            .collect()
    }

    async fn make_everything(&self) {
        self.cluster.create_all(pool(&Agent::mould(), 2)).await;
        self.make_missing().await;
    }

    /// Creates whatever is not there.
    async fn make_missing(&self) {
        let spec = json!({
            "cooldownPeriod": 1, "minimumUptime": 0,
            "wake": {"strategy": "Bind", "deadline": 30}, "park": {"maxWait": 20},
        });
        let _ = self.cluster.try_create(policy(spec)).await;
        for number in 0..AGENTS {
            let agent = Agent::asleep(&format!("agent-{number}"));
            let _ = self.cluster.try_create(agent.sandbox()).await;
        }
        for number in 0..CLAIMS {
            let name = format!("claim-{number}");
            // A released claim is asleep, not missing; a wake may be making it at this moment.
            if self.cluster.find(Kind::Released, &name).await.is_none() {
                let _ = self.cluster.try_create(claim(&name, json!({}))).await;
            }
        }
    }

    async fn does_something(&mut self) -> &'static str {
        let agent = format!("agent-{}", self.rng.usize(..AGENTS));
        let claim = format!("claim-{}", self.rng.usize(..CLAIMS));
        match self.rng.u32(..100) {
            0..25 => self.flips_mode(&agent).await,
            25..40 => self.deletes_pod().await,
            40..48 => self.deletes(Kind::Sandbox, &agent).await,
            48..56 => self.deletes(Kind::Claim, &claim).await,
            56..59 => self.deletes(Kind::Released, &claim).await,
            59..64 => self.deletes(Kind::Policy, "all").await,
            64..76 => self.holds(&agent).await,
            76..86 => self.sets_shutdown_time(&agent).await,
            86..90 => self.edits_policy().await,
            _ => {
                self.make_missing().await;
                "creates what is missing"
            }
        }
    }

    async fn flips_mode(&mut self, agent: &str) -> &'static str {
        let mode = if self.rng.bool() {
            "Running"
        } else {
            "Suspended"
        };
        self.tries(
            Kind::Sandbox,
            agent,
            json!({"spec": {"operatingMode": mode}}),
        )
        .await;
        "flips a mode"
    }

    async fn deletes_pod(&mut self) -> &'static str {
        let pods = self.cluster.list(Kind::Pod).await;
        if let Some(pod) = self.rng.choice(&pods) {
            self.cluster.delete_this(Kind::Pod, pod).await;
        }
        "deletes a pod"
    }

    async fn deletes(&self, kind: Kind, name: &str) -> &'static str {
        self.cluster.delete(kind, name).await;
        match kind {
            Kind::Sandbox => "deletes a Sandbox",
            Kind::Claim => "deletes a claim",
            Kind::Policy => "deletes the policy",
            _ => "deletes a released claim",
        }
    }

    async fn holds(&mut self, agent: &str) -> &'static str {
        let to = self
            .rng
            .choice([Some("awake"), Some("asleep"), None, Some("nonsense")])
            .flatten();
        let patch = json!({"metadata": {"annotations": {"reveille.dev/hold": to}}});
        self.tries(Kind::Sandbox, agent, patch).await;
        "edits a hold"
    }

    async fn sets_shutdown_time(&mut self, agent: &str) -> &'static str {
        let seconds = self.rng.choice([-1, 2, 3_600]).unwrap();
        let time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        let time = time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let time = self.rng.choice([Some(time), None]).flatten();
        self.tries(
            Kind::Sandbox,
            agent,
            json!({"spec": {"shutdownTime": time}}),
        )
        .await;
        "sets a shutdownTime"
    }

    async fn edits_policy(&mut self) -> &'static str {
        let paused = self.rng.bool();
        self.tries(Kind::Policy, "all", json!({"spec": {"paused": paused}}))
            .await;
        "pauses the policy or lets it go on"
    }

    /// A patch of what may not be there.
    async fn tries(&self, kind: Kind, name: &str, patch: serde_json::Value) {
        match self.cluster.try_patch(kind, name, &patch).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => panic!("{kind:?} {name}: {error}"),
        }
    }

    /// Takes all pins away and makes what is missing.
    async fn makes_peace(&self) {
        self.make_missing().await;
        for number in 0..AGENTS {
            let name = format!("agent-{number}");
            // A Sandbox that is still going away takes its name along.
            until(&format!("{name} without pins"), || async {
                self.make_missing().await;
                let patch = json!({
                    "metadata": {"annotations": {"reveille.dev/hold": null}},
                    "spec": {"shutdownTime": null},
                });
                self.cluster
                    .try_patch(Kind::Sandbox, &name, &patch)
                    .await
                    .ok()
            })
            .await;
        }
        self.tries(Kind::Policy, "all", json!({"spec": {"paused": false}}))
            .await;
    }
}
