//! A testbed, the watches on it, and what they have told so far.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use kube::api::{Api, DeleteParams, PostParams};
use reveille_crds::SandboxKey;
use reveille_crds::change::Change;
use reveille_crds::index::Index;
use reveille_crds::sandbox::Sandbox;
use reveille_kubernetes::connect;
use reveille_kubernetes::discovery::{self, Discovery};
use reveille_kubernetes::health::Health;
use reveille_kubernetes::watch::{Scope, follow};
use reveille_testbed::{Nodes, Options, Testbed};
use serde_json::json;
use tokio::sync::{OnceCell, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// For anything that is waited for; a machine that builds and tests much else at a time is slow.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Neither nodes nor a controller: what is watched is what the test writes.
pub(crate) fn bare() -> Options {
    Options {
        nodes: Nodes::None,
        controller: false,
        audit: false,
        ..Options::default()
    }
}

/// The one that no test harms.
pub(crate) async fn shared() -> &'static Testbed {
    static SHARED: OnceCell<Testbed> = OnceCell::const_new();
    SHARED
        .get_or_init(|| async { Testbed::start(bare()).await.unwrap() })
        .await
}

pub(crate) struct Bench {
    pub(crate) index: Index,
    pub(crate) told: Vec<Change>,
    pub(crate) health: watch::Receiver<Health>,
    pub(crate) discovery: Discovery,
    changes: mpsc::Receiver<Change>,
    _life: DropGuard,
}

impl Bench {
    /// Watches as whoever the kubeconfig is of.
    pub(crate) async fn on(kubeconfig: &Path, scope: Scope) -> Self {
        let client = client(kubeconfig).await;
        let discovery = Discovery::new();
        let shutdown = CancellationToken::new();
        let (tx, changes) = mpsc::channel(64);
        let (health_tx, health) = watch::channel(Health::default());
        tokio::spawn(discovery::run(
            client.clone(),
            discovery.clone(),
            shutdown.clone(),
        ));
        tokio::spawn(follow(
            client,
            discovery.clone(),
            scope,
            tx,
            health_tx,
            shutdown.clone(),
        ));
        Self {
            index: Index::default(),
            told: Vec::new(),
            health,
            discovery,
            changes,
            _life: shutdown.drop_guard(),
        }
    }

    /// One that has told everything that existed.
    pub(crate) async fn synced(kubeconfig: &Path, scope: Scope) -> Self {
        let mut bench = Self::on(kubeconfig, scope).await;
        bench.until("everything", Index::synced).await;
        bench
    }

    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Index) -> bool) {
        let all = async {
            while !wanted(&self.index) {
                let change = self.changes.recv().await.expect("the watches go on");
                self.told.push(change.clone());
                self.index.apply(change);
            }
        };
        let done = tokio::time::timeout(DEADLINE, all).await;
        assert!(
            done.is_ok(),
            "waited for {what} in vain: {:?}",
            self.health.borrow()
        );
    }

    pub(crate) async fn until_healthy(&mut self, what: &str, wanted: impl FnMut(&Health) -> bool) {
        let done = tokio::time::timeout(DEADLINE, self.health.wait_for(wanted)).await;
        let done = done.map(|it| drop(it.unwrap()));
        assert!(
            done.is_ok(),
            "waited for {what} in vain: {:?}",
            self.health.borrow()
        );
    }

    /// Whether a Sandbox was ever told gone.
    pub(crate) fn was_told_gone(&self, key: &SandboxKey) -> bool {
        self.told.contains(&Change::Sandbox(key.clone(), None))
    }

    pub(crate) fn uid(&self, key: &SandboxKey) -> Option<String> {
        let (_, facts) = self.index.target(key)?.sandbox?;
        Some(facts.uid.to_string())
    }
}

pub(crate) async fn client(kubeconfig: &Path) -> kube::Client {
    let options = connect::Options {
        kubeconfig: Some(kubeconfig.to_owned()),
        user_agent: "reveille-test/1".to_owned(),
    };
    connect::client(options).await.unwrap().0
}

/// Of the API server.
pub(crate) fn address(testbed: &Testbed) -> SocketAddr {
    let url = &testbed.facts().api_url;
    url.trim_start_matches("https://").parse().unwrap()
}

pub(crate) fn key(namespace: &str, name: &str) -> SandboxKey {
    SandboxKey::new(namespace, name).unwrap()
}

/// The Sandboxes of a namespace, as the administrator writes them.
pub(crate) struct Sandboxes(Api<Sandbox>);

impl Sandboxes {
    pub(crate) fn of(testbed: &Testbed, namespace: &str) -> Self {
        Self(Api::namespaced(testbed.client().unwrap(), namespace))
    }

    pub(crate) async fn create(&self, name: &str) -> String {
        let object = json!({
            "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox", "metadata": {"name": name},
            "spec": {"podTemplate": {"spec": {"containers": [{"name": "agent", "image": "agent:1"}]}}},
        });
        let object = serde_json::from_value(object).unwrap();
        let made = self.0.create(&PostParams::default(), &object).await;
        made.unwrap().metadata.uid.unwrap()
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.0.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// The revision of etcd that the API server is at.
    pub(crate) async fn revision(&self) -> u64 {
        let list = self
            .0
            .list(&kube::api::ListParams::default())
            .await
            .unwrap();
        list.metadata.resource_version.unwrap().parse().unwrap()
    }
}
