//! How pods end: politely, late, by force, and before they began.

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use kube::runtime::watcher;

use super::support::{
    Bench, DEADLINE, condition, eventually, exit_code, is_alive, is_ready, phase, until, written,
};

/// Ends at SIGTERM with code 0 once it has taken its time.
const POLITE: &str = "trap 'echo asked >> $SHARED/asked; while ! test -e $SHARED/go; do sleep 0.01; done; exit 0' TERM; echo $$ > $SHARED/pid; while :; do sleep 0.01; done";
const DEAF: &str = "trap '' TERM; echo $$ > $SHARED/pid; while :; do sleep 0.05; done";

/// All that the API says of a pod from now until it is gone. Returns once it has said the first.
async fn history(bench: &Bench<'_>, name: &str) -> tokio::task::JoinHandle<Vec<Pod>> {
    let mut objects = watcher::watch_object(bench.pods(), name)
        .filter_map(async |object| object.ok())
        .take_while(|object| std::future::ready(object.is_some()))
        .filter_map(std::future::ready)
        .boxed();
    let first = tokio::time::timeout(DEADLINE, objects.next()).await;
    let first = first.expect("an answer").expect("a pod");
    tokio::spawn(async move {
        let rest: Vec<Pod> = tokio::time::timeout(DEADLINE, objects.collect())
            .await
            .expect("an end");
        std::iter::once(first).chain(rest).collect()
    })
}

#[tokio::test]
async fn a_deleted_pod_stays_ready_until_its_process_ends_and_then_goes_with_its_last_status() {
    let bench = Bench::new("polite").await;
    bench.apply(&bench.shell("alice", POLITE, "", "")).await;
    bench.ready("alice").await;
    let pid = written(&bench.file("pid"), "\n").await;
    let history = history(&bench, "alice").await;
    bench.delete("alice").await;
    written(&bench.file("asked"), "asked").await;
    let dying = bench.pods().get("alice").await.unwrap();
    assert!(dying.metadata.deletion_timestamp.is_some() && is_ready(&dying));
    std::fs::write(bench.file("go"), "").unwrap();
    let history = history.await.unwrap();
    let last = history.last().unwrap();
    assert_eq!((phase(last), exit_code(last)), ("Succeeded", Some(0)));
    assert_eq!(
        condition(last, "Ready"),
        Some((false, "PodCompleted".to_owned()))
    );
    assert!(last.metadata.deletion_timestamp.is_some());
    assert!(!is_alive(&pid));
}

#[tokio::test]
async fn a_process_that_dies_of_the_signal_makes_its_pod_failed() {
    let bench = Bench::new("signal").await;
    bench
        .apply(&bench.shell("alice", "exec sleep 100000", "", ""))
        .await;
    bench.ready("alice").await;
    let history = history(&bench, "alice").await;
    bench.delete("alice").await;
    let history = history.await.unwrap();
    let last = history.last().unwrap();
    assert_eq!((phase(last), exit_code(last)), ("Failed", Some(143)));
    assert_eq!(
        condition(last, "Ready"),
        Some((false, "PodFailed".to_owned()))
    );
    assert!(
        condition(last, "PodScheduled").unwrap().0,
        "the scheduler's word stays"
    );
}

#[tokio::test]
async fn a_deaf_process_is_killed_after_its_grace_and_a_later_shorter_grace_counts() {
    let bench = Bench::new("deaf").await;
    let pods = bench.shell("alice", DEAF, "", "terminationGracePeriodSeconds: 2")
        + &bench.shell(
            "bob",
            &DEAF.replace("pid", "pid2"),
            "",
            "terminationGracePeriodSeconds: 100000",
        );
    bench.apply(&pods).await;
    for (name, file) in [("alice", "pid"), ("bob", "pid2")] {
        bench.ready(name).await;
        written(&bench.file(file), "\n").await;
        bench.delete(name).await;
    }
    let history = history(&bench, "bob").await;
    bench.delete_within("bob", 1).await;
    bench.gone("alice").await;
    let history = history.await.unwrap();
    assert_eq!(exit_code(history.last().unwrap()), Some(137));
    for file in ["pid", "pid2"] {
        assert!(!is_alive(&written(&bench.file(file), "\n").await));
    }
}

#[tokio::test]
async fn a_pod_deleted_by_force_is_gone_at_once_and_its_process_soon() {
    let bench = Bench::new("force").await;
    bench.apply(&bench.shell("alice", DEAF, "", "")).await;
    let first = bench.ready("alice").await;
    let pid = written(&bench.file("pid"), "\n").await;
    bench.delete_within("alice", 0).await;
    // Another of that name begins meanwhile, and is not mistaken for the first.
    bench
        .apply(&bench.shell("alice", "exec sleep 100000", "", ""))
        .await;
    let second = bench.ready("alice").await;
    assert_ne!(first.metadata.uid, second.metadata.uid);
    eventually("the end of the first", || !is_alive(&pid)).await;
    assert!(is_ready(&bench.pods().get("alice").await.unwrap()));
}

#[tokio::test]
async fn a_pod_deleted_before_it_ran_goes_too() {
    let bench = Bench::new("early").await;
    let init = "initContainers: [{name: slow, image: none, command: [sleep, '100000']}]";
    let script = "echo ran > $SHARED/ran; exec sleep 100000";
    let yaml = bench.shell("slow", script, "", init)
        + &bench.shell(
            "lacks",
            script,
            "envFrom: [{configMapRef: {name: nowhere}}]",
            "",
        );
    bench.apply(&yaml).await;
    for name in ["slow", "lacks"] {
        until(&bench.pods(), name, "begun", |pod| {
            pod?.status.as_ref()?.container_statuses.as_ref().map(drop)
        })
        .await;
        let history = history(&bench, name).await;
        bench.delete(name).await;
        assert_eq!(phase(history.await.unwrap().last().unwrap()), "Failed");
    }
    // At once after it was created, a hundred times: whatever the node was doing, it goes.
    for index in 0..100 {
        bench
            .apply(&bench.shell(&format!("brief-{index}"), script, "", ""))
            .await;
        let _ = bench
            .pods()
            .delete(&format!("brief-{index}"), &DeleteParams::default())
            .await;
    }
    for index in 0..100 {
        bench.gone(&format!("brief-{index}")).await;
    }
}
