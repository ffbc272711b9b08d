//! Pods without a process.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::json;
use tokio::time::Instant;

use super::support::{
    Bench, DEADLINE, condition, exit_code, ip, is_ready, main_container, phase, until,
};

/// Enough to show that nothing is per second or in line; thousands are the testbed's daily work.
const MANY: usize = 300;
/// Creations at once, which an API server on this machine takes without refusing any.
const AT_ONCE: usize = 64;

fn scripted(name: &str, script: &serde_json::Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": {"testbed.reveille.dev/script": script.to_string()}},
        "spec": {"containers": [{"name": "main", "image": "none"}], "terminationGracePeriodSeconds": 3},
    }))
    .unwrap()
}

#[tokio::test]
async fn hundreds_of_pods_become_ready_each_with_an_address_and_all_go() {
    let bench = Bench::new("many").await;
    let pods = bench.pods();
    let names: Vec<String> = (0..MANY).map(|index| format!("pod-{index}")).collect();
    let script = json!({"scheduledMs": 1, "runningMs": 5, "readyMs": 5, "terminateMs": 20});
    let began = Instant::now();
    let names = stream::iter(&names);
    names
        .for_each_concurrent(AT_ONCE, async |name| create(&bench, name, &script).await)
        .await;
    println!("{MANY} pods created within {:?}", began.elapsed());
    let began = Instant::now();
    let addresses = watched(&bench, |pods| {
        let ready = pods.values().filter(|pod| is_ready(pod));
        let addresses: HashSet<String> = ready.map(ip).collect();
        (addresses.len() == MANY).then_some(addresses)
    })
    .await;
    println!("{MANY} pods ready after {:?}", began.elapsed());
    assert!(addresses.iter().all(|ip| ip.starts_with("127.")));
    let began = Instant::now();
    pods.delete_collection(&DeleteParams::default(), &ListParams::default())
        .await
        .unwrap();
    watched(&bench, |pods| pods.is_empty().then_some(())).await;
    println!("{MANY} pods gone after {:?}", began.elapsed());
}

/// Watches all pods of the namespace until `look` sees it.
async fn watched<T>(bench: &Bench<'_>, look: impl Fn(&HashMap<String, Pod>) -> Option<T>) -> T {
    let mut events = std::pin::pin!(watcher(bench.pods(), watcher::Config::default()));
    let mut pods = HashMap::new();
    let wait = async {
        loop {
            match events.next().await.expect("a watch never ends") {
                Ok(Event::Apply(pod) | Event::InitApply(pod)) => {
                    pods.insert(pod.name_any(), pod);
                }
                Ok(Event::Delete(pod)) => {
                    pods.remove(&pod.name_any());
                }
                Ok(Event::Init) => {
                    pods.clear();
                    continue;
                }
                Ok(Event::InitDone) => {}
                // An API that is away comes back, or the deadline does.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            }
            if let Some(seen) = look(&pods) {
                return seen;
            }
        }
    };
    let seen = tokio::time::timeout(DEADLINE, wait).await;
    seen.expect("the pods to get there")
}

#[tokio::test]
async fn a_script_can_fail_in_every_way() {
    let bench = Bench::new("fails").await;
    let pods = bench.pods();
    let missing = json!({"fail": {"reason": "ImagePullBackOff", "message": "no such image"}});
    for (name, script) in [
        ("never-ready", json!({"neverReady": true})),
        ("no-image", missing),
        ("ends", json!({"exit": {"code": 9, "afterMs": 1}})),
        ("mistaken", json!({"redyMs": 1})),
    ] {
        create(&bench, name, &script).await;
    }
    let pod = until(&pods, "never-ready", "running", |pod| {
        let started = main_container(pod?)?.started == Some(true);
        pod.filter(|_| started).cloned()
    })
    .await;
    assert!(!is_ready(&pod) && phase(&pod) == "Running");
    let message = |reason: &'static str| {
        move |pod: Option<&Pod>| {
            let waiting = main_container(pod?)?.state.as_ref()?.waiting.clone()?;
            (waiting.reason.as_deref() == Some(reason)).then(|| waiting.message.unwrap_or_default())
        }
    };
    let fault = until(&pods, "no-image", "failing", message("ImagePullBackOff")).await;
    assert_eq!(fault, "no such image");
    let mistake = message("CreateContainerConfigError");
    let mistake = until(&pods, "mistaken", "refused", mistake).await;
    assert!(mistake.contains("redyMs"), "{mistake}");
    until(&pods, "ends", "ended", |pod| {
        (exit_code(pod?)? == 9 && phase(pod?) == "Failed").then_some(())
    })
    .await;
    for name in ["never-ready", "no-image", "ends", "mistaken"] {
        bench.delete(name).await;
        bench.gone(name).await;
    }
}

#[tokio::test]
async fn a_scripted_pod_can_be_slow_to_end_or_never_end_as_on_a_dead_node() {
    let bench = Bench::new("ends").await;
    let pods = bench.pods();
    for (name, script) in [
        ("unseen", json!({"ignore": "pod"})),
        ("undead", json!({"ignore": "deletion", "terminateCode": 1})),
        ("slow", json!({"terminateMs": 1_000_000})),
    ] {
        create(&bench, name, &script).await;
    }
    until(&pods, "unseen", "bound", |pod| {
        condition(pod?, "PodScheduled").filter(|it| it.0)
    })
    .await;
    for name in ["undead", "slow"] {
        bench.ready(name).await;
    }
    for name in ["unseen", "undead", "slow"] {
        bench.delete(name).await;
    }
    // No longer than its grace.
    bench.gone("slow").await;
    until(&pods, "undead", "ended", |pod| {
        (phase(pod?) == "Failed").then_some(())
    })
    .await;
    let unseen = pods.get("unseen").await.unwrap();
    assert!(unseen.status.unwrap().pod_ip.is_none());
    for name in ["unseen", "undead"] {
        bench.delete_within(name, 0).await;
        bench.gone(name).await;
    }
}

async fn create(bench: &Bench<'_>, name: &str, script: &serde_json::Value) {
    let pod = scripted(name, script);
    bench
        .pods()
        .create(&PostParams::default(), &pod)
        .await
        .unwrap();
}
