//! The volumes of a pod as folders: claims, hostPaths, and files out of ConfigMaps and Secrets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource, Volume,
};
use reveille_lifecycle::local::{Access, Folder, Identity};

use super::values::{Data, Kind, Sources};
use super::worker::Node;

/// How long a start waits for a claim to be bound before it says so.
const BOUND_WITHIN: Duration = Duration::from_secs(5);

/// A pod that is about to start.
pub(super) struct Volumes<'a> {
    pub(super) node: &'a Node,
    pub(super) pod: &'a Pod,
    pub(super) identity: &'a Identity,
    pub(super) sources: &'a mut Sources<'a>,
}

impl Volumes<'_> {
    /// All volumes but emptyDirs. What is made of files is written here.
    ///
    /// # Errors
    /// One sentence that says which volume cannot be had, and why.
    pub(super) async fn folders(&mut self) -> Result<Vec<Folder>, String> {
        let mut folders = Vec::new();
        let spec = self.pod.spec.as_ref();
        let volumes = spec.and_then(|spec| spec.volumes.as_deref());
        for volume in volumes.unwrap_or_default() {
            let path = self.path(volume).await;
            let path = path.map_err(|why| format!("volume {:?}: {why}", volume.name))?;
            folders.extend(path.map(|path| Folder {
                volume: volume.name.clone(),
                path,
                access: Access::Shared,
            }));
        }
        Ok(folders)
    }

    /// `None` for an emptyDir.
    async fn path(&mut self, volume: &Volume) -> Result<Option<PathBuf>, String> {
        if volume.empty_dir.is_some() {
            return Ok(None);
        }
        if let Some(host) = &volume.host_path {
            return Ok(Some(PathBuf::from(&host.path)));
        }
        if let Some(claim) = &volume.persistent_volume_claim {
            return self.claim(&claim.claim_name).await.map(Some);
        }
        if volume.ephemeral.is_some() {
            let claim = format!("{}-{}", self.identity.name, volume.name);
            return self.claim(&claim).await.map(Some);
        }
        let files = self.files(volume).await?;
        let folder = self.node.machine.scratch(&self.identity.uid, &volume.name);
        let written = write(&folder, &files).await;
        written.map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Some(folder))
    }

    async fn claim(&self, name: &str) -> Result<PathBuf, String> {
        let folder = self.node.bound.folder(&self.identity.namespace, name);
        tokio::time::timeout(BOUND_WITHIN, folder)
            .await
            .map_err(|_| format!("claim {name:?} is not bound to a folder of this machine"))
    }

    async fn files(&mut self, volume: &Volume) -> Result<Data, String> {
        if let Some(map) = &volume.config_map {
            let items = map.items.as_deref();
            return self
                .taken(Kind::ConfigMap, &map.name, items, map.optional)
                .await;
        }
        if let Some(secret) = &volume.secret {
            let name = secret.secret_name.as_deref().unwrap_or_default();
            let items = secret.items.as_deref();
            return self.taken(Kind::Secret, name, items, secret.optional).await;
        }
        if let Some(fields) = &volume.downward_api {
            return Ok(self.fields(fields.items.iter().flatten()));
        }
        if let Some(projected) = &volume.projected {
            return self.projected(projected).await;
        }
        Err("its kind is not known to this node".to_owned())
    }

    async fn projected(&mut self, projected: &ProjectedVolumeSource) -> Result<Data, String> {
        let sources = || projected.sources.iter().flatten();
        // What admission adds to every pod; nothing here needs it, and it would cost each start a call.
        let of_account = sources().any(|source| source.service_account_token.is_some());
        let mut files = Data::new();
        for source in sources() {
            if let Some(fields) = &source.downward_api {
                files.extend(self.fields(fields.items.iter().flatten()));
            }
            if let Some(map) = source.config_map.as_ref().filter(|_| !of_account) {
                let items = map.items.as_deref();
                files.extend(
                    self.taken(Kind::ConfigMap, &map.name, items, map.optional)
                        .await?,
                );
            }
            if let Some(secret) = &source.secret {
                let items = secret.items.as_deref();
                files.extend(
                    self.taken(Kind::Secret, &secret.name, items, secret.optional)
                        .await?,
                );
            }
        }
        Ok(files)
    }

    /// Files of a ConfigMap or Secret: all keys, or the ones named.
    async fn taken(
        &mut self,
        kind: Kind,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
    ) -> Result<Data, String> {
        let Some(data) = self.sources.get(kind, name, optional).await? else {
            return Ok(Data::new());
        };
        let Some(items) = items.filter(|items| !items.is_empty()) else {
            return Ok(data.clone());
        };
        let mut files = Data::new();
        for item in items {
            match data.get(&item.key) {
                Some(content) => {
                    files.insert(item.path.clone(), content.clone());
                }
                None if optional == Some(true) => {}
                None => return Err(format!("{kind:?} {name:?} has no key {:?}", item.key)),
            }
        }
        Ok(files)
    }

    fn fields<'a>(&self, items: impl Iterator<Item = &'a DownwardAPIVolumeFile>) -> Data {
        let identity = self.identity;
        let lines = |all: &BTreeMap<String, String>| {
            let lines = all.iter().map(|(key, value)| format!("{key}={value:?}\n"));
            lines.collect::<String>()
        };
        let content = |item: &DownwardAPIVolumeFile| {
            let field = item.field_ref.as_ref()?;
            Some(match field.field_path.as_str() {
                "metadata.name" => identity.name.clone(),
                "metadata.namespace" => identity.namespace.clone(),
                "metadata.uid" => identity.uid.clone(),
                "metadata.labels" => lines(&identity.labels),
                "metadata.annotations" => lines(&identity.annotations),
                _ => return None,
            })
        };
        items
            .filter_map(|item| Some((item.path.clone(), content(item)?.into_bytes())))
            .collect()
    }
}

async fn write(folder: &Path, files: &Data) -> std::io::Result<()> {
    tokio::fs::create_dir_all(folder).await?;
    for (name, content) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            tokio::fs::create_dir_all(parent).await?;
        }
        tokio::fs::write(&path, content).await?;
    }
    Ok(())
}
