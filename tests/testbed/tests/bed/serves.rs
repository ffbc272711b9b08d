//! What a cluster has that people use, found in the one testbed that these tests share.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use reveille_testbed::{Testbed, Who};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::support::{code, get, sandboxes, until, within};

const SANDBOX: &str = "
apiVersion: agents.x-k8s.io/v1beta1
kind: Sandbox
metadata: {name: alice}
spec:
  podTemplate:
    spec:
      containers: [{name: agent, image: none, command: [sleep, '1000']}]
";

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
}

#[tokio::test]
async fn the_api_server_says_its_version() {
    let testbed = Testbed::shared().await.unwrap();
    let text = get(&testbed.client().unwrap(), "/version").await.unwrap();
    let version: Value = serde_json::from_str(&text).unwrap();
    // Built without its stamp it says 0.0.
    assert_eq!(version["major"], "1");
    assert!(
        version["gitVersion"].as_str().unwrap().starts_with("v1."),
        "{text}"
    );
}

#[tokio::test]
async fn nats_has_jetstream() {
    let testbed = Testbed::shared().await.unwrap();
    let address = testbed.nats_url().strip_prefix("nats://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut piece = [0; 4096];
    let length = within("INFO", stream.read(&mut piece)).await.unwrap();
    let info = String::from_utf8_lossy(&piece[..length]);
    assert!(info.contains("\"jetstream\":true"), "{info}");
}

#[tokio::test]
async fn nobody_may_do_nothing_and_a_service_account_what_its_role_says() {
    let testbed = Testbed::shared().await.unwrap();
    let namespace = testbed.namespace("rbac").await.unwrap();
    let nobody = testbed.client_of(Who::Nobody).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(nobody, &namespace);
    assert_eq!(code(pods.list(&ListParams::default()).await), 403);

    let roles = "
{apiVersion: v1, kind: ServiceAccount, metadata: {name: reader}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [''], resources: [pods], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader}]
";
    testbed.apply_in(&namespace, roles).await.unwrap();
    let who = Who::ServiceAccount {
        namespace: &namespace,
        name: "reader",
    };
    let reader = testbed.client_of(who).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(reader.clone(), &namespace);
    // The authorizer hears of a new role by a watch.
    until("the role", || async {
        pods.list(&ListParams::default()).await.ok()
    })
    .await;
    let maps: Api<ConfigMap> = Api::namespaced(reader, &namespace);
    assert_eq!(code(maps.list(&ListParams::default()).await), 403);
}

#[tokio::test]
async fn an_admission_policy_denies() {
    let testbed = Testbed::shared().await.unwrap();
    let namespace = testbed.namespace("admission").await.unwrap();
    let policy = format!(
        "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {namespace}}}
spec:
  matchConstraints:
    resourceRules: [{{apiGroups: [''], apiVersions: [v1], resources: [configmaps], operations: [CREATE]}}]
  validations: [{{expression: \"object.metadata.name != 'forbidden'\", message: not this name}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {namespace}}}
spec:
  policyName: {namespace}
  validationActions: [Deny]
  matchResources: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}}}
"
    );
    testbed.apply(&policy).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(testbed.client().unwrap(), &namespace);
    // It takes effect some time after it was made.
    let error = until("the denial", || async {
        match maps
            .create(&PostParams::default(), &config_map("forbidden"))
            .await
        {
            Err(error) => Some(error),
            Ok(_) => {
                let deleted = maps.delete("forbidden", &DeleteParams::default()).await;
                deleted.unwrap();
                None
            }
        }
    })
    .await;
    assert!(error.to_string().contains("not this name"), "{error}");
    maps.create(&PostParams::default(), &config_map("allowed"))
        .await
        .unwrap();
}

#[tokio::test]
async fn upstreams_controller_makes_and_removes_the_pod_of_a_sandbox() {
    let testbed = Testbed::shared().await.unwrap();
    let namespace = testbed.namespace("controller").await.unwrap();
    testbed.apply_in(&namespace, SANDBOX).await.unwrap();
    let client = testbed.client().unwrap();
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let pod = until("the pod", || async { pods.get_opt("alice").await.unwrap() }).await;
    let owner = &pod.metadata.owner_references.unwrap()[0];
    assert_eq!(
        (owner.kind.as_str(), owner.name.as_str()),
        ("Sandbox", "alice")
    );

    // Garbage collection is the controller manager's.
    sandboxes(&client, &namespace)
        .delete("alice", &DeleteParams::default())
        .await
        .unwrap();
    until("the end of the pod", || async {
        let pod = pods.get_opt("alice").await.unwrap();
        pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some())
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_controller_has_its_own_service_account() {
    let testbed = Testbed::shared().await.unwrap();
    let line = until("a request of the controller", || async {
        let log = std::fs::read_to_string(testbed.audit_log()).ok()?;
        let mut lines = log.lines().filter(|line| line.ends_with('}'));
        let line =
            lines.find(|line| line.contains("agent-sandbox-system:agent-sandbox-controller\""));
        line.map(str::to_owned)
    })
    .await;
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["level"], "Metadata");
    assert!(event["userAgent"].is_string(), "{line}");
}

#[tokio::test]
async fn a_fresh_namespace_has_its_service_account_and_a_name_of_its_own() {
    let testbed = Testbed::shared().await.unwrap();
    let (one, other) = tokio::join!(testbed.namespace("same"), testbed.namespace("same"));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_ne!(one, other);
    for namespace in [one, other] {
        let accounts: Api<ServiceAccount> = Api::namespaced(testbed.client().unwrap(), &namespace);
        accounts.get("default").await.unwrap();
    }
}

#[tokio::test]
async fn a_crd_can_be_used_right_after_it_was_applied() {
    let testbed = Testbed::shared().await.unwrap();
    let namespace = testbed.namespace("crd").await.unwrap();
    let group = format!("{namespace}.example.com");
    let yaml = format!(
        "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: things.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: Thing, plural: things}}
  versions: [{{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object}}}}}}]
---
{{apiVersion: {group}/v1, kind: Thing, metadata: {{name: one}}}}
---
# nothing
---
{{apiVersion: v1, kind: List, items: [{{apiVersion: {group}/v1, kind: Thing, metadata: {{name: two}}}}]}}
"
    );
    testbed.apply_in(&namespace, &yaml).await.unwrap();
    let client = testbed.client().unwrap();
    for name in ["one", "two"] {
        let path = format!("/apis/{group}/v1/namespaces/{namespace}/things/{name}");
        get(&client, &path).await.unwrap();
    }
    let unknown = "{apiVersion: v1, kind: Unknown, metadata: {name: a}}";
    let error = testbed.apply(unknown).await.unwrap_err();
    assert!(error.to_string().contains("Unknown"), "{error}");
}
