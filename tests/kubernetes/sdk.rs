//! The real SDK of upstream, to which an activator is the sandbox router (sdk/story.py).
//!
//! 1.0.8 was the newest release when this was written; 0.5.6 is that of the controller's own version.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;

use crate::support::cluster::Setup;
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

/// A pool of agents with a volume each, which sleep after a second; and a user of the SDK.
async fn story(version: &str, kind: &str) {
    // The SDK tells the pod's address, which the testbed takes from 127.0.0.0/8.
    let setup = Setup::default().activator_flags(&["--allow-loopback-pod-ip"]);
    let cluster = setup.start().await;
    let spec = json!({"selector": {}, "cooldownPeriod": 1, "minimumUptime": 0});
    cluster.create(policy(spec)).await;
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
