//! Nothing is left of a testbed, however its holder ends.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reveille_testbed::Facts;
use reveille_testbed::apply::apply;
use tempfile::TempDir;

use crate::support::{belonging_to, lives, nothing_is_left, until};

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");
const SMALL: &str = r#"{"nodes":"none","controller":false,"audit":false}"#;

/// A process that holds a testbed as a test does.
struct Holder {
    child: Child,
    facts: Facts,
}

impl Holder {
    fn start() -> Self {
        let mut child = Command::new(TESTBED)
            .arg("hold")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let facts = serde_json::from_str(&line).unwrap();
        Self { child, facts }
    }

    /// All processes but the holder's own: at least the testbed and five parts.
    fn processes(&self) -> Vec<u32> {
        let mut all = belonging_to(&self.facts.dir);
        assert!(all.len() >= 5, "{all:?}");
        all.push(self.facts.pid);
        all
    }
}

async fn start() -> Holder {
    tokio::task::spawn_blocking(Holder::start).await.unwrap()
}

#[tokio::test]
async fn nothing_is_left_when_the_holder_is_killed() {
    let mut holder = start().await;
    let all = holder.processes();
    holder.child.kill().unwrap();
    holder.child.wait().unwrap();
    nothing_is_left(&holder.facts.dir, &all).await;
}

#[tokio::test]
async fn nothing_is_left_when_the_guard_is_dropped() {
    let mut holder = start().await;
    let all = holder.processes();
    drop(holder.child.stdin.take());
    let status = tokio::task::spawn_blocking(move || holder.child.wait());
    assert!(status.await.unwrap().unwrap().success());
    // Dropping waits: no need to look twice.
    assert_eq!(belonging_to(&holder.facts.dir), Vec::<u32>::new());
    assert!(!holder.facts.dir.exists());
    nothing_is_left(&holder.facts.dir, &all).await;
}

#[tokio::test]
async fn up_stays_until_down_and_down_clears_up_after_a_kill() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("reveille-testbed");
    let up = ["up", "--no-controller"];
    let text = succeeds(by_hand(&home, &up).await);
    let kubeconfig = dir.join("kubeconfig/admin.yaml");
    assert!(text.contains(kubeconfig.to_str().unwrap()), "{text}");
    assert!(text.contains("nats://127.0.0.1:"), "{text}");
    let facts: Facts =
        serde_json::from_slice(&std::fs::read(dir.join("facts.json")).unwrap()).unwrap();
    let parts = belonging_to(&dir);
    let pod = pod(&facts, &parts).await;

    let again = by_hand(&home, &up).await;
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("is up already"));
    assert_eq!(succeeds(by_hand(&home, &["status"]).await), text);

    kill(Pid::from_raw(facts.pid.cast_signed()), Signal::SIGKILL).unwrap();
    until("the end of the parts, by the kernel", || async {
        let lives = parts.iter().any(|pid| lives(*pid));
        (!lives).then_some(())
    })
    .await;
    assert!(dir.exists());
    succeeds(by_hand(&home, &["down"]).await);
    nothing_is_left(&dir, &[facts.pid, pod]).await;
    assert!(!by_hand(&home, &["status"]).await.status.success());
}

#[tokio::test]
async fn a_port_that_was_taken_meanwhile_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let mut scripts = Vec::new();
    for name in ["etcd", "kube-apiserver", "nats-server"] {
        let real = tools(&["--path", name]).await;
        // The first time it finds its port taken, as all of them say it.
        let text = format!(
            "#!/bin/sh\nif mkdir {0}/{name}.once 2>/dev/null; then echo 'bind: address already in use'; exit 1; fi\nexec {1} \"$@\"\n",
            folder.path().display(),
            real.trim(),
        );
        scripts.push((name, program(&folder.path().join(name), &text)));
    }
    let output = run(&scripts).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("ready"), "{text}");
    for (name, _) in scripts {
        assert!(folder.path().join(format!("{name}.once")).exists());
    }
}

#[tokio::test]
async fn a_part_that_does_not_start_is_named_with_what_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let script = program(
        &folder.path().join("etcd"),
        "#!/bin/sh\necho out of luck >&2\nexit 3\n",
    );
    let output = run(&[("etcd", script)]).await;
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("etcd ended (exit status: 3)"), "{text}");
    assert!(text.contains("out of luck"), "{text}");
}

#[tokio::test]
async fn a_missing_program_is_named_with_what_installs_it() {
    let output = run(&[("etcd", "/nowhere/etcd".into())]).await;
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("/nowhere/etcd does not exist"), "{text}");
    assert!(text.contains("tests/tools.sh"), "{text}");
}

/// The testbed's command in a home of its own.
async fn by_hand(home: &TempDir, args: &[&str]) -> Output {
    let mut command = Command::new(TESTBED);
    command.args(args).env("XDG_STATE_HOME", home.path());
    tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap()
}

/// Starts a pod; its process outlives a testbed that is killed.
async fn pod(facts: &Facts, parts: &[u32]) -> u32 {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: sleeper}, spec: {containers: [{name: one, image: none, command: [sleep, '100000']}]}}";
    let kubeconfig = Kubeconfig::read_from(facts.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    let client = Client::try_from(config).unwrap();
    apply(&client, "default", pod).await.unwrap();
    until("the pod's process", || async {
        let mut all = belonging_to(&facts.dir).into_iter();
        all.find(|pid| !parts.contains(pid))
    })
    .await
}

fn succeeds(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A testbed with other programs, from its start to its end.
async fn run(programs: &[(&str, PathBuf)]) -> Output {
    let variable = |name: &str| format!("{}_BIN", name.to_uppercase().replace('-', "_"));
    let mut command = Command::new(TESTBED);
    command
        .envs(programs.iter().map(|(name, path)| (variable(name), path)))
        .args(["run", "--options", SMALL])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let mut first = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut first).unwrap();
        drop(child.stdin.take());
        let mut output = child.wait_with_output().unwrap();
        output.stdout = first.into_bytes();
        output
    })
    .await
    .unwrap()
}

/// What `tests/tools.sh` prints.
async fn tools(args: &[&str]) -> String {
    let mut tools = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tools.sh"));
    tools.args(args).stderr(Stdio::inherit());
    let output = tokio::task::spawn_blocking(move || tools.output());
    String::from_utf8(output.await.unwrap().unwrap().stdout).unwrap()
}

/// Written by a process of its own: a file that this one had open for writing could not be run as long
/// as a child just forked by another test has it open too.
fn program(path: &Path, text: &str) -> PathBuf {
    let source = path.with_extension("source");
    std::fs::write(&source, text).unwrap();
    let mut install = Command::new("install");
    let status = install.args(["-m", "755"]).args([&source, path]).status();
    assert!(status.unwrap().success());
    path.to_owned()
}
