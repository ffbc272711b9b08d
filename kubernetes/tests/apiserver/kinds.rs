//! Kinds that are installed and removed while the watches run.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams};
use reveille_crds::manifest;
use reveille_kubernetes::discovery::Served;
use reveille_kubernetes::watch::Scope;
use reveille_testbed::{Testbed, Who};

use crate::bench::{Bench, DEADLINE, Sandboxes, bare, key};

const CRD: &str = "scaledsandboxes.reveille.dev";

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_goes_with_its_kind_and_comes_with_it() {
    // Its own: others watch that kind too.
    let testbed = Testbed::start(bare()).await.unwrap();
    let namespace = testbed.namespace("kinds").await.unwrap();
    Sandboxes::of(&testbed, &namespace).create("alice").await;
    let alice = key(&namespace, "alice");
    let policy = "{apiVersion: reveille.dev/v1alpha1, kind: ScaledSandbox, metadata: {name: all}, spec: {selector: {}}}";
    testbed.apply_in(&namespace, policy).await.unwrap();
    let kubeconfig = testbed.kubeconfig(Who::Admin).await.unwrap();
    let mut bench = Bench::synced(&kubeconfig, Scope::default()).await;
    assert!(bench.index.target(&alice).unwrap().policy.is_some());

    let crds: Api<CustomResourceDefinition> = Api::all(testbed.client().unwrap());
    crds.delete(CRD, &DeleteParams::default()).await.unwrap();
    bench
        .until("no policy", |it| {
            it.target(&alice).unwrap().policy.is_none()
        })
        .await;
    until_served(&bench, |it| !it.policies).await;
    bench
        .until_healthy("nothing to complain of", |health| health.failing.is_empty())
        .await;

    let files = manifest::files();
    let (_, text) = files
        .iter()
        .find(|(name, _)| name.contains("scaled"))
        .unwrap();
    testbed.apply(text).await.unwrap();
    testbed.apply_in(&namespace, policy).await.unwrap();
    bench.discovery.again();
    bench
        .until("the policy", |it| {
            it.target(&alice).unwrap().policy.is_some()
        })
        .await;
}

async fn until_served(bench: &Bench, wanted: impl Fn(Served) -> bool) {
    let mut served = bench.discovery.served();
    let known = served.wait_for(|served| served.is_some_and(&wanted));
    tokio::time::timeout(DEADLINE, known)
        .await
        .unwrap()
        .unwrap();
}
