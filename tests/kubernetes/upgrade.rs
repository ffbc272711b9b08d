//! Upstream's kinds are upgraded from `v1alpha1` to `v1beta1` under Reveille, which goes on.
//!
//! ```text
//!   as in       0.4             0.5                                                  1.0
//!   served      v1alpha1        both; v1beta1 stored, upstream's webhook converts    v1beta1
//!   upstream    a stand-in      nobody yet      its controller                       its controller
//!   Reveille    all started     ───────────────── one of each runs on ─────────────────────────▶
//!                                               the other starts anew                and again
//! ```
//!
//! Upstream's controller of 0.4 is another version of the same Go module, so something of ours stands in for
//! it; all the rest is real.

mod served;
mod stand_in;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use reveille_testbed::{Options, Part as Upstream, Testbed};
use serde_json::{Value, json};

use crate::support::cluster::{Cluster, Setup};
use crate::support::http::send;
use crate::support::load::Load;
use crate::support::manifests::{Agent, FLEET, claim, policy, pool};
use crate::support::objects::Kind;
use crate::support::part::Part;
use crate::support::plane::Plane;
use crate::support::until;

use served::Served;
use stand_in::StandIn;

#[tokio::test]
async fn sandboxes_wake_and_sleep_while_their_api_is_upgraded() {
    let mut stage = Stage::before().await;
    stage.wake_and_sleep(&["v1alpha1"]).await;
    let warm = stage.answer("warm", 0).await;
    let load = stage.load();

    stage.old_controller = None;
    stage.served.both().await;
    let door = stage.cluster.door(0);
    let asked = tokio::spawn(async move { door.get("erin", "/").await });
    load.answers(20).await;
    let controller = Upstream::SandboxController;
    stage.testbed.start_part(controller).await.unwrap();
    let asked = asked.await.unwrap();
    let refused = asked.status == 503 && asked.json()["reason"].is_string();
    assert!(asked.status == 200 || refused, "{asked:?}");
    stage.answer("erin", 1).await;
    stage.wake_and_sleep(&["v1alpha1", "v1beta1"]).await;
    unharmed(load).await;
    stage.start_anew().await;
    let load = stage.load();
    // Some parts know the new version by now, the others follow.
    stage.wake_and_sleep(&["v1alpha1", "v1beta1"]).await;
    stage.all_know_the_new().await;
    stage.answer("dora", 0).await;
    let released = stage
        .cluster
        .await_object("released", Kind::Released, "dora", |_| true);
    released.await;

    stage.served.only_new(&stage.cluster.namespace).await;
    load.answers(20).await;
    stage.wake_and_sleep(&["v1beta1"]).await;
    stage.answer("dora", 1).await;
    unharmed(load).await;
    stage.start_anew().await;
    stage.wake_and_sleep(&["v1beta1"]).await;

    let rested = stage.answer("carol", 1).await;
    assert_eq!(rested["wakes"], 2, "its volume is the one from before all");
    let same = stage.answer("warm", 0).await;
    assert_eq!(
        same["name"], warm["name"],
        "the pod is the one from before all"
    );
    stage.cluster.nobody_panicked();
}

/// The clients of a sandbox that was awake all the time noticed nothing.
async fn unharmed(load: Load) {
    let tally = load.end().await;
    assert!(
        tally.refusals.is_empty() && tally.failures.is_empty(),
        "{tally:?}"
    );
}

/// Woken and put to sleep all the time: alice by requests, bob by an operator.
const SLEEPERS: [&str; 2] = ["alice", "bob"];

/// The control plane, Reveille in it, and what became of the sandboxes.
struct Stage {
    testbed: Testbed,
    served: Served,
    cluster: Cluster,
    old_controller: Option<StandIn>,
    /// How often each of [`SLEEPERS`] was woken.
    wakes: [u64; 2],
}

impl Stage {
    /// Sandboxes made, woken and put to sleep as `v1alpha1`; a claim that nobody serves yet.
    async fn before() -> Self {
        let options = Options {
            conversion: true,
            ..Options::default()
        };
        let testbed = Testbed::start(options).await.unwrap();
        let plane = Plane {
            kubeconfig: testbed.facts().kubeconfig(),
            audit_log: testbed.audit_log(),
        };
        testbed.kill(Upstream::SandboxController).await.unwrap();
        let served = Served::by(&testbed).await;
        served.only_old().await;
        let cluster = Setup::default().on(&plane).start().await;
        let stage = Self {
            old_controller: Some(StandIn::of(&cluster)),
            testbed,
            served,
            cluster,
            wakes: [0, 0],
        };
        let fleet = policy(json!({
            "cooldownPeriod": 1, "minimumUptime": 0, "wake": {"strategy": "Bind"},
        }));
        stage.create(&fleet).await;
        for name in ["alice", "bob", "carol", "erin"] {
            let mut sandbox = old(Agent::asleep(name).sandbox());
            sandbox["metadata"]["annotations"] = json!({"team": "blue"});
            stage.create(&sandbox).await;
        }
        // No policy's.
        let mut warm = old(Agent::awake("warm").sandbox());
        warm["metadata"]["labels"] = json!({});
        stage.create(&warm).await;
        let mut dora = old(claim("dora", json!({})));
        dora["spec"] = json!({"sandboxTemplateRef": {"name": "mould"}, "warmpool": "pool"});
        stage.create(&dora).await;
        for manifest in pool(&Agent::mould(), 1) {
            stage.create(&old(manifest)).await;
        }
        assert_eq!(stage.answer("carol", 0).await["wakes"], 1);
        stage.cluster.await_state("carol", "asleep").await;
        let stored = stage.served.stored(&stage.cluster.namespace, "carol").await;
        assert_eq!(stored["apiVersion"], "agents.x-k8s.io/v1alpha1");
        stage
    }

    async fn create(&self, manifest: &Value) {
        let namespace = &self.cluster.namespace;
        self.served.create(namespace, manifest).await.unwrap();
    }

    fn load(&self) -> Load {
        let names = ["warm".to_owned()];
        Load::on(&self.cluster, &names, Duration::from_millis(100))
    }

    /// What a sandbox says of itself through an activator; a refusal is followed by another try.
    async fn answer(&self, name: &str, door: usize) -> Value {
        until(&format!("an answer of {name}"), || async {
            let reply = self.cluster.door(door).get(name, "/").await;
            (reply.status == 200).then(|| reply.json())
        })
        .await
    }

    /// Wakes alice through each activator and bob by each scaler, and lets them fall asleep again; each of
    /// these versions shows the same.
    async fn wake_and_sleep(&mut self, versions: &[&str]) {
        self.asleep(versions).await;
        for part in 0..2 {
            let told = async {
                self.wake_bob(&self.cluster.scalers[part], versions[0])
                    .await;
                self.answer("bob", part).await
            };
            let (alice, bob) = tokio::join!(self.answer("alice", part), told);
            for (about, wakes) in [alice, bob].iter().zip(&mut self.wakes) {
                let before = std::mem::replace(wakes, about["wakes"].as_u64().unwrap());
                assert!(before < *wakes, "its volume is not the same: {about}");
            }
            self.asleep(versions).await;
        }
    }

    /// Waits until both are asleep and every scaler knows it; nothing that an upgrade must not touch was touched.
    async fn asleep(&self, versions: &[&str]) {
        for (name, wakes) in SLEEPERS.into_iter().zip(self.wakes) {
            self.cluster.await_gone(Kind::Pod, name).await;
            for scaler in &self.cluster.scalers {
                until(&format!("{name} asleep by {}", scaler.name), || async {
                    let reply = scaler.operator(&self.path(name)).await.unwrap();
                    (reply.status == 200 && reply.json()["state"] == "asleep").then_some(())
                })
                .await;
            }
            for version in versions {
                let namespace = &self.cluster.namespace;
                let sandbox = self.served.get(namespace, version, name).await.unwrap();
                is_asleep(&sandbox, version);
                assert_eq!(epoch(&sandbox), 2 * wakes, "{sandbox:#}");
            }
        }
    }

    /// An operator has bob woken by this scaler and no other.
    async fn wake_bob(&self, scaler: &Part, version: &str) {
        until(&format!("bob told to wake by {}", scaler.name), || async {
            let request = Request::post(format!("{}/wake", self.path("bob")))
                .header("host", "reveille")
                .body(Empty::<Bytes>::new())
                .unwrap();
            let reply = send(scaler.admin, request).await.unwrap();
            reply.status.is_success().then_some(())
        })
        .await;
        until("bob's next epoch", || async {
            let bob = self
                .served
                .get(&self.cluster.namespace, version, "bob")
                .await;
            (epoch(&bob.unwrap()) > 2 * self.wakes[1]).then_some(())
        })
        .await;
    }

    fn path(&self, name: &str) -> String {
        format!("/v1/sandboxes/{}/{name}", self.cluster.namespace)
    }

    /// One activator and the scaler that does not lead end, and start in the world as it is.
    async fn start_anew(&mut self) {
        let leader = self.cluster.leader().await;
        let scaler = &mut self.cluster.scalers[1 - leader];
        for part in [&mut self.cluster.activators[1], scaler] {
            part.stop().await;
            part.restart().await;
            part.ready().await;
        }
    }

    /// Waits until every part has noticed the new version by itself.
    async fn all_know_the_new(&self) {
        for part in self.cluster.activators.iter().chain(&self.cluster.scalers) {
            let knows = |event: &Value| {
                let said = event["message"].as_str().unwrap_or_default();
                said.contains("serves Sandbox v1beta1 and SandboxClaim v1beta1")
            };
            part.log.event("the new version", knows).await;
        }
    }
}

fn is_asleep(sandbox: &Value, version: &str) {
    let (spec, metadata) = (&sandbox["spec"], &sandbox["metadata"]);
    let (asleep, absent) = if version == "v1alpha1" {
        (spec["replicas"] == 0, &spec["operatingMode"])
    } else {
        (spec["operatingMode"] == "Suspended", &spec["replicas"])
    };
    assert!(asleep && absent.is_null(), "{sandbox:#}");
    assert_eq!(metadata["annotations"]["team"], "blue");
    assert_eq!(metadata["labels"], json!({FLEET: "tests"}));
    let volume = &spec["volumeClaimTemplates"][0];
    assert_eq!(volume["metadata"]["name"], "memory", "{sandbox:#}");
}

/// Grows with each wake and each sleep.
fn epoch(sandbox: &Value) -> u64 {
    let text = sandbox["metadata"]["annotations"]["reveille.dev/epoch"].as_str();
    text.map_or(0, |text| text.parse().unwrap())
}

/// A manifest in the words of `v1alpha1`.
fn old(mut manifest: Value) -> Value {
    let version = manifest["apiVersion"]
        .as_str()
        .unwrap()
        .replace("v1beta1", "v1alpha1");
    manifest["apiVersion"] = version.into();
    if let Some(mode) = manifest["spec"]
        .as_object_mut()
        .unwrap()
        .remove("operatingMode")
    {
        manifest["spec"]["replicas"] = u8::from(mode == "Running").into();
    }
    manifest
}
