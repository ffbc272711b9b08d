//! Parts that are killed, frozen, or end by themselves.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reveille_testbed::{Error, Nodes, Options, Part, Testbed};
use serde_json::json;
use tokio::time::timeout;

use crate::support::{get, lives, until};

async fn small() -> Testbed {
    let options = Options {
        nodes: Nodes::None,
        controller: false,
        audit: false,
        ..Options::default()
    };
    Testbed::start(options).await.unwrap()
}

async fn pid(testbed: &Testbed, part: Part) -> Option<u32> {
    let processes = testbed.processes().await.unwrap();
    let found = processes.iter().find(|(other, _)| *other == part);
    found.map(|(_, pid)| *pid)
}

#[tokio::test]
async fn what_was_written_outlives_the_parts_that_keep_it() {
    let testbed = small().await;
    let client = testbed.client().unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let map = serde_json::from_value(json!({"metadata": {"name": "kept"}})).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();

    let before = pid(&testbed, Part::ApiServer).await.unwrap();
    testbed.kill(Part::ApiServer).await.unwrap();
    assert!(!lives(before));
    assert_eq!(pid(&testbed, Part::ApiServer).await, None);
    assert!(get(&client, "/version").await.is_err());
    testbed.start_part(Part::ApiServer).await.unwrap();
    // The same client, so the same address, certificate and token.
    maps.get("kept").await.unwrap();

    testbed.kill(Part::Etcd).await.unwrap();
    testbed.start_part(Part::Etcd).await.unwrap();
    until("the API server to find etcd again", || async {
        maps.get("kept").await.ok()
    })
    .await;

    testbed.freeze(Part::ApiServer).await.unwrap();
    let silence = timeout(Duration::from_millis(300), get(&client, "/version")).await;
    assert!(silence.is_err(), "a frozen server answers: {silence:?}");
    testbed.thaw(Part::ApiServer).await.unwrap();
    until("the API server", || async {
        get(&client, "/version").await.ok()
    })
    .await;

    let scheduler = pid(&testbed, Part::Scheduler).await.unwrap();
    kill(Pid::from_raw(scheduler.cast_signed()), Signal::SIGKILL).unwrap();
    until("another scheduler", || async {
        pid(&testbed, Part::Scheduler)
            .await
            .filter(|pid| *pid != scheduler)
    })
    .await;
    testbed.kill(Part::Nats).await.unwrap();
    testbed.start_part(Part::Nats).await.unwrap();
    assert!(pid(&testbed, Part::Nats).await.is_some());
}

#[tokio::test]
async fn a_testbed_that_was_killed_says_so() {
    let testbed = small().await;
    kill(
        Pid::from_raw(testbed.facts().pid.cast_signed()),
        Signal::SIGKILL,
    )
    .unwrap();
    let error = until("an error", || async { testbed.processes().await.err() }).await;
    assert!(matches!(error, Error::Ended), "{error}");
}
