//! What the API tells of requests is what is, not what was at the last report.
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
use serde_json::{Value, json};
use support::{Shell, active, policy, sandbox};
use tokio::time::Instant;

async fn in_flight(shell: &Shell) -> [Value; 2] {
    let (_, one) = shell.call("GET", "/v1/sandboxes/agents/alice", None).await;
    let (_, all) = shell.call("GET", "/v1/sandboxes", None).await;
    [&one, &all["sandboxes"][0]].map(|told| told["inFlight"].clone())
}

#[tokio::test(start_paused = true)]
async fn what_is_told_of_requests_is_what_is_under_way_when_it_is_asked_for() {
    let objects = vec![sandbox("alice", "Running"), policy(json!({}))];
    let mut shell = Shell::start(Config::default(), objects);
    shell.pod_up("alice", "pod-1").await;
    shell.until_state("alice", "awake").await;
    let begin = Instant::now();
    for count in [1, 0, 3, 2] {
        *shell.under_way.lock().unwrap() = match count {
            0 => Vec::new(),
            count => vec![active("alice", count)],
        };
        assert_eq!(in_flight(&shell).await, [json!(count), json!(count)]);
    }
    assert_eq!(
        begin.elapsed(),
        Duration::ZERO,
        "no report was due meanwhile"
    );
    // Who does not answer is waited for a moment, and then what is known is told.
    *shell.under_way.lock().unwrap() = Vec::new();
    shell.silent.store(true, Ordering::Relaxed);
    assert_eq!(in_flight(&shell).await, [json!(2), json!(2)]);
    assert_eq!(begin.elapsed(), Duration::from_millis(500));
    shell.stop().await;
}
