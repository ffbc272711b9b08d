//! The pods of the node: one watch, and a task for each of them.
//!
//! Level, not edge: what a watch says again changes nothing, and what it no longer lists is gone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use reveille_lifecycle::local::{Stop, grace};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::api::Steps;
use super::worker::{Node, Worker};

/// The shortest time between SIGTERM and SIGKILL, also for a pod deleted by force; as the kubelet's.
const SHORTEST_GRACE: Duration = Duration::from_secs(1);

/// The same when the node itself ends.
const LAST_GRACE: Duration = Duration::from_millis(500);

/// All pods that the API has on this node, by UID.
pub(super) struct Agent {
    node: Arc<Node>,
    pods: HashMap<String, Handle>,
    tasks: JoinSet<()>,
    /// Deletes what ended pods left, one round at a time.
    cleaner: JoinSet<()>,
}

struct Handle {
    stop: Stop,
    gone: CancellationToken,
}

impl Agent {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            pods: HashMap::new(),
            tasks: JoinSet::new(),
            cleaner: JoinSet::new(),
        }
    }

    /// Runs the node's pods until `shutdown`, then ends their processes.
    pub(super) async fn run(mut self, shutdown: &CancellationToken) {
        let pods: Api<Pod> = Api::all(self.node.client.clone());
        let ours = format!("spec.nodeName={}", self.node.name);
        let config = watcher::Config::default().fields(&ours);
        let mut watch = std::pin::pin!(watcher(pods, config).backoff(Steps::default()));
        // UIDs of the list that is under way.
        let mut listed = HashSet::new();
        let mut well = true;
        loop {
            let event = tokio::select! {
                biased; // the end first; ended tasks are few and free memory
                () = shutdown.cancelled() => break,
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the task of a pod ended early");
                    }
                    self.clean();
                    continue;
                }
                event = watch.try_next() => event,
            };
            self.tell_health(&mut well, event.as_ref().err());
            match event {
                Ok(Some(Event::Init)) => listed.clear(),
                Ok(Some(Event::InitApply(pod))) => {
                    listed.extend(pod.metadata.uid.clone());
                    self.seen(pod, shutdown);
                }
                Ok(Some(Event::InitDone)) => self.forget(|uid| !listed.contains(uid)),
                Ok(Some(Event::Apply(pod))) => self.seen(pod, shutdown),
                Ok(Some(Event::Delete(pod))) => {
                    self.forget(|uid| pod.metadata.uid.as_deref() == Some(uid));
                }
                Ok(None) => break,
                Err(_) => {}
            }
        }
        for handle in self.pods.values() {
            handle.gone.cancel();
            handle.stop.within(LAST_GRACE);
        }
        while self.tasks.join_next().await.is_some() {}
        while self.cleaner.join_next().await.is_some() {}
    }

    fn seen(&mut self, pod: Pod, shutdown: &CancellationToken) {
        let Some(uid) = pod.metadata.uid.clone() else {
            return;
        };
        let deletion = pod.metadata.deletion_timestamp.is_some().then(|| {
            let seconds = pod.metadata.deletion_grace_period_seconds;
            let given = seconds.map(|it| Duration::from_secs(it.unsigned_abs()));
            let spec = || pod.spec.as_ref().map(grace).unwrap_or_default();
            given.unwrap_or_else(spec).max(SHORTEST_GRACE)
        });
        let handle = self.pods.entry(uid).or_insert_with(|| {
            let (stop, gone) = (Stop::default(), shutdown.child_token());
            let worker = Worker {
                node: Arc::clone(&self.node),
                pod,
                stop: stop.clone(),
                gone: gone.clone(),
            };
            self.tasks.spawn(worker.run());
            Handle { stop, gone }
        });
        if let Some(grace) = deletion {
            handle.stop.within(grace);
        }
    }

    /// The API has them no more: nobody is told, and what still runs of them ends.
    fn forget(&mut self, which: impl Fn(&str) -> bool) {
        self.pods.retain(|uid, handle| {
            let gone = which(uid);
            if gone {
                handle.gone.cancel();
                handle.stop.within(SHORTEST_GRACE);
            }
            !gone
        });
    }

    fn tell_health(&self, well: &mut bool, error: Option<&watcher::Error>) {
        if error.is_none() == *well {
            return;
        }
        *well = error.is_none();
        let node = &self.node.name;
        match error {
            None => tracing::info!(%node, "node {node} watches its pods again"),
            Some(error) => {
                tracing::warn!(%node, %error, "node {node} cannot watch its pods, which run on: {error}");
            }
        }
    }

    fn clean(&mut self) {
        while self.cleaner.try_join_next().is_some() {}
        if self.cleaner.is_empty() {
            let machine = Arc::clone(&self.node.machine);
            self.cleaner.spawn_blocking(move || machine.empty_trash());
        }
    }
}
