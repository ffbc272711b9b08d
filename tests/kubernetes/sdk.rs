//! The real SDK of upstream, to which an activator is the sandbox router (sdk/story.py).
//!
//! 1.0.8 was the newest release when this was written; 0.5.6 is that of the controller's own version.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::cluster::{Cluster, Setup};
use crate::support::manifests::{Agent, policy, pool};
use crate::support::plane::Plane;

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_sdk_works_with_sandboxes_that_fall_asleep() {
    story("1.0.8", "sync").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_asynchronous_sdk_works_with_sandboxes_that_fall_asleep() {
    story("1.0.8", "async").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_of_the_controllers_version_works_with_sandboxes_that_fall_asleep() {
    story("0.5.6", "sync").await;
    story("0.5.6", "async").await;
}

/// What a policy decides that says nothing but whom it is for is safe for whoever knows only names: through
/// every sleep claim and Sandbox stay as they are, and so do both names.
#[tokio::test(flavor = "multi_thread")]
async fn under_a_policy_of_defaults_a_sandbox_of_the_sdk_keeps_its_names_and_its_disk_to_its_end() {
    // But for the cooldown: a test cannot wait five minutes for each of four sleeps.
    let spec = json!({"selector": {}, "cooldownPeriod": 1});
    tokio::join!(
        life("1.0.8", "sync-life", &spec),
        life("1.0.8", "async-life", &spec),
        life("0.5.6", "sync-life", &spec),
    );
}

async fn life(version: &str, kind: &str, spec: &Value) {
    let cluster = run(version, kind, spec).await;
    let lost: Vec<_> = (cluster.audit.asked().into_iter())
        .filter(|asked| {
            let is_loss = |verb, resource| asked.verb == verb && asked.resource == resource;
            let unbinds = is_loss("delete", "sandboxclaims") || is_loss("create", "releasedclaims");
            asked.is_ours() && unbinds
        })
        .collect();
    assert!(lost.is_empty(), "{version} {kind}: {lost:?}");
}

/// Awake no longer than a second.
async fn story(version: &str, kind: &str) {
    let spec = json!({"selector": {}, "cooldownPeriod": 1, "minimumUptime": 0});
    run(version, kind, &spec).await;
}

/// Agents with a volume each under this policy; and a user of the SDK.
async fn run(version: &str, kind: &str, spec: &Value) -> Cluster {
    // The SDK tells the pod's address, which the testbed takes from 127.0.0.0/8.
    let setup = Setup::default().activator_flags(&["--allow-loopback-pod-ip"]);
    let cluster = setup.start().await;
    cluster.create(policy(spec.clone())).await;
    let agent = Agent::asleep("mould").flags(["--allow-execute", "--workspace", "/data/workspace"]);
    cluster.create_all(pool(&agent, 2)).await;

    let python = python(version).await;
    let router = format!("http://{}", cluster.activators[0].listen);
    let ran = Command::new(python)
        .arg(folder().join("story.py"))
        .args([kind, &router, &cluster.namespace, "pool"])
        .env("KUBECONFIG", &Plane::shared().await.kubeconfig)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    assert!(
        ran.status.success(),
        "{version} {kind}: {}\n{out}{err}",
        ran.status
    );
    println!("sdk {version} {kind}:\n{out}");
    cluster
}

async fn python(version: &str) -> PathBuf {
    let installed = Command::new(folder().join("install.sh"))
        .arg(version)
        .stderr(Stdio::inherit())
        .output()
        .await
        .unwrap();
    assert!(installed.status.success(), "{}", installed.status);
    PathBuf::from(String::from_utf8(installed.stdout).unwrap().trim())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubernetes/sdk")
}
