//! Whether a part serves, asked of the part itself.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::apply::MANAGER;

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// More than any answer read here.
const LONGEST: u64 = 64 * 1024;

/// Whether `GET path` on a loopback port is answered with 200.
pub(crate) async fn http(port: u16, path: &str) -> bool {
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    let answer = exchange(port, &request).await.unwrap_or_default();
    let head = answer.lines().next().unwrap_or_default();
    head.split(' ').nth(1) == Some("200")
}

/// Whether the NATS server on a loopback port has this name.
pub(crate) async fn nats(port: u16, name: &str) -> bool {
    let answer = timeout(ANSWER, async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        // INFO comes unasked, in one piece of some hundred bytes.
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).await.ok()?;
        Some(String::from_utf8_lossy(&piece[..length]).into_owned())
    });
    let answer = answer.await.ok().flatten().unwrap_or_default();
    answer.contains(&format!("\"server_name\":\"{name}\""))
}

/// Whether the API server is ready, all its start-up work included.
pub(crate) async fn api(client: &Client) -> bool {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else {
        return false;
    };
    timeout(ANSWER, client.request_text(request))
        .await
        .is_ok_and(|answer| answer.is_ok())
}

/// Whether a node is ready.
pub(crate) async fn node(client: &Client, name: &str) -> bool {
    let nodes: Api<Node> = Api::all(client.clone());
    let Ok(Ok(Some(node))) = timeout(ANSWER, nodes.get_opt(name)).await else {
        return false;
    };
    let conditions = node.status.and_then(|status| status.conditions);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// A Sandbox that sleeps from the start: upstream's controller says so once it watches, and makes no pod.
pub(crate) struct Sleeper {
    api: Api<DynamicObject>,
}

impl Sleeper {
    const NAME: &str = "testbed-probe";

    /// Makes it.
    pub(crate) async fn lay_down(client: &Client, namespace: &str) -> Result<Self> {
        let gvk = GroupVersionKind::gvk("agents.x-k8s.io", "v1beta1", "Sandbox");
        let resource = ApiResource::from_gvk_with_plural(&gvk, "sandboxes");
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let sandbox = json!({
            "apiVersion": "agents.x-k8s.io/v1beta1",
            "kind": "Sandbox",
            "metadata": {"name": Self::NAME, "namespace": namespace},
            "spec": {
                "operatingMode": "Suspended",
                "podTemplate": {"spec": {"containers": [{"name": "none", "image": "none"}]}},
            },
        });
        let params = PatchParams::apply(MANAGER).force();
        api.patch(Self::NAME, &params, &Patch::Apply(&sandbox))
            .await
            .context("cannot make a Sandbox")?;
        Ok(Self { api })
    }

    /// Whether the controller has seen it.
    pub(crate) async fn seen(&self) -> bool {
        let sandbox = timeout(ANSWER, self.api.get(Self::NAME)).await;
        let Ok(Ok(sandbox)) = sandbox else {
            return false;
        };
        let conditions = sandbox.data["status"]["conditions"].as_array();
        conditions.is_some_and(|all| !all.is_empty())
    }

    /// Takes it away.
    pub(crate) async fn remove(self) -> Result<()> {
        self.api
            .delete(Self::NAME, &DeleteParams::default())
            .await
            .map(drop)
            .context("cannot delete a Sandbox")
    }
}

/// Whether a file is there and has something in it.
pub(crate) fn written(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

async fn exchange(port: u16, request: &str) -> Result<String> {
    let talk = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(LONGEST).read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    match timeout(ANSWER, talk).await {
        Ok(answer) => answer,
        Err(_) => bail!("no answer within {ANSWER:?}"),
    }
}
