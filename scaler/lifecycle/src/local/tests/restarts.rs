//! What outlives the controller, however it ended.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use reveille_crds::sandbox::OperatingMode::{Running, Suspended};

use super::bench::{Bench, MOUNT, SLEEPER, VOLUME, agent, key, open, written};
use crate::local::environment::{Invocation, POD_UID};
use crate::local::orphans::{self, RunRecord};
use crate::local::process::Process;
use crate::local::{Error, group};
use crate::store::SandboxObject;

#[tokio::test]
async fn a_restart_keeps_identity_epoch_and_who_sleeps() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = agent("alice", SLEEPER, MOUNT, "", VOLUME) + &agent("bob", SLEEPER, "", "", "");
    let bench = Bench::start(dir.path(), &yaml).await;
    bench.ready("alice").await;
    bench.ready("bob").await;
    bench.set("alice", Suspended);
    bench.asleep("alice").await;
    let before = [bench.uid("alice"), bench.uid("bob")];
    bench.stop().await;
    let bench = Bench::start(dir.path(), &yaml).await;
    bench.asleep("alice").await;
    bench.ready("bob").await;
    assert_eq!([bench.uid("alice"), bench.uid("bob")], before);
    bench.set("alice", Running);
    bench.ready("alice").await;
    let object = bench.store.get::<SandboxObject>(&key("alice")).unwrap();
    assert_eq!(
        object.sandbox.metadata.annotations.as_ref().unwrap()["reveille.dev/epoch"],
        "2"
    );
    bench.stop().await;
    // Away and back: the same sandbox still.
    Bench::start(dir.path(), &agent("bob", SLEEPER, "", "", ""))
        .await
        .stop()
        .await;
    let bench = Bench::start(dir.path(), &yaml).await;
    assert_eq!(bench.uid("alice"), before[0]);
    bench.stop().await;
}

#[tokio::test]
async fn volumes_are_immutable_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    Bench::start(dir.path(), &agent("alice", SLEEPER, MOUNT, "", VOLUME))
        .await
        .stop()
        .await;
    let other = agent("alice", SLEEPER, "", "", "");
    let error = open(dir.path(), &other).await.err().unwrap();
    assert!(
        error
            .to_string()
            .contains("volumeClaimTemplates is immutable"),
        "{error}"
    );
}

#[tokio::test]
async fn a_state_folder_has_one_user_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = agent("alice", SLEEPER, "", "", "");
    let first = Bench::start(dir.path(), &yaml).await;
    let error = open(dir.path(), &yaml).await.err().unwrap();
    assert!(
        matches!(&error, Error::InUse { pid, .. } if *pid == std::process::id().to_string()),
        "{error}"
    );
    first.stop().await;
    open(dir.path(), &yaml).await.unwrap();
}

#[tokio::test]
async fn a_damaged_journal_is_told_and_a_torn_end_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = agent("alice", SLEEPER, "", "", "operatingMode: Suspended");
    let bench = Bench::start(dir.path(), &yaml).await;
    let uid = bench.uid("alice");
    bench.stop().await;
    let journal = dir.path().join("objects.jsonl");
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&journal)
        .unwrap();
    file.write_all(br#"{"line":"sandboxGone","key":"agents/al"#)
        .unwrap();
    let bench = Bench::start(dir.path(), &yaml).await;
    assert_eq!(bench.uid("alice"), uid);
    bench.stop().await;
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(
        &journal,
        text.replacen("\"line\":\"template\"", "\"line\":", 1),
    )
    .unwrap();
    let error = open(dir.path(), &yaml).await.err().unwrap();
    assert!(matches!(&error, Error::Damaged { line: 2, .. }), "{error}");
    assert!(error.to_string().contains("move it away"));
}

fn shell(script: &str, pod: &str) -> Invocation {
    let env = BTreeMap::from([
        ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
        (POD_UID.to_owned(), pod.to_owned()),
    ]);
    Invocation {
        command: ["sh", "-c", script].map(str::to_owned).into(),
        env,
        working_dir: None,
    }
}

#[tokio::test]
async fn what_a_killed_predecessor_left_running_is_ended_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    std::fs::create_dir_all(&run).unwrap();
    // One that is deaf to SIGTERM, one that the kill left unrecorded but for its name, one that left its group.
    let marks = ["orphan-deaf", "orphan-unrecorded", "orphan-stray"]
        .map(|mark| format!("{mark}-{}", std::process::id()));
    let ready = dir.path().join("ready");
    let deaf = format!(
        "trap '' TERM; echo deaf >> {0}; while :; do sleep 0.05; done",
        ready.display()
    );
    let stray = format!(
        "setsid sh -c 'echo stray >> {0}; sleep 100000' & sleep 100000",
        ready.display()
    );
    let mut processes = Vec::new();
    for (mark, script) in marks.iter().zip([deaf.as_str(), SLEEPER, stray.as_str()]) {
        let record = RunRecord::create(&run, mark, Duration::from_secs(1)).unwrap();
        let process = Process::spawn(&shell(script, mark), &[], None).unwrap();
        if mark != &marks[1] {
            record.started(process.pid());
        }
        processes.push(process);
    }
    std::fs::write(run.join(&marks[1]), "{torn").unwrap();
    written(&ready, "deaf").await;
    written(&ready, "stray").await;
    // One that is just becoming another program has no environment for a moment.
    while !marks.iter().all(|mark| group::marked().contains_key(mark)) {
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    // The dead leaders are ours to reap here, as they would be init's.
    let reap = async {
        for process in &mut processes {
            process.exited().await.unwrap();
        }
    };
    let yaml = agent("alice", SLEEPER, "", "", "");
    let (opened, ()) = tokio::join!(open(dir.path(), &yaml), reap);
    opened.unwrap();
    assert!(marks.iter().all(|mark| !group::marked().contains_key(mark)));
    assert_eq!(std::fs::read_dir(&run).unwrap().count(), 0);
}

#[tokio::test]
async fn a_recorded_pid_that_is_somebody_elses_now_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut stranger = Process::spawn(&shell(SLEEPER, ""), &[], None).unwrap();
    let record = RunRecord::create(dir.path(), "long-gone", Duration::ZERO).unwrap();
    record.started(stranger.pid());
    let path = dir.path().join("long-gone");
    let text = std::fs::read_to_string(&path).unwrap();
    let start = text
        .rsplit(',')
        .next()
        .unwrap()
        .trim_end_matches([']', '}'])
        .to_owned();
    std::fs::write(&path, text.replace(&start, "1")).unwrap();
    assert_eq!(orphans::end_all(dir.path()).await, Ok(0));
    let alive = tokio::time::timeout(Duration::from_millis(50), stranger.exited()).await;
    assert!(alive.is_err(), "the stranger lives");
    stranger.end(std::future::ready(())).await.unwrap();
}

#[tokio::test]
async fn an_abandoned_controllers_agents_are_ended_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = agent("alice", "echo up; exec sleep 100000", MOUNT, "", VOLUME);
    let bench = Bench::start(dir.path(), &yaml).await;
    let (uid, pod) = (
        bench.uid("alice"),
        bench.ready("alice").await.metadata.uid.clone().unwrap(),
    );
    bench.abandon().await;
    let bench = Bench::start(dir.path(), &yaml).await;
    assert!(!group::marked().contains_key(&pod));
    assert_eq!(bench.uid("alice"), uid);
    bench.ready("alice").await;
    bench.stop().await;
}
