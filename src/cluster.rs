//! What activator and scaler have in common on Kubernetes: who they are, their client, their watches.

use anyhow::Context;
use prometheus_client::registry::Registry;
use reveille_crds::change::Change;
use reveille_crds::subject;
use reveille_kubernetes::connect;
use reveille_kubernetes::discovery::{self, Discovery};
use reveille_kubernetes::health::Health;
use reveille_kubernetes::watch::{self as follow, Scope};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::cli::{BadConfiguration, ClusterArgs};
use crate::running::{Part, Running};

mod metrics;

/// Changes on their way from the watches to their reader, each a pointer to facts. The watches wait while
/// the reader does, so this only smooths scheduling.
const CHANGES: usize = 256;

/// The Kubernetes API, as one component sees it.
pub(crate) struct Cluster {
    pub(crate) client: kube::Client,
    /// Where this component is at home.
    pub(crate) namespace: String,
    pub(crate) discovery: Discovery,
    /// This replica's name.
    pub(crate) name: String,
}

/// What the watches tell.
pub(crate) struct Watched {
    pub(crate) changes: mpsc::Receiver<Change>,
    pub(crate) health: watch::Receiver<Health>,
}

impl Cluster {
    /// A client; whether the API is there will be seen.
    ///
    /// # Errors
    /// [`BadConfiguration`] if there is no way to an API.
    pub(crate) async fn connect(args: &ClusterArgs, component: &str) -> anyhow::Result<Self> {
        let options = connect::Options {
            kubeconfig: args.kubeconfig.clone(),
            user_agent: format!("{component}/{}", env!("CARGO_PKG_VERSION")),
        };
        let (client, namespace) = connect::client(options)
            .await
            .map_err(|error| BadConfiguration(format!("--kubeconfig: {error}")))?;
        Ok(Self {
            client,
            namespace,
            discovery: Discovery::new(),
            name: name(args)?,
        })
    }

    /// Follows the objects of the namespaces that `args` name until `shutdown`.
    pub(crate) fn watch(
        &self,
        args: &ClusterArgs,
        leftovers: bool,
        parts: &mut Running,
        registry: &mut Registry,
        shutdown: &CancellationToken,
    ) -> Watched {
        let looking = discovery::run(
            self.client.clone(),
            self.discovery.clone(),
            shutdown.clone(),
        );
        parts.spawn_sure(Part::Discovery, looking);
        let (tell, changes) = mpsc::channel(CHANGES);
        let (report, health) = watch::channel(Health::default());
        // An empty variable is as none.
        let named = args.watch_namespace.iter().filter(|name| !name.is_empty());
        let scope = Scope {
            namespaces: named.cloned().collect(),
            leftovers,
        };
        let following = follow::follow(
            self.client.clone(),
            self.discovery.clone(),
            scope,
            tell,
            report,
            shutdown.clone(),
        );
        parts.spawn_sure(Part::Watch, following);
        metrics::register(registry, health.clone());
        Watched { changes, health }
    }
}

/// This replica's name among its like, as one token of a NATS subject.
fn name(args: &ClusterArgs) -> anyhow::Result<String> {
    let Some(name) = &args.name else {
        let host = nix::unistd::gethostname().context("asking for the host's name; give --name")?;
        return Ok(subject::activator_token(&host.to_string_lossy()));
    };
    if name.is_empty() {
        return Err(BadConfiguration("--name is empty".to_owned()).into());
    }
    Ok(subject::activator_token(name))
}

/// A watch that has nothing to watch: all is known, for ever.
pub(crate) fn nothing() -> watch::Receiver<Health> {
    let health = Health {
        synced: true,
        ..Health::default()
    };
    watch::channel(health).1
}

/// Whether everything is known and up to date of both, as it changes; ends with the first.
pub(crate) async fn follow_current(
    mut one: watch::Receiver<Health>,
    mut other: watch::Receiver<Health>,
    current: watch::Sender<bool>,
) {
    let is_current = |health: &Health| health.synced && health.failing.is_empty();
    loop {
        // Both are looked at, or the one that was not would count as news for ever.
        let both = [
            is_current(&one.borrow_and_update()),
            is_current(&other.borrow_and_update()),
        ];
        let both = both == [true; 2];
        current.send_if_modified(|before| std::mem::replace(before, both) != both);
        // Whichever has news, both are looked at.
        tokio::select! {
            changed = one.changed() => if changed.is_err() { return },
            Ok(()) = other.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reveille_kubernetes::health::Failing;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn what_is_known_is_current_while_all_watches_run() {
        let (one, of_one) = watch::channel(Health::default());
        let (other, of_other) = watch::channel(Health::default());
        let (tell, mut current) = watch::channel(false);
        let following = tokio::spawn(follow_current(of_one, of_other, tell));
        one.send_modify(|health| health.synced = true);
        tokio::task::yield_now().await;
        assert!(!*current.borrow(), "the other is not known yet");
        other.send_modify(|health| health.synced = true);
        current.wait_for(|current| *current).await.unwrap();
        let failing = Failing {
            since: Instant::now().into_std(),
            why: "cut".into(),
        };
        let what: Arc<str> = "pods".into();
        other.send_modify(|health| drop(health.failing.insert(Arc::clone(&what), failing)));
        current.wait_for(|current| !*current).await.unwrap();
        other.send_modify(|health| drop(health.failing.remove(&what)));
        current.wait_for(|current| *current).await.unwrap();
        drop((one, other));
        following.await.unwrap();
    }
}
