//! What a Sandbox does, awake and asleep.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use reveille_crds::change::{Change, Probe};
use reveille_crds::sandbox::OperatingMode::{Running, Suspended};

use super::bench::{Bench, MOUNT, SLEEPER, VOLUME, agent, condition, key, written};
use crate::local::group;
use crate::store::SandboxObject;

#[tokio::test]
async fn a_sandbox_keeps_its_name_and_its_volume_across_sleeps_and_gets_a_new_pod() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap 'exit 0' TERM; echo $HOSTNAME >> $FILE; while :; do sleep 0.01; done";
    let container = format!("{MOUNT}\n        env: [{{name: FILE, value: /data/lives}}]");
    let bench = Bench::start(dir.path(), &agent("alice", script, &container, "", VOLUME)).await;
    let lives = bench.dir.join("volumes/agents/data-alice/lives");
    let (uid, mut pods) = (bench.uid("alice"), Vec::new());
    for round in 1..=3 {
        pods.push(bench.ready("alice").await.metadata.uid.clone());
        written(&lives, &"alice\n".repeat(round)).await;
        bench.set("alice", Suspended);
        bench.asleep("alice").await;
        let status = bench
            .store
            .get::<SandboxObject>(&key("alice"))
            .unwrap()
            .sandbox
            .status
            .clone()
            .unwrap();
        assert!(status.pod_ips.is_empty() && status.node_name.is_none());
        assert_eq!(
            condition(&bench.store, "alice", "Ready"),
            Some((false, "SandboxSuspended".to_owned()))
        );
        bench.set("alice", Running);
    }
    pods.dedup();
    assert_eq!(pods.len(), 3);
    assert_eq!(bench.uid("alice"), uid);
    bench.stop().await;
}

#[tokio::test]
async fn container_ports_are_mapped_and_told_to_the_agent_and_to_watchers() {
    let dir = tempfile::tempdir().unwrap();
    let container = "ports: [{containerPort: 8888}, {containerPort: 9000, name: web}]\n        readinessProbe: {httpGet: {port: web, path: /ready}, initialDelaySeconds: 60}";
    let script = "echo $HOST $PORT $PORT_WEB; exec sleep 100000";
    let bench = Bench::start(dir.path(), &agent("alice", script, container, "", "")).await;
    let mut watch = bench.store.watch();
    let facts = loop {
        if let Change::Pod(_, Some(facts)) = watch.next().await
            && facts.address(8888).is_some()
        {
            break facts;
        }
    };
    let (first, web) = (facts.address(8888).unwrap(), facts.address(9000).unwrap());
    assert!(first.ip().is_loopback() && facts.address(1).is_none() && !facts.ready);
    assert!(
        matches!(&facts.probe, Some(Probe::Http { port: 9000, path, .. }) if &**path == "/ready")
    );
    let log = bench.dir.join("logs/agents/alice/agent.log");
    written(
        &log,
        &format!("127.0.0.1 {} {}\n", first.port(), web.port()),
    )
    .await;
    bench.stop().await;
}

#[tokio::test]
async fn a_container_that_keeps_ending_is_started_once_more_and_then_backed_off() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::start(dir.path(), &agent("alice", "echo life; exit 3", "", "", "")).await;
    let mut watch = bench.store.watch();
    let fault = loop {
        if let Change::Pod(_, Some(facts)) = watch.next().await
            && let Some(fault) = &facts.fault
        {
            break fault.clone();
        }
    };
    assert_eq!(&*fault.reason, "CrashLoopBackOff");
    assert!(
        fault.message.contains("back-off 10s") && fault.message.contains("code 3"),
        "{}",
        fault.message
    );
    assert_eq!(bench.log("alice").matches("life").count(), 2);
    bench.stop().await;
}

#[tokio::test]
async fn a_pod_that_ended_for_good_stays_until_a_sleep_and_a_wake() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = agent("alice", "echo life; exit 7", "", "restartPolicy: Never", "");
    let bench = Bench::start(dir.path(), &yaml).await;
    let failed = |store: &crate::store::Store| {
        (condition(store, "alice", "Finished")? == (true, "PodFailed".to_owned()))
            .then(|| store.get::<Pod>(&key("alice")))?
    };
    let first = bench.until("a failed pod", failed).await;
    assert_eq!(
        condition(&bench.store, "alice", "Ready"),
        Some((false, "PodFailed".to_owned()))
    );
    // Both before the controller can look: the wake still gets its pod.
    bench.set("alice", Suspended);
    bench.set("alice", Running);
    let second = bench
        .until("another pod", |store| {
            failed(store).filter(|pod| pod.metadata.uid != first.metadata.uid)
        })
        .await;
    assert_ne!(first.metadata.uid, second.metadata.uid);
    assert_eq!(bench.log("alice").matches("life").count(), 2);
    bench.stop().await;
}

#[tokio::test]
async fn init_containers_run_in_order_before_the_others_and_sidecars_beside_them() {
    let dir = tempfile::tempdir().unwrap();
    let init = "initContainers:
      - {name: one, command: [sh, -c, 'echo one >> $0', /scratch/order], volumeMounts: [{name: scratch, mountPath: /scratch}]}
      - {name: side, restartPolicy: Always, command: [sh, -c, 'echo side >> $0; exec sleep 100000', /scratch/order], volumeMounts: [{name: scratch, mountPath: /scratch}], startupProbe: {exec: {command: [grep, side, /scratch/order]}}}
      - {name: two, command: [sh, -c, 'echo two >> $0', /scratch/order], volumeMounts: [{name: scratch, mountPath: /scratch}]}
      volumes: [{name: scratch, emptyDir: {}}]";
    let container =
        "args: [/scratch/order]\n        volumeMounts: [{name: scratch, mountPath: /scratch}]";
    let bench = Bench::start(
        dir.path(),
        &agent("alice", "cat $0; exec sleep 100000", container, init, ""),
    )
    .await;
    let pod = bench.ready("alice").await;
    written(
        &bench.dir.join("logs/agents/alice/agent.log"),
        "one\nside\ntwo\n",
    )
    .await;
    let scratch = bench
        .dir
        .join("scratch")
        .join(pod.metadata.uid.as_deref().unwrap());
    assert!(scratch.exists());
    bench.set("alice", Suspended);
    bench.asleep("alice").await;
    assert!(!scratch.exists(), "an emptyDir ends with its pod");
    bench.stop().await;
}

#[tokio::test]
async fn readiness_startup_and_liveness_probes_are_heard() {
    let dir = tempfile::tempdir().unwrap();
    // Bound and not listening: nobody else gets the port once the listener is gone.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.set_reuseaddr(true).unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = held.local_addr().unwrap();
    let port = address.port();
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let container = format!(
        "volumeMounts: [{{name: data, mountPath: /data}}]
        startupProbe: {{exec: {{command: [test, -e, /data/started]}}}}
        readinessProbe: {{tcpSocket: {{port: {port}}}, periodSeconds: 1, timeoutSeconds: 30, failureThreshold: 1}}
        livenessProbe: {{exec: {{command: [test, -e, /data/started]}}, periodSeconds: 1, timeoutSeconds: 30, failureThreshold: 1}}"
    );
    let bench = Bench::start(
        dir.path(),
        &agent(
            "alice",
            "echo life; exec sleep 100000",
            &container,
            "",
            VOLUME,
        ),
    )
    .await;
    let volume = bench.dir.join("volumes/agents/data-alice");
    bench
        .until("a running container", |store| {
            let pod = store.get::<Pod>(&key("alice"))?;
            (pod.status.as_ref()?.phase.as_deref()? == "Running").then_some(())
        })
        .await;
    assert_eq!(
        condition(&bench.store, "alice", "Ready"),
        Some((false, "DependenciesNotReady".to_owned()))
    );
    std::fs::write(volume.join("started"), "").unwrap();
    bench.ready("alice").await;
    drop(listener);
    bench
        .until("unready", |store| {
            (!condition(store, "alice", "Ready")?.0).then_some(())
        })
        .await;
    std::fs::remove_file(volume.join("started")).unwrap();
    bench
        .until("a restart", |store| {
            let pod = store.get::<Pod>(&key("alice"))?;
            let status = pod
                .status
                .as_ref()?
                .container_statuses
                .as_ref()?
                .first()?
                .restart_count;
            (status == 1).then_some(())
        })
        .await;
    bench.stop().await;
}

#[tokio::test]
async fn a_wake_during_the_end_waits_for_the_old_pod() {
    let dir = tempfile::tempdir().unwrap();
    // Takes its time to end, and would be seen if another ran beside it.
    let script = "trap 'sleep 0.3; rmdir $0/alone; exit 0' TERM; mkdir $0/alone || echo BOTH; echo up >> $0/log; while :; do sleep 0.01; done";
    let container = format!("args: [/data]\n        {MOUNT}");
    let bench = Bench::start(dir.path(), &agent("alice", script, &container, "", VOLUME)).await;
    for round in 1..=3 {
        let before = bench.ready("alice").await.metadata.uid.clone();
        written(
            &bench.dir.join("volumes/agents/data-alice/log"),
            &"up\n".repeat(round),
        )
        .await;
        bench.set("alice", Suspended);
        bench
            .until("an ending pod", |store| {
                store
                    .get::<Pod>(&key("alice"))?
                    .metadata
                    .deletion_timestamp
                    .clone()
            })
            .await;
        bench.set("alice", Running);
        assert!(condition(&bench.store, "alice", "Ready").is_none_or(|(on, _)| !on));
        let after = bench
            .until("a new pod", |store| {
                store
                    .get::<Pod>(&key("alice"))?
                    .metadata
                    .uid
                    .clone()
                    .filter(|uid| Some(uid) != before.as_ref())
            })
            .await;
        assert_ne!(Some(after), before);
    }
    bench.ready("alice").await;
    assert!(
        !bench.log("alice").contains("BOTH"),
        "{}",
        bench.log("alice")
    );
    bench.stop().await;
}

#[tokio::test]
async fn a_sleep_takes_the_whole_group_and_what_left_it() {
    let dir = tempfile::tempdir().unwrap();
    let script =
        "setsid sleep 100000 & sleep 100000 & echo up; trap '' TERM; while :; do sleep 0.01; done";
    let bench = Bench::start(
        dir.path(),
        &agent("alice", script, "", "terminationGracePeriodSeconds: 0", ""),
    )
    .await;
    let pod = bench.ready("alice").await.metadata.uid.clone().unwrap();
    written(&bench.dir.join("logs/agents/alice/agent.log"), "up").await;
    // One that is just becoming another program has no environment for a moment.
    while group::marked().get(&pod).map_or(0, Vec::len) < 3 {
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    bench.set("alice", Suspended);
    bench.asleep("alice").await;
    assert!(!group::marked().contains_key(&pod));
    assert!(!bench.dir.join("run").join(&pod).exists());
    bench.stop().await;
}

#[tokio::test]
async fn an_expired_sandbox_is_not_woken_and_a_deleted_one_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let past = "shutdownTime: '2020-01-01T00:00:00Z'";
    let yaml = agent("kept", SLEEPER, "", "", past)
        + &agent(
            "gone",
            SLEEPER,
            "",
            "",
            &format!("{past}\n  shutdownPolicy: Delete"),
        )
        + &agent("alice", SLEEPER, MOUNT, "", VOLUME);
    let bench = Bench::start(dir.path(), &yaml).await;
    bench
        .until("expiry", |store| {
            (condition(store, "kept", "Ready")?.1 == "SandboxExpired").then_some(())
        })
        .await;
    bench
        .until("no gone", |store| {
            store
                .get::<SandboxObject>(&key("gone"))
                .is_none()
                .then_some(())
        })
        .await;
    assert!(bench.store.get::<Pod>(&key("kept")).is_none());
    bench.ready("alice").await;
    let volume = bench.dir.join("volumes/agents/data-alice");
    // Nothing that was made for it stays, the log of its agent included.
    let logs = bench.dir.join("logs/agents/alice");
    std::fs::create_dir_all(&logs).unwrap();
    assert!(volume.exists());
    bench.store.delete::<SandboxObject>(&key("alice"));
    bench
        .until("no alice", |store| {
            store
                .get::<SandboxObject>(&key("alice"))
                .is_none()
                .then_some(())
        })
        .await;
    assert!(!logs.exists(), "{}", logs.display());
    assert!(!volume.exists() && bench.store.get::<Pod>(&key("alice")).is_none());
    bench.stop().await;
}
