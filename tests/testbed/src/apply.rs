//! Server-side apply of YAML texts.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, pinned_kind};
use kube::{Client, ResourceExt};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// Field manager of everything applied here.
pub(crate) const MANAGER: &str = "testbed";
/// Longest wait for a kind to be served after its CRD was applied.
const SERVED: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(25);

/// Applies all documents of a text in their order; `namespace` is for what names none.
///
/// # Errors
/// The first document that cannot be read or is refused.
pub async fn apply(client: &Client, namespace: &str, yaml: &str) -> Result<()> {
    objects(client, namespace, documents(yaml)?).await
}

/// The documents of a text, lists taken apart, empty ones left out.
pub(crate) fn documents(yaml: &str) -> Result<Vec<Value>> {
    let parsed: Vec<Value> = serde_saphyr::from_multiple(yaml).context("cannot read YAML")?;
    let mut all = Vec::with_capacity(parsed.len());
    for document in parsed {
        match document {
            Value::Null => {}
            Value::Object(mut list) if list.get("kind").is_some_and(|kind| kind == "List") => {
                if let Some(Value::Array(items)) = list.remove("items") {
                    all.extend(items);
                }
            }
            other => all.push(other),
        }
    }
    Ok(all)
}

/// Applies objects in their order.
pub(crate) async fn objects(client: &Client, namespace: &str, objects: Vec<Value>) -> Result<()> {
    let mut kinds = HashMap::new();
    for value in objects {
        let object: DynamicObject = serde_json::from_value(value).context("not an object")?;
        let Some(types) = object.types.clone() else {
            bail!("an object without apiVersion and kind");
        };
        let gvk = GroupVersionKind::try_from(&types)
            .with_context(|| format!("apiVersion {}", types.api_version))?;
        let (resource, scope) = match kinds.get(&gvk) {
            Some(known) => known,
            None => {
                let (resource, capabilities) = pinned_kind(client, &gvk)
                    .await
                    .with_context(|| format!("{} {}", types.api_version, types.kind))?;
                kinds
                    .entry(gvk.clone())
                    .or_insert((resource, capabilities.scope))
            }
        };
        let name = object.name_any();
        let own = object.namespace();
        let api: Api<DynamicObject> = match scope {
            Scope::Cluster => Api::all_with(client.clone(), resource),
            Scope::Namespaced => Api::namespaced_with(
                client.clone(),
                own.as_deref().unwrap_or(namespace),
                resource,
            ),
        };
        let params = PatchParams::apply(MANAGER).force();
        api.patch(&name, &params, &Patch::Apply(&object))
            .await
            .with_context(|| format!("cannot apply {} {name}", types.kind))?;
        if types.kind == "CustomResourceDefinition" {
            let crd = serde_json::from_value(serde_json::to_value(object)?)?;
            established(client, &crd).await?;
        }
    }
    Ok(())
}

/// Waits until the kinds of a CRD can be used. The CRD itself would say so too, but with upstream's it is
/// a megabyte with each look.
pub(crate) async fn established(client: &Client, crd: &CustomResourceDefinition) -> Result<()> {
    let spec = &crd.spec;
    for version in spec.versions.iter().filter(|version| version.served) {
        let gvk = GroupVersionKind::gvk(&spec.group, &version.name, &spec.names.kind);
        served(client, &gvk).await?;
    }
    Ok(())
}

/// Waits until a kind is served: discovery follows a CRD with a delay.
pub(crate) async fn served(client: &Client, gvk: &GroupVersionKind) -> Result<()> {
    let deadline = Instant::now() + SERVED;
    loop {
        match pinned_kind(client, gvk).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline || !unknown(&error) => {
                return Err(error).with_context(|| format!("{} {}", gvk.api_version(), gvk.kind));
            }
            Err(_) => sleep(LOOK).await,
        }
    }
}

fn unknown(error: &kube::Error) -> bool {
    match error {
        kube::Error::Discovery(_) => true,
        kube::Error::Api(status) => status.code == 404 || status.code == 503,
        _ => false,
    }
}
