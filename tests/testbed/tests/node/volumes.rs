//! Claims, and the folders behind them.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use kube::api::DeleteParams;

use super::support::{Bench, eventually, until, written};

const CLAIM: &str = "---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";

#[tokio::test]
async fn a_claim_is_bound_keeps_what_pods_write_and_goes_with_its_folder() {
    let bench = Bench::new("claims").await;
    let script = "echo life >> $FILE; exec sleep 100000";
    let container = "volumeMounts: [{name: data, mountPath: /data}]";
    let volumes = "volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]";
    let pod = bench
        .shell("alice", script, container, volumes)
        .replace("env: [", "env: [{name: FILE, value: /data/lives}, ");
    bench.apply(&format!("{CLAIM}{pod}")).await;
    bench.ready("alice").await;
    let claims: Api<PersistentVolumeClaim> = bench.api();
    let claim = claims.get("data").await.unwrap();
    let name = claim.spec.unwrap().volume_name.unwrap();
    let volumes: Api<PersistentVolume> = Api::all(bench.client.clone());
    let volume = volumes.get(&name).await.unwrap();
    let folder = volume.spec.unwrap().host_path.unwrap().path;
    let folder = std::path::PathBuf::from(folder);
    written(&folder.join("lives"), "life\n").await;
    bench.delete("alice").await;
    bench.gone("alice").await;
    bench.apply(&pod).await;
    bench.ready("alice").await;
    written(&folder.join("lives"), "life\nlife\n").await;
    bench.delete("alice").await;
    claims
        .delete("data", &DeleteParams::default())
        .await
        .unwrap();
    until(&volumes, &name, "gone", |volume| {
        volume.is_none().then_some(())
    })
    .await;
    eventually("no folder", || !folder.exists()).await;
}
