//! A fake API server, the watches on it, and what they have told so far.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use reveille_crds::SandboxKey;
use reveille_crds::change::{Change, ClaimFacts, SandboxFacts};
use reveille_crds::index::Index;
use reveille_kubernetes::connect;
use reveille_kubernetes::discovery::{self, Discovery};
use reveille_kubernetes::health::Health;
use reveille_kubernetes::watch::{self as watches, Scope};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fake::Fake;

/// For anything that is waited for. Only a broken test takes so long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) struct Bench {
    pub(crate) fake: Fake,
    pub(crate) index: Index,
    /// Texts of all changes so far: kind and name, with a `-` before what is gone.
    pub(crate) told: Vec<String>,
    pub(crate) health: watch::Receiver<Health>,
    pub(crate) discovery: Discovery,
    changes: mpsc::Receiver<Change>,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Bench {
    /// Watches what `prepared` holds.
    pub(crate) async fn on(fake: Fake) -> Self {
        Self::within(fake, Scope::default()).await
    }

    pub(crate) async fn within(fake: Fake, scope: Scope) -> Self {
        let client = client(&fake).await;
        let discovery = Discovery::new();
        let (tx, changes) = mpsc::channel(16);
        let (health_tx, health) = watch::channel(Health::default());
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(discovery::run(
            client.clone(),
            discovery.clone(),
            shutdown.clone(),
        ));
        let follow = watches::follow(
            client,
            discovery.clone(),
            scope,
            tx,
            health_tx,
            shutdown.clone(),
        );
        tasks.spawn(follow);
        Self {
            fake,
            index: Index::default(),
            told: Vec::new(),
            health,
            discovery,
            changes,
            shutdown,
            tasks,
        }
    }

    /// One that has told everything that existed.
    pub(crate) async fn synced(fake: Fake) -> Self {
        let mut bench = Self::on(fake).await;
        bench.until("everything", |index| index.synced()).await;
        bench
    }

    /// Takes changes until the index looks as wanted.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Index) -> bool) {
        let all = async {
            while !wanted(&self.index) {
                let change = self.changes.recv().await.expect("the watches go on");
                self.told.push(text(&change));
                self.index.apply(change);
            }
        };
        let done = tokio::time::timeout(DEADLINE, all).await;
        assert!(
            done.is_ok(),
            "waited for {what} in vain; told: {:?}",
            self.told
        );
    }

    /// Until a Sandbox is told that was put just for that: what was on its way before has arrived. Only
    /// Sandboxes come in the order of their events.
    pub(crate) async fn quiet(&mut self, marker: &str) {
        self.fake.put(
            crate::fake::store::Kind::Sandbox,
            crate::objects::awake(marker),
        );
        let key = key(marker);
        self.until(marker, |index| index.target(&key).is_some())
            .await;
    }

    pub(crate) async fn until_healthy(&mut self, what: &str, wanted: impl FnMut(&Health) -> bool) {
        let done = tokio::time::timeout(DEADLINE, self.health.wait_for(wanted)).await;
        assert!(done.is_ok(), "waited for {what} in vain");
    }

    pub(crate) fn sandbox(&self, name: &str) -> Option<SandboxFacts> {
        let (_, facts) = self.index.target(&key(name))?.sandbox?;
        Some(SandboxFacts::clone(&facts))
    }

    pub(crate) fn claim(&self, name: &str) -> Option<ClaimFacts> {
        let (_, facts) = self.index.target(&key(name))?.claim?;
        Some(ClaimFacts::clone(&facts))
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.index
            .targets()
            .map(|key| key.name().to_owned())
            .collect()
    }

    /// How often something was told.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.told.iter().filter(|told| *told == text).count()
    }

    /// Ends the watches; they have a moment, not more.
    pub(crate) async fn end(mut self) {
        self.shutdown.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(DEADLINE, ended).await.unwrap();
    }
}

pub(crate) fn key(name: &str) -> SandboxKey {
    SandboxKey::new("agents", name).unwrap()
}

/// Until a change of the fake has been noticed some way that only asking shows.
pub(crate) async fn until(what: &str, wanted: impl Fn() -> bool) {
    let all = async {
        while !wanted() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let done = tokio::time::timeout(DEADLINE, all).await;
    assert!(done.is_ok(), "waited for {what} in vain");
}

/// A client by way of a kubeconfig, as a user has it.
pub(crate) async fn client(fake: &Fake) -> kube::Client {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    write_kubeconfig(&path, &format!("http://{}", fake.address()));
    let options = connect::Options {
        kubeconfig: Some(path),
        user_agent: "reveille-test/1".to_owned(),
    };
    connect::client(options).await.unwrap().0
}

pub(crate) fn write_kubeconfig(path: &Path, server: &str) {
    let cluster = BTreeMap::from([("server", server)]);
    let text = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": cluster}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it", "namespace": "home"}}],
        "users": [{"name": "it", "user": {}}],
    });
    std::fs::write(path, text.to_string()).unwrap();
}

fn text(change: &Change) -> String {
    let (kind, key, there) = match change {
        Change::Sandbox(key, facts) => ("sandbox", key, facts.is_some()),
        Change::Pod(key, facts) => ("pod", key, facts.is_some()),
        Change::Claim(key, facts) => ("claim", key, facts.is_some()),
        Change::Policy(key, facts) => ("policy", key, facts.is_some()),
        Change::Synced => return "synced".to_owned(),
    };
    let sign = if there { "" } else { "-" };
    format!("{sign}{kind} {}", key.name())
}
