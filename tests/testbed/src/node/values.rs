//! What a pod takes from ConfigMaps, Secrets and its place on the node, as plain values.
//!
//! `lifecycle::local` knows of no cluster: whatever needs one is replaced before a container starts.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvFromSource, EnvVar, EnvVarSource, Pod, PodSpec, Secret,
};
use kube::Api;

use super::MARK;
use super::api::call;
use super::worker::Node;

/// Keys and contents of a ConfigMap or Secret.
pub(super) type Data = BTreeMap<String, Vec<u8>>;

/// What the API holds for one start of a pod: each object is asked for once.
pub(super) struct Sources<'a> {
    node: &'a Node,
    namespace: String,
    seen: HashMap<(Kind, String), Option<Data>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    ConfigMap,
    Secret,
}

impl<'a> Sources<'a> {
    pub(super) fn new(node: &'a Node, namespace: &str) -> Self {
        Self {
            node,
            namespace: namespace.to_owned(),
            seen: HashMap::new(),
        }
    }

    /// `None` where it is missing and may be.
    ///
    /// # Errors
    /// One sentence that says what is missing, or why it cannot be had.
    pub(super) async fn get(
        &mut self,
        kind: Kind,
        name: &str,
        optional: Option<bool>,
    ) -> Result<Option<&Data>, String> {
        let key = (kind, name.to_owned());
        if !self.seen.contains_key(&key) {
            let data = self.fetch(kind, name).await?;
            self.seen.insert(key.clone(), data);
        }
        match self.seen.get(&key).and_then(Option::as_ref) {
            None if optional != Some(true) => Err(format!("{kind:?} {name:?} not found")),
            data => Ok(data),
        }
    }

    async fn fetch(&self, kind: Kind, name: &str) -> Result<Option<Data>, String> {
        let why = |failure| format!("{kind:?} {name:?}: {failure}");
        let client = self.node.client.clone();
        // The semaphore is never closed.
        let _place = self.node.calls.acquire().await.ok();
        match kind {
            Kind::ConfigMap => {
                let api: Api<ConfigMap> = Api::namespaced(client, &self.namespace);
                let found = call(api.get_opt(name)).await.map_err(why)?;
                Ok(found.map(|map| {
                    let text = map.data.into_iter().flatten();
                    let text = text.map(|(key, value)| (key, value.into_bytes()));
                    let bytes = map.binary_data.into_iter().flatten();
                    text.chain(bytes.map(|(key, value)| (key, value.0)))
                        .collect()
                }))
            }
            Kind::Secret => {
                let api: Api<Secret> = Api::namespaced(client, &self.namespace);
                let found = call(api.get_opt(name)).await.map_err(why)?;
                Ok(found.map(|secret| {
                    let data = secret.data.into_iter().flatten();
                    data.map(|(key, value)| (key, value.0)).collect()
                }))
            }
        }
    }
}

/// The pod's spec with each variable as a plain value, or as a field that `lifecycle::local` answers.
///
/// # Errors
/// As [`Sources::get`].
pub(super) async fn plain(
    pod: &Pod,
    address: Ipv4Addr,
    sources: &mut Sources<'_>,
) -> Result<PodSpec, String> {
    let mut spec = pod.spec.clone().unwrap_or_default();
    let place = Place {
        address: address.to_string(),
        node: spec.node_name.clone().unwrap_or_default(),
        account: spec.service_account_name.clone().unwrap_or_default(),
        mark: sources.node.mark.clone(),
    };
    let init = spec.init_containers.iter_mut().flatten();
    for container in init.chain(&mut spec.containers) {
        variables(container, &place, sources).await?;
    }
    Ok(spec)
}

struct Place {
    address: String,
    node: String,
    account: String,
    mark: Option<String>,
}

async fn variables(
    container: &mut Container,
    place: &Place,
    sources: &mut Sources<'_>,
) -> Result<(), String> {
    let mut env = vec![literal("POD_IP".to_owned(), &place.address)];
    for from in container.env_from.take().unwrap_or_default() {
        whole(from, &mut env, sources).await?;
    }
    for var in container.env.take().unwrap_or_default() {
        match &var.value_from {
            None => env.push(var),
            Some(from) => {
                if let Some(value) = one(from, place, sources).await? {
                    env.push(literal(var.name, &value));
                } else if from.field_ref.is_some() {
                    env.push(var);
                }
            }
        }
    }
    env.extend(
        place
            .mark
            .as_deref()
            .map(|mark| literal(MARK.to_owned(), mark)),
    );
    container.env = Some(env);
    Ok(())
}

/// All of a ConfigMap or Secret.
async fn whole(
    from: EnvFromSource,
    env: &mut Vec<EnvVar>,
    sources: &mut Sources<'_>,
) -> Result<(), String> {
    let prefix = from.prefix.unwrap_or_default();
    let map = from
        .config_map_ref
        .map(|map| (Kind::ConfigMap, map.name, map.optional));
    let secret = from
        .secret_ref
        .map(|secret| (Kind::Secret, secret.name, secret.optional));
    for (kind, name, optional) in map.into_iter().chain(secret) {
        let data = sources.get(kind, &name, optional).await?;
        for (key, value) in data.into_iter().flatten() {
            let value = String::from_utf8_lossy(value);
            env.push(literal(format!("{prefix}{key}"), &value));
        }
    }
    Ok(())
}

/// `None` where it is unset, or answered elsewhere.
async fn one(
    from: &EnvVarSource,
    place: &Place,
    sources: &mut Sources<'_>,
) -> Result<Option<String>, String> {
    if let Some(field) = &from.field_ref {
        return Ok(match field.field_path.as_str() {
            "spec.nodeName" => Some(place.node.clone()),
            "spec.serviceAccountName" => Some(place.account.clone()),
            "status.podIPs" => Some(place.address.clone()),
            "status.hostIPs" => Some(Ipv4Addr::LOCALHOST.to_string()),
            _ => None,
        });
    }
    let map = from.config_map_key_ref.as_ref();
    let map = map.map(|map| (Kind::ConfigMap, &map.name, &map.key, map.optional));
    let secret = from.secret_key_ref.as_ref();
    let secret = secret.map(|secret| (Kind::Secret, &secret.name, &secret.key, secret.optional));
    let Some((kind, name, key, optional)) = map.or(secret) else {
        return Ok(None);
    };
    match sources.get(kind, name, optional).await? {
        None => Ok(None),
        Some(data) => match data.get(key) {
            Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
            None if optional == Some(true) => Ok(None),
            None => Err(format!("{kind:?} {name:?} has no key {key:?}")),
        },
    }
}

/// A variable whose value is taken as it is.
fn literal(name: String, value: &str) -> EnvVar {
    EnvVar {
        name,
        value: Some(value.replace('$', "$$")),
        value_from: None,
    }
}
