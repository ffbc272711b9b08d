//! Which pods and Sandboxes there are, as a watch tells it: to know whose answer an answer may be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use kube::api::DynamicObject;
use kube::runtime::watcher;
use kube::runtime::watcher::Event;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::cluster::Cluster;
use crate::support::http::Reply;
use crate::support::objects::{Kind, text};
use crate::support::within;

/// Every pod and Sandbox of the namespace since the beginning of the watch; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Instances {
    pods: Pods,
    _watches: JoinSet<()>,
}

/// The same for tasks of their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pods {
    seen: Arc<Mutex<Seen>>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Seen {
    /// By UID.
    pods: HashMap<String, Pod>,
    /// By UID.
    sandboxes: HashMap<String, Sandbox>,
}

/// A pod.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    /// Name of its Sandbox.
    pub(crate) sandbox: String,
    /// UID of its Sandbox.
    pub(crate) sandbox_uid: String,
    /// It is being deleted, or gone.
    pub(crate) dying: bool,
    /// How its container ended before it was started again; null where it was not.
    #[expect(dead_code, reason = "shown when a test fails")]
    restarted: Value,
}

/// A Sandbox.
#[derive(Clone, Debug, Default)]
struct Sandbox {
    running: bool,
    /// The claim that controls it, or did.
    claim: Option<String>,
}

impl Instances {
    /// Watches the pods and Sandboxes of the test.
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let pods = Pods::default();
        let mut watches = JoinSet::new();
        for kind in [Kind::Pod, Kind::Sandbox] {
            let (told, api) = (pods.clone(), cluster.api(kind));
            watches.spawn(async move {
                let mut events = watcher(api, watcher::Config::default()).boxed();
                while let Some(event) = events.next().await {
                    match event {
                        Ok(Event::Apply(object) | Event::InitApply(object)) => {
                            told.see(kind, &object, false)
                        }
                        Ok(Event::Delete(object)) => told.see(kind, &object, true),
                        // The watch begins again by itself.
                        Ok(Event::Init | Event::InitDone) | Err(_) => {}
                    }
                }
            });
        }
        Self {
            pods,
            _watches: watches,
        }
    }

    /// A handle for tasks.
    pub(crate) fn pods(&self) -> Pods {
        self.pods.clone()
    }
}

impl Pods {
    /// UIDs of pods that are dying or gone.
    pub(crate) fn dying(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.pods
            .iter()
            .filter(|(_, pod)| pod.dying)
            .map(|(uid, _)| uid.clone())
            .collect()
    }

    /// How many pods a Sandbox has had.
    pub(crate) fn of(&self, sandbox: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        let of = |pod: &&Pod| pod.sandbox == sandbox;
        seen.pods.values().filter(of).count()
    }

    /// Waits until the watch tells that a pod is dying or gone.
    pub(crate) async fn await_dying(&self, uid: &str) {
        self.wait(
            &format!("the watch to tell of the end of pod {uid}"),
            |seen| seen.pods.get(uid).filter(|pod| pod.dying).map(drop),
        )
        .await;
    }

    /// A pod; waits until the watch tells of it.
    pub(crate) async fn await_pod(&self, uid: &str) -> Pod {
        self.wait(&format!("the watch to tell of pod {uid}"), |seen| {
            seen.pods.get(uid).cloned()
        })
        .await
    }

    /// Waits until a Sandbox is told to sleep, or is asleep already.
    pub(crate) async fn told_to_sleep(&self, uid: &str) {
        let asleep = |seen: &Seen| {
            seen.sandboxes
                .get(uid)
                .filter(|sandbox| !sandbox.running)
                .map(drop)
        };
        self.wait(&format!("Sandbox {uid} told to sleep"), asleep)
            .await;
    }

    /// The claim that controls a Sandbox, or did; waits until the watch tells of one.
    pub(crate) async fn claim_of(&self, sandbox_uid: &str) -> String {
        let claim = |seen: &Seen| seen.sandboxes.get(sandbox_uid)?.claim.clone();
        self.wait(&format!("the claim of Sandbox {sandbox_uid}"), claim)
            .await
    }

    async fn wait<T>(&self, what: &str, look: impl Fn(&Seen) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        let wait = async {
            loop {
                if let Some(found) = look(&self.seen.lock().unwrap()) {
                    return found;
                }
                changed.changed().await.unwrap();
            }
        };
        within(what, wait).await
    }

    fn see(&self, kind: Kind, object: &DynamicObject, gone: bool) {
        let Some(uid) = object.metadata.uid.clone() else {
            return;
        };
        let owners = object.metadata.owner_references.iter().flatten();
        let owner = owners
            .into_iter()
            .find(|owner| owner.controller == Some(true));
        let mut seen = self.seen.lock().unwrap();
        if kind == Kind::Pod {
            let Some(owner) = owner else { return };
            let pod = Pod {
                sandbox: owner.name.clone(),
                sandbox_uid: owner.uid.clone(),
                dying: gone || object.metadata.deletion_timestamp.is_some(),
                restarted: object.data["status"]["containerStatuses"][0]["lastState"].clone(),
            };
            seen.pods.insert(uid, pod);
        } else {
            let sandbox = seen.sandboxes.entry(uid).or_default();
            sandbox.running = !gone && object.data["spec"]["operatingMode"] == "Running";
            if let Some(owner) = owner.filter(|owner| owner.kind == "SandboxClaim") {
                sandbox.claim = Some(owner.name.clone());
            }
        }
        drop(seen);
        self.changed.send_replace(());
    }
}

/// UID of the pod that gave this answer to `GET /`.
#[track_caller]
pub(crate) fn answered_by(reply: &Reply) -> String {
    let about: Value = reply.json();
    text(&about["name"])
}
