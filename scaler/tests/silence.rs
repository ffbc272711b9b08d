//! What is said of activators that are heard no more, on a clock that stands still while nothing is due.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/shell.rs"]
mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use reveille_scaler::config::Config;
use serde_json::json;
use support::{Shell, policy, sandbox};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn an_activator_that_falls_silent_is_counted_though_nothing_else_happens() {
    let objects = vec![sandbox("alice", "Suspended"), policy(json!({}))];
    let shell = Shell::start(Config::default(), objects);
    let silent = || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &shell.registry).unwrap();
        text.contains("reveille_members_silent 1")
    };
    shell.until_state("alice", "asleep").await;
    sleep(Duration::from_secs(60)).await;
    assert!(!silent());
    shell.silent.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(60)).await;
    assert!(silent());
    shell.silent.store(false, Ordering::Relaxed);
    sleep(Duration::from_secs(60)).await;
    assert!(!silent());
    shell.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_reported_before_its_sandbox_was_known_is_asked_for_again() {
    let mut shell = Shell::start(
        Config::default(),
        vec![sandbox("bob", "Running"), policy(json!({}))],
    );
    *shell.under_way.lock().unwrap() = vec![support::active("alice", 3)];
    shell.until_state("bob", "waking").await;
    sleep(Duration::from_secs(10)).await;
    shell.store.apply(sandbox("alice", "Running")).unwrap();
    shell.pod_up("alice", "pod-1").await;
    let known = tokio::time::Instant::now();
    while shell.until_state("alice", "awake").await["inFlight"] != 3 {
        assert!(known.elapsed() < Duration::from_secs(10), "never asked for");
        sleep(Duration::from_millis(100)).await;
    }
    shell.stop().await;
}
