//! The Node object and its heartbeat.
//!
//! The object is watched, so that it comes back when it was deleted, and is set Ready again when the
//! node lifecycle controller gave it up, after an outage say.

use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::api::{Failure, MANAGER, Steps, call};

/// As the kubelet's.
const HEARTBEAT: Duration = Duration::from_secs(10);
const LEASE_SECONDS: u64 = 40;
const LEASES: &str = "kube-node-lease";

/// Set on new nodes by the API server until they are ready.
const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// Keeps the node registered and ready until `shutdown`.
pub(super) async fn keep(client: Client, name: String, shutdown: CancellationToken) {
    let nodes: Api<Node> = Api::all(client.clone());
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut watch = std::pin::pin!(watcher(nodes.clone(), only).backoff(Steps::default()));
    let mut beat = tokio::time::interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = false;
    let mut well = true;
    loop {
        let done = tokio::select! {
            biased; // the end first; a beat is rare and must not wait for a busy watch
            () = shutdown.cancelled() => return,
            _ = beat.tick() => renew(&client, &name).await,
            event = watch.try_next() => match event {
                Ok(Some(watcher::Event::Apply(node) | watcher::Event::InitApply(node))) => {
                    seen = true;
                    tend(&nodes, &name, &node).await
                }
                Ok(Some(watcher::Event::Init)) => {
                    seen = false;
                    Ok(())
                }
                Ok(Some(watcher::Event::InitDone)) if seen => Ok(()),
                Ok(Some(watcher::Event::InitDone | watcher::Event::Delete(_))) => register(&nodes, &name).await,
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(%error, "the watch of a node failed; it begins again");
                    Ok(())
                }
            },
        };
        if done.is_ok() != well {
            well = done.is_ok();
            match &done {
                Ok(()) => tracing::info!(node = %name, "node {name} reaches the API again"),
                Err(error) => {
                    tracing::warn!(node = %name, %error, "cannot keep node {name} registered: {error}");
                }
            }
        }
    }
}

async fn register(nodes: &Api<Node>, name: &str) -> Result<(), Failure> {
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": arch(),
            "testbed.reveille.dev/node": "agent",
        }},
    });
    let node = serde_json::from_value(node).map_err(kube::Error::SerdeError)?;
    match call(nodes.create(&PostParams::default(), &node)).await {
        // The watch tells of it, and then it is made ready.
        Ok(_) => Ok(()),
        Err(failure) if failure.code() == Some(409) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Makes it ready, and schedulable as a new one is not. A taint or a cordon of somebody else stays.
async fn tend(nodes: &Api<Node>, name: &str, node: &Node) -> Result<(), Failure> {
    let conditions = node.status.iter().flat_map(|status| &status.conditions);
    let ready = conditions
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let params = PatchParams::apply(MANAGER);
    if !ready {
        let patch = Patch::Strategic(json!({"status": status(name)}));
        call(nodes.patch_status(name, &params, &patch)).await?;
    }
    let taints = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    let mut taints = taints.map(|taint| taint.key.as_str());
    if taints.next() == Some(NOT_READY) && taints.next().is_none() {
        let version = &node.metadata.resource_version;
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"taints": null}});
        if ready {
            match call(nodes.patch(name, &params, &Patch::Merge(patch))).await {
                // The lifecycle controller was quicker.
                Err(failure) if failure.code() != Some(409) => return Err(failure),
                _ => {}
            }
        }
    }
    Ok(())
}

fn status(name: &str) -> Value {
    let now = Timestamp::now();
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": "processes of this machine",
            "lastHeartbeatTime": now, "lastTransitionTime": now})
    };
    let plenty =
        json!({"cpu": "10k", "memory": "64Ti", "ephemeral-storage": "64Ti", "pods": "100k"});
    json!({
        "capacity": plenty, "allocatable": plenty,
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": name}],
        "conditions": [
            condition("Ready", "True", "AgentReady"),
            condition("MemoryPressure", "False", "AgentHasSufficientMemory"),
            condition("DiskPressure", "False", "AgentHasNoDiskPressure"),
            condition("PIDPressure", "False", "AgentHasSufficientPID"),
        ],
        "nodeInfo": {
            "architecture": arch(), "operatingSystem": "linux", "kubeletVersion": env!("CARGO_PKG_VERSION"),
            "kubeProxyVersion": "", "osImage": "reveille testbed", "containerRuntimeVersion": "process://1",
            "machineID": name, "systemUUID": "", "bootID": "", "kernelVersion": "",
        },
    })
}

/// As Kubernetes names it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

async fn renew(client: &Client, name: &str) -> Result<(), Failure> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), LEASES);
    let now = format!("{:.6}", Timestamp::now());
    let lease = Patch::Apply(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now},
    }));
    let params = PatchParams::apply(MANAGER).force();
    call(leases.patch(name, &params, &lease)).await.map(|_| ())
}
