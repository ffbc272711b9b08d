//! A real node leaves nothing on the machine, whoever ends, and however.
//!
//! Run on its own: only one real node runs on a machine, and the other tests share theirs to the end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::{until, within};

/// The kubelet would set these for the whole machine.
const SYSCTLS: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];
/// What the node is called on this machine: its network interface ends in it, its cgroups are named so.
const NAME: &str = "reveille-node";

#[tokio::test]
async fn a_node_leaves_nothing_behind_whoever_is_killed() {
    let before = sysctls();
    let others = left();
    assert!(
        others.is_empty(),
        "another node runs, perhaps that of other tests of this process: {others:?}"
    );

    let (testbed, script) = start().await;
    assert!(
        left().iter().any(|what| what.contains("net")),
        "{:?}",
        left()
    );
    drop(testbed);
    ended("the lifeline ended", script).await;

    let (testbed, script) = start().await;
    signal(testbed.id().unwrap());
    ended("the testbed was killed", script).await;

    // Killed itself, the script cleans nothing up: what is left runs no more, and the next one removes it.
    let (_testbed, script) = start().await;
    signal(script);
    gone("the script was killed", script).await;
    let (testbed, script) = start().await;
    drop(testbed);
    ended("a node came after a killed one", script).await;

    assert_eq!(sysctls(), before);
}

/// A testbed with a real node, and the process of the node's script.
async fn start() -> (Child, u32) {
    let mut testbed =
        Command::new(Path::new(env!("CARGO_BIN_EXE_reveille")).with_file_name("testbed"))
            .args(["run", "--options", r#"{"nodes": "real"}"#])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
    let mut lines = BufReader::new(testbed.stdout.take().unwrap()).lines();
    let line = within("the testbed", lines.next_line())
        .await
        .unwrap()
        .unwrap();
    assert!(line.contains("\"ready\""), "{line}");
    let id = testbed.id().unwrap();
    let script = processes()
        .find(|process| parent(*process) == id && command_line(*process).contains("node.sh"))
        .expect("the script is a child of the testbed");
    (testbed, script)
}

/// Waits until the script and all it made are gone.
async fn ended(when: &str, script: u32) {
    gone(when, script).await;
    until(&format!("nothing left after {when}"), || async {
        left().is_empty().then_some(())
    })
    .await;
}

/// Waits until the script and the node's processes are gone.
async fn gone(when: &str, script: u32) {
    until(&format!("the node's end after {when}"), || async {
        let ended =
            command_line(script).is_empty() && !Path::new("/sys/class/net").join(NAME).exists();
        ended.then_some(())
    })
    .await;
}

/// What a node makes that outlives processes.
fn left() -> Vec<String> {
    let mut paths = vec![PathBuf::from("/sys/class/net").join(NAME)];
    let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap();
    paths.extend(hierarchies.map(|entry| entry.unwrap().path().join(NAME)));
    paths.push(Path::new("/sys/fs/cgroup").join(NAME));
    let mut left: Vec<String> = paths
        .into_iter()
        .filter(|path| path.exists())
        .map(|path| path.display().to_string())
        .collect();
    // The network of the pods, 10.231.0.0, as the kernel writes it.
    let routes = fs::read_to_string("/proc/net/route").unwrap();
    left.extend(
        routes
            .lines()
            .filter(|line| line.contains("0000E70A"))
            .map(str::to_owned),
    );
    left
}

fn sysctls() -> BTreeMap<&'static str, String> {
    let read = |name| fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap();
    SYSCTLS.into_iter().map(|name| (name, read(name))).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
}

/// 0 where the process has ended.
fn parent(process: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything; state and parent follow it.
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let parent = after_name.split(' ').nth(1).and_then(|id| id.parse().ok());
    parent.unwrap_or_default()
}

/// Empty where the process has ended.
fn command_line(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default()
}

fn signal(process: u32) {
    kill(Pid::from_raw(process.cast_signed()), Signal::SIGKILL).unwrap();
}
