//! Sleep and wake fifty times over: nothing stays behind. A process of its own, so that what is counted is ours.

use std::time::Duration;

use reveille_crds::SandboxKey;
use reveille_crds::change::Change;
use reveille_crds::sandbox::OperatingMode;
use reveille_crds::scaled_sandbox::validate;
use reveille_lifecycle::local::{Config, Controller};
use reveille_lifecycle::manifest;
use reveille_lifecycle::store::{ModeChange, Watch};
use tokio_util::sync::CancellationToken;

const MANIFEST: &str = "
apiVersion: agents.x-k8s.io/v1beta1
kind: Sandbox
metadata: {name: alice}
spec:
  operatingMode: Suspended
  volumeClaimTemplates: [{metadata: {name: data}, spec: {}}]
  podTemplate:
    spec:
      containers:
      - {name: a, command: [sleep, '100000'], volumeMounts: [{name: data, mountPath: /data}]}
      - {name: b, command: [sh, -c, 'sleep 100000 & wait'], readinessProbe: {exec: {command: ['true']}}}
      volumes: [{name: scratch, emptyDir: {}}]
";

async fn told(watch: &mut Watch, seen: impl Fn(&Change) -> bool) {
    let wait = async { while !seen(&watch.next().await) {} };
    tokio::time::timeout(Duration::from_secs(120), wait)
        .await
        .expect("a change");
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .expect("/proc is mounted")
        .count()
}

fn children() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task")
        .expect("/proc is mounted")
        .filter_map(Result::ok);
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists.map(|list| list.split_whitespace().count()).sum()
}

#[tokio::test]
async fn fifty_cycles_leave_no_process_and_no_file_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("alice.yaml");
    std::fs::write(&file, MANIFEST).unwrap();
    let config = Config {
        state_dir: dir.path().join("state"),
        logs: true,
        env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        path_dirs: Vec::new(),
    };
    let controller = Controller::open(config, manifest::load(&[file], validate).unwrap())
        .await
        .unwrap();
    let store = controller.store();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(controller.run(shutdown.clone()));
    let mut watch = store.watch();
    let mut uid = None;
    told(&mut watch, |change| matches!(change, Change::Synced)).await;
    let mut first = store.watch();
    if let Change::Sandbox(_, Some(facts)) = first.next().await {
        uid = Some(facts.uid.clone());
    }
    drop(first);
    let mut change = ModeChange {
        busy_until: None,
        key: SandboxKey::new("default", "alice").unwrap(),
        uid: uid.unwrap(),
        epoch: 0,
        from: OperatingMode::Suspended,
        to: OperatingMode::Running,
        cause: "api",
    };
    let mut counts = Vec::new();
    for turn in 1..=100 {
        change.epoch = store.set_mode(&change).unwrap();
        let awake = change.to == OperatingMode::Running;
        told(&mut watch, |told| match told {
            Change::Pod(_, Some(pod)) => awake && pod.ready,
            Change::Pod(_, None) => !awake,
            _ => false,
        })
        .await;
        std::mem::swap(&mut change.from, &mut change.to);
        if turn % 2 == 0 {
            assert_eq!(children(), 0);
            counts.push(open_files());
        }
    }
    // The first cycles open what stays open (the journal, the signal pipe); the emptying of the trash
    // holds a folder open for moments.
    let least = |counts: &[usize]| counts.iter().min().copied();
    assert!(least(&counts[40..]) <= least(&counts[2..12]), "{counts:?}");
    shutdown.cancel();
    task.await.unwrap().unwrap();
    for folder in ["run", "scratch", "trash"] {
        let mut left = std::fs::read_dir(dir.path().join("state").join(folder)).unwrap();
        assert!(left.next().is_none(), "{folder}");
    }
}
