//! A controller on a temporary state folder, and words to speak with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use reveille_crds::SandboxKey;
use reveille_crds::sandbox::OperatingMode;
use reveille_crds::scaled_sandbox::validate;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::local::{Config, Controller, Error};
use crate::manifest;
use crate::store::{ClaimObject, ModeChange, SandboxObject, Store};

/// Far above what anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

pub(super) struct Bench {
    pub(super) store: Store,
    pub(super) dir: PathBuf,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

pub(super) fn key(name: &str) -> SandboxKey {
    SandboxKey::new("agents", name).unwrap()
}

/// A Sandbox that runs a shell script; `pod` and `spec` are further lines of the pod spec and the spec.
pub(super) fn agent(name: &str, script: &str, container: &str, pod: &str, spec: &str) -> String {
    let script = serde_json::to_string(script).unwrap();
    format!(
        "---
apiVersion: agents.x-k8s.io/v1beta1
kind: Sandbox
metadata: {{name: {name}, namespace: agents}}
spec:
  {spec}
  podTemplate:
    spec:
      {pod}
      containers:
      - name: agent
        command: [sh, -c, {script}]
        {container}
"
    )
}

pub(super) const VOLUME: &str = "volumeClaimTemplates: [{metadata: {name: data}, spec: {}}]";
pub(super) const MOUNT: &str = "volumeMounts: [{name: data, mountPath: /data}]";
/// Ends at once at SIGTERM.
pub(super) const SLEEPER: &str = "exec sleep 100000";

pub(super) fn config(dir: &Path) -> Config {
    let env = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into();
    Config {
        state_dir: dir.to_owned(),
        logs: false,
        env,
        path_dirs: Vec::new(),
    }
}

pub(super) async fn open(dir: &Path, yaml: &str) -> Result<Controller, Error> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.yaml");
    std::fs::write(&file, yaml).unwrap();
    let objects = manifest::load(&[file], validate).unwrap();
    Controller::open(config(dir), objects).await
}

impl Bench {
    pub(super) async fn start(dir: &Path, yaml: &str) -> Self {
        let controller = open(dir, yaml).await.unwrap();
        let store = controller.store();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(controller.run(shutdown.clone()));
        Self {
            store,
            dir: dir.canonicalize().unwrap(),
            shutdown,
            task,
        }
    }

    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(DEADLINE, self.task)
            .await
            .expect("an end")
            .unwrap()
            .unwrap();
    }

    /// As a `kill -9`: no agent is ended, only the task is gone and the lock with it.
    pub(super) async fn abandon(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    /// Waits until `look` sees it, looking after each change.
    pub(super) async fn until<T>(&self, what: &str, look: impl Fn(&Store) -> Option<T>) -> T {
        let mut feed = self.store.feed();
        let wait = async {
            loop {
                if let Some(seen) = look(&self.store) {
                    return seen;
                }
                feed.next().await;
            }
        };
        match tokio::time::timeout(DEADLINE, wait).await {
            Ok(seen) => seen,
            Err(_) => panic!("{what} did not come"),
        }
    }

    pub(super) async fn ready(&self, name: &str) -> Arc<Pod> {
        self.until(&format!("{name} ready"), |store| {
            let condition = condition(store, name, "Ready")?;
            let pod = store.get::<Pod>(&key(name))?;
            (condition.0 && pod.metadata.deletion_timestamp.is_none()).then_some(pod)
        })
        .await
    }

    pub(super) async fn asleep(&self, name: &str) {
        self.until(&format!("{name} asleep"), |store| {
            let (on, reason) = condition(store, name, "Suspended")?;
            (on && reason == "PodTerminated" && store.get::<Pod>(&key(name)).is_none())
                .then_some(())
        })
        .await;
    }

    pub(super) fn set(&self, name: &str, to: OperatingMode) {
        let object = self.store.get::<SandboxObject>(&key(name)).unwrap();
        let meta = &object.sandbox.metadata;
        let epoch = meta
            .annotations
            .as_ref()
            .and_then(|all| all.get("reveille.dev/epoch")?.parse().ok())
            .unwrap_or(0);
        let change = ModeChange {
            busy_until: None,
            key: key(name),
            uid: meta.uid.as_deref().unwrap().into(),
            epoch,
            from: object.sandbox.spec.operating_mode,
            to,
            cause: "api",
        };
        self.store.set_mode(&change).unwrap();
    }

    pub(super) fn uid(&self, name: &str) -> String {
        self.store
            .get::<SandboxObject>(&key(name))
            .unwrap()
            .sandbox
            .metadata
            .uid
            .clone()
            .unwrap()
    }

    pub(super) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(format!("logs/agents/{name}/agent.log")))
            .unwrap_or_default()
    }

    /// The Sandbox bound to a claim.
    pub(super) async fn bound(&self, claim: &str) -> (SandboxKey, Arc<SandboxObject>) {
        self.until(&format!("{claim} bound"), |store| {
            let claim = store.get::<ClaimObject>(&key(claim))?;
            let name = claim.claim.status.as_ref()?.sandbox.as_ref()?.name.clone();
            let ready = claim
                .claim
                .status
                .as_ref()?
                .conditions
                .iter()
                .any(|it| it.type_ == "Ready" && it.status == "True");
            ready.then(|| Some((key(&name), store.get::<SandboxObject>(&key(&name))?)))?
        })
        .await
    }
}

/// Whether a condition of a Sandbox is true, and its reason.
pub(super) fn condition(store: &Store, name: &str, kind: &str) -> Option<(bool, String)> {
    let object = store.get::<SandboxObject>(&key(name))?;
    let status = object.sandbox.status.as_ref()?;
    let found = status.conditions.iter().find(|it| it.type_ == kind)?;
    let fresh = found.observed_generation == object.sandbox.metadata.generation;
    fresh.then(|| (found.status == "True", found.reason.clone()))
}

/// Waits for the content of a file.
pub(super) async fn written(path: &Path, text: &str) {
    let wait = async {
        while !std::fs::read_to_string(path)
            .unwrap_or_default()
            .contains(text)
        {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    if tokio::time::timeout(DEADLINE, wait).await.is_err() {
        panic!(
            "{} never said {text:?}: {:?}",
            path.display(),
            std::fs::read_to_string(path)
        );
    }
}
