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
