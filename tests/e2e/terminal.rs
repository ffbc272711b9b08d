//! What a person sees who starts Reveille in a terminal.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::home::Home;
use crate::support::log::Log;
use crate::support::manifests::{Agent, Manifests};
use crate::support::process::Process;
use crate::support::reveille::command;
use crate::support::{PATIENCE, until};

/// Starts it as in a terminal, and gives what it says once that is all of the greeting.
async fn greeted(home: &Home) -> (Process, Log, String) {
    let mut child = command(home, &["--log-format", "human"]).spawn().unwrap();
    let log = Log::new();
    log.collect(child.stderr.take().unwrap());
    log.collect(child.stdout.take().unwrap());
    let process = Process::of(child);
    until("the greeting", || async {
        let all = log.lines_with("Ctrl-C stops all of it");
        (!all.is_empty()).then_some(())
    })
    .await;
    let text = log.tail();
    (process, log, text)
}

/// The commands of a greeting, those over two lines included.
fn to_paste(greeting: &str) -> Vec<String> {
    let joined = greeting.replace("\\\n", "\\\u{1}");
    let lines = joined.lines().filter(|line| line.starts_with("  curl "));
    lines.map(|line| line.replace('\u{1}', "\n")).collect()
}

/// What bash prints for a line.
async fn bash(line: &str) -> String {
    let mut shell = Command::new("bash");
    shell.args(["-c", line]).stdin(Stdio::null());
    shell.env_remove("http_proxy").env_remove("ALL_PROXY");
    let output = tokio::task::spawn_blocking(move || shell.output().unwrap()).await;
    let output = output.unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn every_line_the_greeting_prints_to_paste_works_in_bash() {
    let home = Home::with(&Manifests::one(Agent::asleep("alice"), 60));
    let (process, _, greeting) = greeted(&home).await;
    let lines = to_paste(&greeting);
    assert_eq!(lines.len(), 4, "{greeting}");
    for line in &lines {
        let answer = bash(line).await;
        let json: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer.contains("alice"), "{line}: {answer}");
        assert!(json["detail"].is_null(), "{line}: {answer}");
    }
    process.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(process.ended(PATIENCE).await.unwrap().success());
}

#[tokio::test]
async fn a_fleet_falls_asleep_in_one_line_and_nothing_inside_is_talked_of() {
    let mut manifests = Manifests::new();
    for n in 0..20 {
        manifests = manifests.agent(Agent::awake(&format!("agent-{n:02}")));
    }
    let home = Home::with(&manifests.policy(serde_json::json!({"cooldownPeriod": 2})));
    let (process, log, _) = greeted(&home).await;
    // Those that fall asleep within a second are told in one line.
    let lines = until("the fleet to sleep", || async {
        let lines = log.lines_with("to sleep");
        let asleep: usize = lines.iter().filter_map(|line| slept(line)).sum();
        (asleep == 20).then_some(lines.len())
    })
    .await;
    assert!(lines < 20, "{lines} lines");
    process.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(process.ended(PATIENCE).await.unwrap().success());
    let all = log.tail();
    for inside in ["must be heard", "silent", "sandboxes known", "=", "{"] {
        assert!(!all.contains(inside), "{inside:?} in {all}");
    }
}

/// How many sandboxes a line says have been put to sleep.
fn slept(line: &str) -> Option<usize> {
    let what = line.split_once("put ")?.1;
    match what.split_once(" sandboxes of agents to sleep") {
        Some((count, _)) => count.parse().ok(),
        None => what.split_once(" to sleep").map(|_| 1),
    }
}
