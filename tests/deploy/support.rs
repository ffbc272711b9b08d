//! One control plane for all cases, with `deploy/base` applied.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use reveille_testbed::{Nodes, Options, Testbed, Who};
use tokio::sync::OnceCell;

pub(crate) mod child;
pub(crate) mod parts;

/// Longest time for anything that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at something that nobody tells of.
pub(crate) const LOOK: Duration = Duration::from_millis(50);
/// Where Reveille is applied.
pub(crate) const HOME: &str = "agent-sandbox-system";
/// Kinds that Reveille brings.
const CRDS: [&str; 2] = ["scaledsandboxes", "releasedclaims"];

/// The control plane. No pod runs on it: what the manifests would start is started by the cases.
pub(crate) async fn bed() -> &'static Testbed {
    static BED: OnceCell<Testbed> = OnceCell::const_new();
    BED.get_or_init(|| async {
        let options = Options {
            nodes: Nodes::None,
            audit: false,
            controller: false,
            ..Options::default()
        };
        let bed = Testbed::start(options).await.unwrap();
        bed.apply(&namespace(HOME)).await.unwrap();
        for kind in CRDS {
            let file = folder().join(format!("crds/reveille.dev_{kind}.yaml"));
            let text = std::fs::read_to_string(file).unwrap();
            bed.apply(&text).await.unwrap();
        }
        bed.apply(&built(&bed, "base")).await.unwrap();
        bed
    })
    .await
}

/// What `kubectl apply -k` would apply of a folder of `deploy/`.
pub(crate) fn built(bed: &Testbed, variant: &str) -> String {
    let output = Command::new(&bed.facts().kubectl)
        .arg("kustomize")
        .arg(folder().join(variant))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{variant}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy"))
}

pub(crate) fn namespace(name: &str) -> String {
    format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}")
}

/// A client of a component's ServiceAccount.
pub(crate) async fn client_of(bed: &Testbed, component: &str) -> Client {
    let who = Who::ServiceAccount {
        namespace: HOME,
        name: component,
    };
    bed.client_of(who).await.unwrap()
}

/// Objects of a kind that this test knows only by its name.
pub(crate) fn objects(
    client: Client,
    namespace: &str,
    (group, version, kind): (&str, &str, &str),
) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(client, namespace, &resource)
}

pub(crate) const SANDBOX: (&str, &str, &str) = ("agents.x-k8s.io", "v1beta1", "Sandbox");
pub(crate) const CLAIM: (&str, &str, &str) =
    ("extensions.agents.x-k8s.io", "v1beta1", "SandboxClaim");

/// A Sandbox as YAML.
pub(crate) fn sandbox(name: &str, mode: &str) -> String {
    format!(
        "{{apiVersion: agents.x-k8s.io/v1beta1, kind: Sandbox, \
         metadata: {{name: {name}, labels: {{fleet: research}}, annotations: {{note: theirs}}}}, \
         spec: {{operatingMode: {mode}, podTemplate: {{spec: {{containers: \
         [{{name: agent, image: agent}}]}}}}}}}}"
    )
}

/// Looks until there is something.
pub(crate) async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(found) => found,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}
