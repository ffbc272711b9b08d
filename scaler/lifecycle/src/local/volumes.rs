//! The volumes of one pod as folders.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use parking_lot::Mutex;
use reveille_crds::SandboxKey;

use super::mounts::Mounts;
use super::state_dir::StateDir;

/// Volumes that living pods use: a second writer is refused, whatever led to it.
#[derive(Clone, Default)]
pub(super) struct InUse {
    by_folder: Arc<Mutex<HashMap<PathBuf, String>>>,
}

/// The folders of a pod, by volume name; its own until dropped.
pub(super) struct Volumes {
    pub(super) folders: BTreeMap<String, String>,
    pod: String,
    in_use: InUse,
}

impl Volumes {
    /// Creates what is missing. `templates` are the names of the volume claim templates.
    ///
    /// # Errors
    /// One sentence that says which volume cannot be had, and why.
    pub(super) fn prepare(
        state: &StateDir,
        in_use: &InUse,
        sandbox: &SandboxKey,
        pod: &str,
        templates: &[String],
        spec: &PodSpec,
    ) -> Result<Self, String> {
        let mut volumes = Self {
            folders: BTreeMap::new(),
            pod: pod.to_owned(),
            in_use: in_use.clone(),
        };
        for name in templates {
            let folder = state.volume(sandbox, name);
            let mut used = in_use.by_folder.lock();
            let user = used.entry(folder.clone()).or_insert_with(|| pod.to_owned());
            if user != pod {
                return Err(format!("volume {name:?} is in use by another pod ({user})"));
            }
            drop(used);
            volumes.add(name, folder)?;
        }
        for volume in spec
            .volumes
            .iter()
            .flatten()
            .filter(|volume| volume.empty_dir.is_some())
        {
            if !templates.contains(&volume.name) {
                volumes.add(&volume.name, state.scratch(pod).join(&volume.name))?;
            }
        }
        Ok(volumes)
    }

    fn add(&mut self, name: &str, folder: PathBuf) -> Result<(), String> {
        std::fs::create_dir_all(&folder).map_err(|error| {
            format!(
                "volume {name:?}: folder {} cannot be created: {error}",
                folder.display()
            )
        })?;
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
