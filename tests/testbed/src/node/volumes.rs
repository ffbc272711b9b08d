//! Claims get PersistentVolumes: folders of this machine, which survive pods and go with their claim.
//!
//! The default StorageClass `testbed` binds at once. The volume is created for its claim, and the
//! control plane's own controller binds the two; the folder itself is made by the node that first runs a
//! pod with it (hostPath `DirectoryOrCreate`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::TryStreamExt;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::api::{MANAGER, Steps, insist};

/// Name of the StorageClass.
pub const CLASS: &str = "testbed";

const PROVISIONER: &str = "testbed.reveille.dev/folder";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// Writes at once: hundreds of sandboxes may be created in one second, and an API server on this machine
/// gets no faster beyond a few.
const AT_ONCE: usize = 16;

/// Folders of bound volumes, by namespace and name of their claim, then by volume.
type Folders = HashMap<(String, String), BTreeMap<String, PathBuf>>;

/// What is bound, as the API tells it.
#[derive(Clone, Default)]
pub(super) struct Bound {
    folders: watch::Sender<Folders>,
}

impl Bound {
    /// The folder of a claim, as soon as it is bound.
    pub(super) async fn folder(&self, namespace: &str, claim: &str) -> PathBuf {
        let key = (namespace.to_owned(), claim.to_owned());
        let mut folders = self.folders.subscribe();
        let found = folders
            .wait_for(|folders| folders.get(&key).is_some_and(|all| !all.is_empty()))
            .await;
        // The sender is `self`, and what was waited for is there.
        let found = found
            .ok()
            .and_then(|all| all.get(&key)?.values().next().cloned());
        match found {
            Some(folder) => folder,
            None => std::future::pending().await,
        }
    }
}

/// Creates and deletes volumes below `root` until `shutdown`; nothing but folders named `pvc-…` is ever
/// touched there.
pub async fn provision(client: Client, root: PathBuf, shutdown: CancellationToken) {
    keep(client, root, Bound::default(), shutdown).await;
}

/// As [`provision`], and tells what is bound.
pub(super) async fn keep(client: Client, root: PathBuf, bound: Bound, shutdown: CancellationToken) {
    let provisioner = Arc::new(Provisioner {
        volumes: Api::all(client.clone()),
        root,
        slots: Semaphore::new(AT_ONCE),
        shutdown: shutdown.clone(),
    });
    if create_class(&client, &shutdown).await.is_none() || provisioner.sweep().await.is_none() {
        return;
    }
    let claims: Api<PersistentVolumeClaim> = Api::all(client);
    let config = watcher::Config::default();
    let claims = watcher(claims, config.clone()).backoff(Steps::default());
    let volumes = watcher(provisioner.volumes.clone(), config).backoff(Steps::default());
    let (mut claims, mut volumes) = (std::pin::pin!(claims), std::pin::pin!(volumes));
    let mut jobs = JoinSet::new();
    let mut fresh = Folders::new();
    loop {
        tokio::select! {
            biased; // the end first; what is bound is waited for, what is to be bound next, the rest has time
            () = shutdown.cancelled() => break,
            event = volumes.try_next() => match event {
                Ok(Some(event)) => {
                    if let Event::Apply(volume) | Event::InitApply(volume) = &event {
                        provisioner.released(volume, &mut jobs);
                    }
                    note(event, &bound, &mut fresh);
                }
                Ok(None) => break,
                Err(error) => tracing::debug!(%error, "the watch of volumes failed; it begins again"),
            },
            event = claims.try_next() => match event {
                Ok(Some(Event::Apply(claim) | Event::InitApply(claim))) => provisioner.claimed(claim, &mut jobs),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => tracing::debug!(%error, "the watch of claims failed; it begins again"),
            },
            Some(_) = jobs.join_next() => {}
        }
    }
    while jobs.join_next().await.is_some() {}
}

struct Provisioner {
    volumes: Api<PersistentVolume>,
    root: PathBuf,
    slots: Semaphore,
    shutdown: CancellationToken,
}

impl Provisioner {
    /// Deletes folders whose volume was deleted while nobody looked.
    async fn sweep(&self) -> Option<()> {
        let all = ListParams::default();
        let known = insist("list of volumes", &self.shutdown, || {
            self.volumes.list(&all)
        })
        .await?;
        let Ok(known) =
            known.inspect_err(|failure| tracing::warn!(%failure, "cannot list volumes"))
        else {
            return Some(());
        };
        let known: HashSet<String> = known
            .items
            .into_iter()
            .filter_map(|volume| volume.metadata.name)
            .collect();
        let Ok(entries) = std::fs::read_dir(&self.root) else {
            return Some(());
        };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("pvc-") && !known.contains(&name) {
                delete(&entry.path()).await;
            }
        }
        Some(())
    }

    fn claimed(self: &Arc<Self>, claim: PersistentVolumeClaim, jobs: &mut JoinSet<()>) {
        let Some(volume) = self.volume(&claim) else {
            return;
        };
        let this = Arc::clone(self);
        jobs.spawn(async move {
            let Ok(_slot) = this.slots.acquire().await else {
                return;
            };
            let params = PostParams::default();
            let made = insist("volume", &this.shutdown, || {
                this.volumes.create(&params, &volume)
            });
            match made.await {
                Some(Err(failure)) if failure.code() != Some(409) => {
                    tracing::error!(%failure, "cannot create a volume: {failure}");
                }
                _ => {}
            }
        });
    }

    /// The volume for a claim that waits for one of ours.
    fn volume(&self, claim: &PersistentVolumeClaim) -> Option<PersistentVolume> {
        let (meta, spec) = (&claim.metadata, claim.spec.as_ref()?);
        let ours = spec.storage_class_name.as_deref() == Some(CLASS)
            && spec.volume_name.as_deref().unwrap_or_default().is_empty()
            && spec.volume_mode.as_deref() != Some("Block")
            && meta.deletion_timestamp.is_none();
        if !ours {
            return None;
        }
        let requests = spec
            .resources
            .as_ref()
            .and_then(|all| all.requests.as_ref());
        let storage = requests.and_then(|all| all.get("storage"));
        let name = format!("pvc-{}", meta.uid.as_ref()?);
        let volume = json!({
            "metadata": {"name": name, "annotations": {PROVISIONED_BY: PROVISIONER}},
            "spec": {
                "storageClassName": CLASS,
                "persistentVolumeReclaimPolicy": "Delete",
                "capacity": {"storage": storage},
                "accessModes": spec.access_modes,
                "hostPath": {"path": self.root.join(&name), "type": "DirectoryOrCreate"},
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": meta.namespace,
                    "name": meta.name, "uid": meta.uid},
            },
        });
        serde_json::from_value(volume).ok()
    }

    /// Deletes a volume whose claim is gone.
    fn released(self: &Arc<Self>, volume: &PersistentVolume, jobs: &mut JoinSet<()>) {
        let annotations = volume.metadata.annotations.as_ref();
        let provisioned = annotations.and_then(|all| all.get(PROVISIONED_BY));
        let spec = volume.spec.as_ref();
        let policy = spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
        let (Some(name), Some(folder)) = (volume.metadata.name.clone(), folder(volume)) else {
            return;
        };
        let over = phase(volume) == Some("Released")
            && volume.metadata.deletion_timestamp.is_none()
            && policy == Some("Delete")
            && provisioned.is_some_and(|by| by == PROVISIONER)
            && folder == self.root.join(&name);
        if !over {
            return;
        }
        let preconditions = Preconditions {
            uid: volume.metadata.uid.clone(),
            resource_version: None,
        };
        let this = Arc::clone(self);
        jobs.spawn(async move {
            delete(&folder).await;
            let params = DeleteParams {
                preconditions: Some(preconditions),
                ..DeleteParams::default()
            };
            // Deleted by somebody else meanwhile, at most.
            let _ = insist("volume", &this.shutdown, || {
                this.volumes.delete(&name, &params)
            })
            .await;
        });
    }
}

async fn create_class(client: &Client, shutdown: &CancellationToken) -> Option<()> {
    let classes: Api<StorageClass> = Api::all(client.clone());
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": PROVISIONER, "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate",
    });
    let (class, params) = (Patch::Apply(class), PatchParams::apply(MANAGER).force());
    let made = insist("storage class", shutdown, || {
        classes.patch(CLASS, &params, &class)
    })
    .await?;
    if let Err(failure) = made {
        tracing::error!(%failure, "cannot create StorageClass {CLASS}: {failure}");
    }
    Some(())
}

/// Keeps what is bound as told; what vanished during a gap goes with the end of the next list.
fn note(event: Event<PersistentVolume>, bound: &Bound, fresh: &mut Folders) {
    match event {
        Event::Init => fresh.clear(),
        Event::InitApply(volume) => set(&volume, fresh, phase(&volume) == Some("Bound")),
        Event::InitDone => {
            let fresh = std::mem::take(fresh);
            bound.folders.send_modify(|folders| *folders = fresh);
        }
        Event::Apply(volume) => {
            let on = phase(&volume) == Some("Bound");
            bound
                .folders
                .send_modify(|folders| set(&volume, folders, on));
        }
        Event::Delete(volume) => bound
            .folders
            .send_modify(|folders| set(&volume, folders, false)),
    }
}

fn set(volume: &PersistentVolume, folders: &mut Folders, on: bool) {
    let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.clone());
    let claim = claim.and_then(|claim| Some((claim.namespace?, claim.name?)));
    let (Some(claim), Some(name), Some(folder)) =
        (claim, volume.metadata.name.clone(), folder(volume))
    else {
        return;
    };
    if on {
        folders.entry(claim).or_default().insert(name, folder);
    } else if let Some(all) = folders.get_mut(&claim) {
        all.remove(&name);
        if all.is_empty() {
            folders.remove(&claim);
        }
    }
}

fn phase(volume: &PersistentVolume) -> Option<&str> {
    volume.status.as_ref()?.phase.as_deref()
}

fn folder(volume: &PersistentVolume) -> Option<PathBuf> {
    let spec = volume.spec.as_ref()?;
    let host = spec.host_path.as_ref().map(|host| &host.path);
    let path = host.or_else(|| spec.local.as_ref().map(|local| &local.path))?;
    Some(PathBuf::from(path))
}

async fn delete(folder: &Path) {
    match tokio::fs::remove_dir_all(folder).await {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(path = %folder.display(), %error, "cannot delete a volume");
        }
    }
}
