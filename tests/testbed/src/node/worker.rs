//! The life of one pod on the node, from the watch's first word of it to its DELETE.
//!
//! ```text
//! run ──▶ told to stop: SIGTERM, grace, SIGKILL ──▶ final status ──▶ DELETE (grace 0, this UID)
//!  └────▶ ended by itself: stays, Succeeded or Failed, until it is deleted
//! ```
//! As with a kubelet, a pod that is told to stop stays Ready until its process ends or its readiness probe
//! fails.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};
use reveille_lifecycle::local::{self, Address, Board, Folder, Identity, Machine, Stop};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::addresses::{self, Addresses};
use super::api::insist;
use super::folders::Volumes;
use super::script::{Ignored, Script};
use super::status::{self, Target};
use super::values::{Sources, plain};
use super::volumes::Bound;

/// Step between two tries to get what a pod needs (a ConfigMap, say), as the kubelet's.
const PREPARE_AGAIN: Duration = Duration::from_secs(2);

/// What all pods of the node share.
pub(super) struct Node {
    pub(super) client: Client,
    pub(super) name: String,
    pub(super) machine: Arc<Machine>,
    /// Of the testbed; every process has it in its environment.
    pub(super) mark: Option<String>,
    pub(super) bound: Bound,
    pub(super) addresses: Arc<Addresses>,
    /// Places among calls that are on their way.
    pub(super) calls: Semaphore,
}

/// One pod.
pub(super) struct Worker {
    pub(super) node: Arc<Node>,
    pub(super) pod: Pod,
    pub(super) stop: Stop,
    /// The API has it no more, or this node ends: nothing is to be told.
    pub(super) gone: CancellationToken,
}

impl Worker {
    pub(super) async fn run(self) {
        let identity = identity(&self.pod);
        let script = Script::of(&identity.annotations);
        let ignored = script.as_ref().ok().and_then(Option::as_ref);
        let ignored = ignored.and_then(|script| script.ignore);
        if ignored == Some(Ignored::Pod) {
            return;
        }
        let target = Target {
            api: Api::namespaced(self.node.client.clone(), &identity.namespace),
            name: identity.name.clone(),
            uid: identity.uid.clone(),
        };
        let spec = self.pod.spec.clone().unwrap_or_default();
        let previous = self.pod.status.as_ref();
        if !previous.is_some_and(is_terminal) {
            let (report, statuses) = status::channel();
            let board = Arc::new(Board::new(&spec, previous, report));
            let live = self.live(identity, script, board);
            tokio::join!(target.write(statuses, &self.node.calls, &self.gone), live);
        }
        tokio::select! {
            biased; // there is nothing to delete
            () = self.gone.cancelled() => return,
            () = self.stop.begun() => {}
        }
        if ignored != Some(Ignored::Deletion) {
            self.delete(&target).await;
        }
    }

    /// Runs it to its end. The last holder of `board` is dropped here, which lets the writer end.
    async fn live(
        &self,
        identity: Identity,
        script: Result<Option<Script>, String>,
        board: Arc<Board>,
    ) {
        if let Some(address) = self.address(&board).await {
            match script {
                Ok(None) => self.process(identity, &address, &board).await,
                Ok(Some(script)) => script.play(address.ip, &board, &self.stop).await,
                Err(message) => {
                    board.cannot_start(&message);
                    self.stop.begun().await;
                }
            }
        }
        if self.stop.has_begun() {
            board.close();
        }
    }

    async fn process(&self, identity: Identity, address: &addresses::Address, board: &Arc<Board>) {
        let machine = &self.node.machine;
        let uid = identity.uid.clone();
        let prepared = self.insist_on(board, || self.prepare(&identity, address));
        let Some((spec, folders)) = prepared.await else {
            return machine.discard_scratch(&uid);
        };
        let pod = local::Pod {
            machine: Arc::clone(machine),
            identity,
            spec,
            folders,
            address: Address::Own(address.ip),
            board: Arc::clone(board),
            stop: self.stop.clone(),
        };
        pod.run().await;
    }

    async fn address(&self, board: &Board) -> Option<addresses::Address> {
        let all = &self.node.addresses;
        let none = || "this node has no free address".to_owned();
        let take = || std::future::ready(all.take().ok_or_else(none));
        self.insist_on(board, take).await
    }

    async fn prepare(
        &self,
        identity: &Identity,
        address: &addresses::Address,
    ) -> Result<(PodSpec, Vec<Folder>), String> {
        let mut sources = Sources::new(&self.node, &identity.namespace);
        let spec = plain(&self.pod, address.ip, &mut sources).await?;
        let mut volumes = Volumes {
            node: &self.node,
            pod: &self.pod,
            identity,
            sources: &mut sources,
        };
        Ok((spec, volumes.folders().await?))
    }

    /// Tries as often as it takes, and says what is missing; `None` if told to stop meanwhile.
    async fn insist_on<T, F>(&self, board: &Board, make: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, String>>,
    {
        loop {
            let made = tokio::select! {
                biased; // an end beats a start
                () = self.stop.begun() => return None,
                made = make() => made,
            };
            match made {
                Ok(made) => return Some(made),
                Err(message) => board.cannot_start(&message),
            }
            tokio::select! {
                biased; // an end beats a start
                () = self.stop.begun() => return None,
                () = tokio::time::sleep(PREPARE_AGAIN) => {}
            }
        }
    }

    async fn delete(&self, target: &Target) {
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: Some(target.uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let Ok(_slot) = self.node.calls.acquire().await else {
            return;
        };
        let deleted = insist("deletion of a pod", &self.gone, || {
            target.api.delete(&target.name, &params)
        });
        match deleted.await {
            // Not there any more, or another of that name.
            Some(Err(failure)) if !matches!(failure.code(), Some(404 | 409)) => {
                let pod = &target.name;
                tracing::error!(%pod, %failure, "the API refuses to delete pod {pod}: {failure}");
            }
            _ => {}
        }
    }
}

fn is_terminal(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

fn identity(pod: &Pod) -> Identity {
    let meta = pod.metadata.clone();
    Identity {
        name: meta.name.unwrap_or_default(),
        namespace: meta.namespace.unwrap_or_default(),
        uid: meta.uid.unwrap_or_default(),
        labels: meta.labels.unwrap_or_default(),
        annotations: meta.annotations.unwrap_or_default(),
    }
}
