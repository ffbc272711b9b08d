//! Sandboxes of upstream's controller on the node: what Reveille wakes and puts to sleep.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use reveille_crds::sandbox::Sandbox;
use serde_json::json;
use tokio::time::Instant;

use super::support::{Bench, get, ip, is_ready, until};

const CYCLES: usize = 20;

const ALICE: &str = "
apiVersion: agents.x-k8s.io/v1beta1
kind: Sandbox
metadata: {name: alice}
spec:
  operatingMode: Running
  podTemplate:
    spec:
      containers:
      - name: agent
        image: reveille:0.1.0
        command: [reveille, example-agent]
        args: [--name, alice, --data, /data]
        ports: [{name: http, containerPort: 8888}]
        readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1}
        volumeMounts: [{name: memory, mountPath: /data}]
      terminationGracePeriodSeconds: 10
  volumeClaimTemplates:
  - metadata: {name: memory}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";

#[tokio::test]
async fn a_sandbox_sleeps_and_wakes_twenty_times_with_its_memory() {
    let bench = Bench::new("wakes").await;
    bench.apply(ALICE).await;
    let sandboxes: Api<Sandbox> = bench.api();
    let mut pods: Vec<Pod> = Vec::new();
    let (mut pod_ready, mut answered) = (Vec::new(), Vec::new());
    let mut began = Instant::now();
    for cycle in 0..=CYCLES {
        let before = pods.last().map(|pod| pod.metadata.uid.clone());
        let pod = until(&bench.pods(), "alice", "ready", |pod| {
            let fresh = Some(&pod?.metadata.uid) != before.as_ref();
            (fresh && is_ready(pod?)).then(|| pod.cloned())?
        })
        .await;
        pod_ready.push(began.elapsed());
        let about = get(&ip(&pod), "/").await.unwrap();
        answered.push(began.elapsed());
        let about: serde_json::Value = serde_json::from_str(&about).unwrap();
        assert_eq!(about["wakes"], cycle + 1, "{about}");
        pods.push(pod);
        if cycle == CYCLES {
            break;
        }
        mode(&sandboxes, "Suspended").await;
        until(&sandboxes, "alice", "asleep", |sandbox| {
            let status = sandbox?.status.as_ref()?;
            let asleep = |reason: &str| reason == "PodTerminated";
            status
                .conditions
                .iter()
                .find(|it| it.type_ == "Suspended" && it.status == "True" && asleep(&it.reason))
                .map(drop)
        })
        .await;
        bench.gone("alice").await;
        began = Instant::now();
        mode(&sandboxes, "Running").await;
    }
    println!("created -> ready {:?}", pod_ready.remove(0));
    answered.remove(0);
    println!("resumed -> pod ready: {}", spread(pod_ready));
    println!("resumed -> answered:  {}", spread(answered));
}

async fn mode(sandboxes: &Api<Sandbox>, mode: &str) {
    let patch = Patch::Merge(json!({"spec": {"operatingMode": mode}}));
    sandboxes
        .patch("alice", &PatchParams::default(), &patch)
        .await
        .unwrap();
}

fn spread(mut all: Vec<Duration>) -> String {
    all.sort();
    format!(
        "median {:?}, best {:?}, worst {:?}",
        all[all.len() / 2],
        all[0],
        all[all.len() - 1]
    )
}
