//! What a cluster with agent-sandbox and Reveille has before anybody uses it: CRDs and roles.

use std::path::Path;

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use http::header::CONTENT_TYPE;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};

use crate::apply::{MANAGER, documents, established, objects, served};

/// Where upstream's controller has its ServiceAccount.
pub(crate) const NAMESPACE: &str = "agent-sandbox-system";
/// The ServiceAccount of upstream's controller.
pub(crate) const ACCOUNT: &str = "agent-sandbox-controller";
/// Upstream's kinds.
const UPSTREAM: [(&str, &str); 4] = [
    ("agents.x-k8s.io", "Sandbox"),
    ("extensions.agents.x-k8s.io", "SandboxClaim"),
    ("extensions.agents.x-k8s.io", "SandboxTemplate"),
    ("extensions.agents.x-k8s.io", "SandboxWarmPool"),
];
/// Files of upstream's roles. `controller.yaml` also holds what runs the controller in a cluster.
const ROLES: [&str; 4] = [
    "controller.yaml",
    "rbac.generated.yaml",
    "extensions-rbac.generated.yaml",
    "extensions.yaml",
];

/// Upstream's CRDs from its `k8s/` folder, and Reveille's own; done when all are established.
pub(crate) async fn crds(client: &Client, manifests: &Path) -> Result<()> {
    let mut upstream = Vec::new();
    let folder = manifests.join("crds");
    let entries =
        std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        upstream.push(entry?.path());
    }
    let own = reveille_crds::manifest::crds()
        .into_iter()
        .filter(|crd| crd.spec.group == "reveille.dev");
    let upstream = try_join_all(upstream.iter().map(|path| apply_text(client, path)));
    let own = try_join_all(own.map(|crd| apply_own(client, crd)));
    let (_, own) = tokio::try_join!(upstream, own)?;
    for crd in &own {
        established(client, crd).await?;
    }
    for (group, kind) in UPSTREAM {
        served(client, &GroupVersionKind::gvk(group, "v1beta1", kind)).await?;
    }
    Ok(())
}

/// Namespace, ServiceAccount and roles of upstream's controller.
pub(crate) async fn roles(client: &Client, manifests: &Path) -> Result<()> {
    let mut all = Vec::new();
    for file in ROLES {
        let path = manifests.join(file);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        all.extend(documents(&text).with_context(|| format!("in {}", path.display()))?);
    }
    all.retain(|object| !matches!(object["kind"].as_str(), Some("Deployment" | "Service")));
    all.sort_by_key(|object| object["kind"] != "Namespace");
    objects(client, NAMESPACE, all).await
}

/// The API server reads the YAML itself: parsing a megabyte here would take as long as all the rest.
async fn apply_text(client: &Client, path: &Path) -> Result<()> {
    let name = name_of(path)?;
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let uri = format!(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}?fieldManager={MANAGER}&force=true"
    );
    let request = http::Request::patch(uri)
        .header(CONTENT_TYPE, "application/apply-patch+yaml")
        .body(without_webhook(&text)?.into_bytes())?;
    client
        .request_text(request)
        .await
        .with_context(|| format!("cannot apply {}", path.display()))?;
    Ok(())
}

async fn apply_own(
    client: &Client,
    crd: CustomResourceDefinition,
) -> Result<CustomResourceDefinition> {
    let name = crd.name_any();
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply(MANAGER).force();
    api.patch(&name, &params, &Patch::Apply(&crd))
        .await
        .with_context(|| format!("cannot apply the CRD {name}"))?;
    Ok(crd)
}

/// controller-gen names files `<group>_<plural>.yaml`, and Kubernetes CRDs `<plural>.<group>`.
fn name_of(path: &Path) -> Result<String> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let Some((group, plural)) = stem.split_once('_') else {
        bail!("{} is not the name of a CRD's file", path.display());
    };
    Ok(format!("{plural}.{group}"))
}

/// Upstream converts between versions by a webhook that only runs in a cluster. Without one the API
/// server rewrites the version alone, which does for who uses one version.
fn without_webhook(text: &str) -> Result<String> {
    let Some((head, tail)) = text.split_once("\n  conversion:\n") else {
        return Ok(text.to_owned());
    };
    // The block ends at the next line that is indented as it is, or less.
    let rest = tail
        .match_indices('\n')
        .map(|(at, _)| &tail[at + 1..])
        .find(|rest| !rest.starts_with("   "))
        .unwrap_or_default();
    if rest.contains("\n  conversion:\n") {
        bail!("a CRD with two conversions");
    }
    Ok(format!("{head}\n  conversion:\n    strategy: None\n{rest}"))
}

#[cfg(test)]
mod tests {
    use super::without_webhook;

    #[test]
    fn the_conversion_block_is_replaced_wherever_it_stands() {
        let block = "\n  conversion:\n    strategy: Webhook\n    webhook:\n      path: /convert\n";
        let none = "\n  conversion:\n    strategy: None\n";
        for rest in ["", "  group: a\n", "status:\n  conditions: []\n"] {
            let text = format!("spec:{block}{rest}");
            assert_eq!(
                without_webhook(&text).unwrap(),
                format!("spec:{none}{rest}")
            );
        }
        assert_eq!(without_webhook("spec:\n").unwrap(), "spec:\n");
    }
}
