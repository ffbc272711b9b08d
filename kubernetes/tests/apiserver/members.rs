//! Members by real pods, whose containers only seem to run: there are no nodes here.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use reveille_kubernetes::health::Health;
use reveille_kubernetes::members;
use reveille_testbed::Who;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bench::{DEADLINE, client, shared};

async fn create(pods: &Api<Pod>, name: &str) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "activator"}},
        "spec": {"schedulerName": "nobody", "containers": [{"name": "activator", "image": "activator:1"}]},
    });
    let pod = serde_json::from_value(pod).unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
}

async fn container_is(pods: &Api<Pod>, name: &str, state: &str) {
    let detail = match state {
        "terminated" => json!({"exitCode": 0}),
        _ => json!({}),
    };
    let status = json!({"status": {"phase": "Running", "containerStatuses": [{
        "name": "activator", "ready": true, "restartCount": 0, "image": "activator:1", "imageID": "",
        "state": {state: detail},
    }]}});
    let patch = Patch::Merge(&status);
    pods.patch_status(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

async fn until(names: &mut watch::Receiver<Vec<Arc<str>>>, wanted: &[&str]) {
    let same = |names: &Vec<Arc<str>>| names.iter().map(|it| &**it).eq(wanted.iter().copied());
    let done = tokio::time::timeout(DEADLINE, names.wait_for(same)).await;
    let done = done.map(|it| drop(it.unwrap()));
    assert!(done.is_ok(), "{wanted:?}, not {:?}", names.borrow());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_a_member_from_the_start_of_its_container_to_its_end() {
    let testbed = shared().await;
    let namespace = testbed.namespace("members").await.unwrap();
    let pods: Api<Pod> = Api::namespaced(testbed.client().unwrap(), &namespace);
    create(&pods, "a").await;
    create(&pods, "b").await;
    container_is(&pods, "a", "running").await;
    let (tx, mut names) = watch::channel(Vec::new());
    let shutdown = CancellationToken::new();
    let kubeconfig = testbed.kubeconfig(Who::Admin).await.unwrap();
    let task = tokio::spawn(members::follow(
        client(&kubeconfig).await,
        namespace,
        "app=activator".to_owned(),
        tx,
        watch::Sender::new(Health::default()),
        shutdown.clone(),
    ));
    until(&mut names, &["a"]).await;
    container_is(&pods, "b", "running").await;
    until(&mut names, &["a", "b"]).await;
    container_is(&pods, "a", "terminated").await;
    until(&mut names, &["b"]).await;
    pods.delete("b", &DeleteParams::default()).await.unwrap();
    until(&mut names, &[]).await;
    shutdown.cancel();
    task.await.unwrap();
}
