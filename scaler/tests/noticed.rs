//! What the API tells of a sandbox that is woken right after each of its sleeps.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/shell.rs"]
mod support;

use reveille_crds::message::{Cause, ToScaler, Wake};
use reveille_crds::sandbox::OperatingMode;
use reveille_scaler::config::Config;
use serde_json::{Value, json};
use support::{Shell, key, policy, sandbox};

#[tokio::test(start_paused = true)]
async fn what_flaps_is_told_with_who_does_it_and_what_would_end_it() {
    let objects = vec![sandbox("alice", "Suspended"), policy(json!({}))];
    let mut shell = Shell::start(Config::default(), objects);
    shell.until_state("alice", "asleep").await;
    // The first wake follows no sleep of ours.
    for life in 0..=3 {
        let told = shell.until_state("alice", "asleep").await;
        assert_eq!(told["flapping"], Value::Null, "life {life}");
        let wake = Wake {
            key: key("alice"),
            reason: Cause::Http,
            port: None,
            waiting: 0,
            oldest_wait_ms: 0,
            activator: "standalone".into(),
            by: Some("GET /ws (upgrade)".into()),
            traceparent: None,
        };
        shell.to_scaler.send(ToScaler::Wake(wake)).await.unwrap();
        let pod = format!("pod-{life}");
        shell.pod_up("alice", &pod).await;
        let told = shell.until_state("alice", "awake").await;
        if life < 3 {
            shell.until_mode("alice", OperatingMode::Suspended).await;
            shell.store.remove_pod(&key("alice"));
            continue;
        }
        let told = &told["flapping"];
        assert_eq!(told["wakes"], 3, "{told}");
        assert_eq!(told["by"], "GET /ws (upgrade)");
        assert!(told["endsInSeconds"].as_f64().unwrap() > 0.0);
        let message = told["message"].as_str().unwrap();
        assert!(message.contains("or raise cooldownPeriod"), "{message}");
    }
    shell.stop().await;
}
