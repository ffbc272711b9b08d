//! Many wakes, fast wakes, wakes that fail.

use std::time::Duration;

use reveille_crds::change::Change;
use reveille_crds::names::annotation;
use reveille_crds::sandbox::OperatingMode::{Running, Suspended};

use super::bench::{Bench, MOUNT, SLEEPER, VOLUME, agent};
use crate::local::{group, proc};

#[tokio::test]
async fn what_cannot_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = agent("alice", "", "", "", "").replace("[sh, -c, \"\"]", "[no-such-agent]")
        + &agent("bob", SLEEPER, MOUNT, "", VOLUME);
    std::fs::create_dir_all(dir.path().join("volumes")).unwrap();
    // No folder can be made here, whoever asks.
    std::fs::write(dir.path().join("volumes/agents"), "").unwrap();
    let bench = Bench::start(dir.path(), &yaml).await;
    let mut watch = bench.store.watch();
    let mut faults = std::collections::BTreeMap::new();
    while faults.len() < 2 {
        if let Change::Pod(key, Some(facts)) = watch.next().await
            && let Some(fault) = &facts.fault
        {
            faults.insert(
                key.name().to_owned(),
                (fault.reason.to_string(), fault.message.to_string()),
            );
        }
    }
    assert_eq!(faults["alice"].0, "CreateContainerError");
    assert!(faults["alice"].1.contains("no-such-agent"), "{faults:?}");
    assert_eq!(faults["bob"].0, "CreateContainerConfigError");
    assert!(faults["bob"].1.contains("data"), "{faults:?}");
    bench.stop().await;
}

#[tokio::test]
async fn fifty_sandboxes_wake_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let yaml: String = (0..50)
        .map(|index| {
            agent(
                &format!("a{index}"),
                SLEEPER,
                "",
                "",
                "operatingMode: Suspended",
            )
        })
        .collect();
    let bench = Bench::start(dir.path(), &yaml).await;
    for index in 0..50 {
        bench.asleep(&format!("a{index}")).await;
        bench.set(&format!("a{index}"), Running);
    }
    let mut pods = Vec::new();
    for index in 0..50 {
        let pod = bench.ready(&format!("a{index}")).await;
        assert!(
            pod.metadata
                .annotations
                .as_ref()
                .unwrap()
                .contains_key(annotation::PORTS)
        );
        pods.push(pod.metadata.uid.clone().unwrap());
    }
    bench.stop().await;
    let marked = group::marked();
    assert!(
        pods.iter().all(|pod| !marked.contains_key(pod)),
        "an end leaves no process"
    );
    assert!(proc::pids().len() > 1);
}

#[tokio::test]
async fn a_wake_waits_for_no_interval() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::start(
        dir.path(),
        &agent("alice", SLEEPER, "", "", "operatingMode: Suspended"),
    )
    .await;
    let mut best = Duration::MAX;
    for _ in 0..10 {
        bench.asleep("alice").await;
        let began = tokio::time::Instant::now();
        bench.set("alice", Running);
        bench.ready("alice").await;
        best = best.min(began.elapsed());
        bench.set("alice", Suspended);
    }
    bench.asleep("alice").await;
    bench.stop().await;
    println!("best of ten wakes: {best:?}");
    // Typical are 2 to 4 ms in a debug build. The shortest interval that a wake could wait for is a second,
    // a probe's; on a machine that is busy with much else one of ten is still faster.
    assert!(best < Duration::from_secs(1), "{best:?}");
}
