//! In which versions upstream's kinds are served and stored, and what one object is in each.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use http_body_util::Full;
use k8s_openapi::ByteString;
use kube::config::Kubeconfig;
use kube::core::Status;
use reveille_testbed::{Part, Testbed};
use serde_json::{Value, json};

use crate::support::http::send;
use crate::support::objects::{name_of, text};
use crate::support::until;

/// Upstream's kinds: group and plural.
const KINDS: [(&str, &str); 4] = [
    ("agents.x-k8s.io", "sandboxes"),
    ("extensions.agents.x-k8s.io", "sandboxclaims"),
    ("extensions.agents.x-k8s.io", "sandboxtemplates"),
    ("extensions.agents.x-k8s.io", "sandboxwarmpools"),
];
/// Where upstream's CRDs have their versions.
const NEW: &str = "/spec/versions/0";
const OLD: &str = "/spec/versions/1";

/// The CRDs of a control plane, and its store.
pub(super) struct Served {
    client: kube::Client,
    etcd: SocketAddr,
    /// `conversion` of a CRD: upstream's controller does it.
    webhook: Value,
}

impl Served {
    /// Of a control plane of the test's own.
    pub(super) async fn by(testbed: &Testbed) -> Self {
        let facts = testbed.facts();
        let kubeconfig = Kubeconfig::read_from(facts.kubeconfig()).unwrap();
        let cluster = kubeconfig.clusters[0].cluster.as_ref().unwrap();
        let webhook = json!({
            "conversionReviewVersions": ["v1"],
            "clientConfig": {
                "url": format!("https://127.0.0.1:{}/convert", facts.conversion_port),
                "caBundle": cluster.certificate_authority_data,
            },
        });
        Self {
            client: testbed.client().unwrap(),
            etcd: etcd(testbed).await,
            webhook: json!({"strategy": "Webhook", "webhook": webhook}),
        }
    }

    /// `v1alpha1` alone, as up to 0.4; effective when this returns.
    pub(super) async fn only_old(&self) {
        let patch = json!([
            {"op": "test", "path": format!("{OLD}/name"), "value": "v1alpha1"},
            {"op": "replace", "path": format!("{OLD}/storage"), "value": true},
            {"op": "replace", "path": format!("{NEW}/storage"), "value": false},
            {"op": "replace", "path": format!("{NEW}/served"), "value": false},
        ]);
        self.patch_kinds("", &patch).await;
        let marker = json!({
            "apiVersion": "agents.x-k8s.io/v1alpha1", "kind": "Sandbox",
            "metadata": {"name": "marker"},
            "spec": {"replicas": 0, "podTemplate": {"spec": {"containers": []}}},
        });
        // The API server learns it bit by bit; the store tells when it has.
        until("objects stored as v1alpha1", || async {
            self.create("default", &marker).await.ok()?;
            let stored = self.stored("default", "marker").await;
            let marker = sandbox("default", "v1alpha1", "marker");
            self.call("DELETE", &marker, None).await.ok()?;
            (stored["apiVersion"] == "agents.x-k8s.io/v1alpha1").then_some(())
        })
        .await;
    }

    /// Both, as in 0.5: stored as `v1beta1`, converted by the webhook. Effective when this returns, where
    /// the webhook is there or not.
    pub(super) async fn both(&self) {
        let patch = json!([
            {"op": "replace", "path": format!("{NEW}/served"), "value": true},
            {"op": "replace", "path": format!("{NEW}/storage"), "value": true},
            {"op": "replace", "path": format!("{OLD}/storage"), "value": false},
            {"op": "replace", "path": "/spec/conversion", "value": self.webhook},
        ]);
        self.patch_kinds("", &patch).await;
        until("v1beta1", || async {
            let none = self.get("default", "v1beta1", "none").await;
            // The object is not there, but its kind is.
            let named =
                |status: &Status| status.details.as_ref().is_some_and(|it| it.name == "none");
            matches!(none, Err(kube::Error::Api(status)) if named(&status)).then_some(())
        })
        .await;
    }

    /// `v1beta1` alone, as from 1.0. Whatever is there is written once more before, as upstream's guide has it.
    pub(super) async fn only_new(&self, namespace: &str) {
        for (group, plural) in KINDS {
            let path = format!("/apis/{group}/v1beta1/namespaces/{namespace}/{plural}");
            let all = self.call("GET", &path, None).await.unwrap();
            let touched = json!({"metadata": {"annotations": {"agents.x-k8s.io/storage-migrated-at": "now"}}});
            for object in all["items"].as_array().unwrap() {
                let path = format!("{path}/{}", name_of(object));
                let patch = Some(("application/merge-patch+json", &touched));
                match self.call("PATCH", &path, patch).await {
                    Ok(_) => {}
                    Err(kube::Error::Api(status)) if status.code == 404 => {}
                    Err(error) => panic!("{path}: {error}"),
                }
            }
        }
        let stored =
            json!([{"op": "replace", "path": "/status/storedVersions", "value": ["v1beta1"]}]);
        self.patch_kinds("/status", &stored).await;
        let patch = json!([
            {"op": "test", "path": format!("{OLD}/name"), "value": "v1alpha1"},
            {"op": "remove", "path": OLD},
            {"op": "replace", "path": "/spec/conversion", "value": {"strategy": "None"}},
        ]);
        self.patch_kinds("", &patch).await;
    }

    /// Creates an object of a kind whose plural is regular.
    pub(super) async fn create(
        &self,
        namespace: &str,
        manifest: &Value,
    ) -> Result<Value, kube::Error> {
        let kind = text(&manifest["kind"]).to_lowercase();
        let end = if kind.ends_with('x') { "es" } else { "s" };
        let version = text(&manifest["apiVersion"]);
        let path = format!("/apis/{version}/namespaces/{namespace}/{kind}{end}");
        self.call("POST", &path, Some(("application/json", manifest)))
            .await
    }

    /// A Sandbox as a version shows it.
    pub(super) async fn get(
        &self,
        namespace: &str,
        version: &str,
        name: &str,
    ) -> Result<Value, kube::Error> {
        self.call("GET", &sandbox(namespace, version, name), None)
            .await
    }

    /// A Sandbox as it is in the store.
    pub(super) async fn stored(&self, namespace: &str, name: &str) -> Value {
        let key = format!("/registry/agents.x-k8s.io/sandboxes/{namespace}/{name}");
        let body = json!({"key": ByteString(key.into_bytes())}).to_string();
        let request = Request::post("/v3/kv/range")
            .header("host", "etcd")
            .body(Full::<Bytes>::from(body))
            .unwrap();
        let reply = send(self.etcd, request).await.unwrap().ok().json();
        let value: ByteString = serde_json::from_value(reply["kvs"][0]["value"].clone()).unwrap();
        serde_json::from_slice(&value.0).unwrap()
    }

    async fn patch_kinds(&self, subresource: &str, patch: &Value) {
        for (group, plural) in KINDS {
            let path = format!(
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.{group}{subresource}"
            );
            let patch = Some(("application/json-patch+json", patch));
            self.call("PATCH", &path, patch).await.unwrap();
        }
    }

    /// A request, with a body of this type.
    async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Value, kube::Error> {
        let mut request = Request::builder().method(method).uri(path);
        if path.contains("customresourcedefinitions") {
            // One of upstream's is a megabyte; nobody reads it here.
            request = request.header(
                ACCEPT,
                "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            );
        }
        let mut bytes = Vec::new();
        if let Some((media, body)) = body {
            request = request.header(CONTENT_TYPE, media);
            bytes = body.to_string().into_bytes();
        }
        self.client.request(request.body(bytes).unwrap()).await
    }
}

fn sandbox(namespace: &str, version: &str, name: &str) -> String {
    format!("/apis/agents.x-k8s.io/{version}/namespaces/{namespace}/sandboxes/{name}")
}

/// Where the store listens, out of its own command line.
async fn etcd(testbed: &Testbed) -> SocketAddr {
    let processes = testbed.processes().await.unwrap();
    let (_, pid) = processes
        .iter()
        .find(|(part, _)| *part == Part::Etcd)
        .unwrap();
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    let url = line
        .split('\0')
        .find_map(|word| word.strip_prefix("--listen-client-urls=http://"));
    url.unwrap().parse().unwrap()
}
