//! The volumes of one pod as folders.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use super::mounts::Mounts;
use super::state_dir::StateDir;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use parking_lot::Mutex;

/// Volumes that living pods use: a second writer is refused, whatever led to it.
#[derive(Clone, Default)]
pub(super) struct InUse {
    by_folder: Arc<Mutex<HashMap<PathBuf, String>>>,
}

/// A folder that is a volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Name of the volume in the pod's spec.
    pub volume: String,
    /// Created if missing.
    pub path: PathBuf,
    /// Whether others may have it too.
    pub access: Access,
}

/// Whether two living pods may have the same folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A second pod waits until the first has ended.
    Sole,
    /// Any number.
    Shared,
}

/// The folders of a pod, by volume name; its own until dropped.
pub(super) struct Volumes {
    pub(super) folders: BTreeMap<String, String>,
    pod: String,
    in_use: InUse,
}

impl Volumes {
    /// Creates what is missing: `given`, and the spec's emptyDirs.
    ///
    /// # Errors
    /// One sentence that says which volume cannot be had, and why.
    pub(super) fn prepare(
        state: &StateDir,
        in_use: &InUse,
        pod: &str,
        given: &[Folder],
        spec: &PodSpec,
    ) -> Result<Self, String> {
        let mut volumes = Self {
            folders: BTreeMap::new(),
            pod: pod.to_owned(),
            in_use: in_use.clone(),
        };
        for Folder {
            volume,
            path,
            access,
        } in given
        {
            if *access == Access::Sole {
                let mut used = in_use.by_folder.lock();
                let user = used.entry(path.clone()).or_insert_with(|| pod.to_owned());
                if user != pod {
                    return Err(format!(
                        "volume {volume:?} is in use by another pod ({user})"
                    ));
                }
            }
            volumes.add(volume, path.clone())?;
        }
        for volume in spec
            .volumes
            .iter()
            .flatten()
            .filter(|volume| volume.empty_dir.is_some())
        {
            if given.iter().all(|folder| folder.volume != volume.name) {
                volumes.add(&volume.name, state.scratch(pod).join(&volume.name))?;
            }
        }
        Ok(volumes)
    }

    fn add(&mut self, name: &str, folder: PathBuf) -> Result<(), String> {
        if !folder.exists() {
            std::fs::create_dir_all(&folder).map_err(|error| {
                format!(
                    "volume {name:?}: folder {} cannot be created: {error}",
                    folder.display()
                )
            })?;
        }
        let text = folder.into_os_string().into_string();
        let text = text
            .map_err(|path| format!("volume {name:?}: folder {} is not UTF-8", path.display()))?;
        self.folders.insert(name.to_owned(), text);
        Ok(())
    }

    /// What a container sees where.
    ///
    /// # Errors
    /// As [`Volumes::prepare`].
    pub(super) fn mounts(&self, container: &Container) -> Result<Mounts, String> {
        let mut mounts = Vec::new();
        for mount in container.volume_mounts.iter().flatten() {
            let Some(folder) = self.folders.get(&mount.name) else {
                return Err(format!("there is no volume {:?}", mount.name));
            };
            let target = match mount.sub_path.as_deref().filter(|sub| !sub.is_empty()) {
                None => folder.clone(),
                Some(sub) => {
                    let target = format!("{folder}/{sub}");
                    if !std::path::Path::new(&target).exists() {
                        std::fs::create_dir_all(&target).map_err(|error| {
                            format!(
                                "volume {:?}: folder {target} cannot be created: {error}",
                                mount.name
                            )
                        })?;
                    }
                    target
                }
            };
            mounts.push((mount.mount_path.as_str(), target));
        }
        Ok(Mounts::new(mounts))
    }
}

impl Drop for Volumes {
    fn drop(&mut self) {
        self.in_use
            .by_folder
            .lock()
            .retain(|_, user| *user != self.pod);
    }
}
