//! The shell over channels and a real store, on a clock that stands still while nothing is due.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

mod api;
#[path = "../support/shell.rs"]
mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use reveille_crds::index::Target;
use reveille_crds::message::OutcomeKind;
use reveille_crds::sandbox::OperatingMode;
use reveille_scaler::config::Config;
use serde_json::json;
use support::{Shell, claim, key, policy, sandbox};
use tokio::time::Instant;

fn fleet(mode: &str) -> Shell {
    Shell::start(
        Config::default(),
        vec![sandbox("alice", mode), policy(json!({}))],
    )
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_is_woken_used_and_put_to_sleep_again() {
    let mut shell = fleet("Suspended");
    shell.until_state("alice", "asleep").await;
    shell.wake("alice").await;
    let target = shell.until_mode("alice", OperatingMode::Running).await;
    assert_eq!(target.sandbox.unwrap().1.epoch, 1);
    let waking = shell
        .outcome(|outcome| matches!(outcome, OutcomeKind::Waking { .. }))
        .await;
    assert_eq!(waking, OutcomeKind::Waking { epoch: 1 });
    shell.pod_up("alice", "pod-1").await;
    shell.ready("alice", "pod-1").await;
    let state = shell.until_state("alice", "awake").await;
    assert_eq!(state["lastWake"]["cause"], "http");
    let awake = Instant::now();
    let target = shell.until_mode("alice", OperatingMode::Suspended).await;
    assert_eq!(target.sandbox.unwrap().1.epoch, 2);
    let slept_after = awake.elapsed();
    assert!(
        slept_after >= Duration::from_secs(29) && slept_after <= Duration::from_secs(32),
        "{slept_after:?}"
    );
    shell.stop().await;
}

#[tokio::test(start_paused = true)]
async fn many_wakes_cost_one_write() {
    let mut shell = fleet("Suspended");
    shell.until_state("alice", "asleep").await;
    for _ in 0..1000 {
        shell.wake("alice").await;
    }
    shell.pod_up("alice", "pod-1").await;
    let state = shell.until_state("alice", "awake").await;
    assert_eq!(state["epoch"], 1);
    shell.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_activator_keeps_it_awake_and_its_gate_is_opened() {
    let mut shell = fleet("Running");
    shell.busy.store(true, Ordering::Relaxed);
    shell.pod_up("alice", "pod-1").await;
    for _ in 0..3 {
        shell
            .outcome(|outcome| matches!(outcome, OutcomeKind::Undrain { .. }))
            .await;
    }
    let state = shell.until_state("alice", "awake").await;
    assert_eq!(state["epoch"], 0);
    shell.busy.store(false, Ordering::Relaxed);
    shell.until_mode("alice", OperatingMode::Suspended).await;
    shell.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_sleeps_while_the_carrier_is_down_nor_for_a_cooldown_after() {
    let mut shell = fleet("Running");
    shell.pod_up("alice", "pod-1").await;
    shell.until_state("alice", "awake").await;
    shell.link.send_replace(false);
    tokio::time::sleep(Duration::from_secs(300)).await;
    let state = shell.until_state("alice", "awake").await;
    assert_eq!(state["reason"], "ActivatorsUnheard", "{state}");
    let back = Instant::now();
    shell.link.send_replace(true);
    shell.until_mode("alice", OperatingMode::Suspended).await;
    assert!(
        back.elapsed() >= Duration::from_secs(30),
        "{:?}",
        back.elapsed()
    );
    shell.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_wake_that_does_not_come_up_fails_and_is_put_back() {
    let mut shell = Shell::start(
        Config::default(),
        vec![
            sandbox("alice", "Suspended"),
            policy(json!({"wake": {"deadline": 5, "progressDeadlineSeconds": 5}})),
        ],
    );
    shell.until_state("alice", "asleep").await;
    shell.wake("alice").await;
    let failed = shell
        .outcome(|outcome| matches!(outcome, OutcomeKind::Failed { .. }))
        .await;
    let OutcomeKind::Failed {
        reason,
        message,
        retry_after_ms,
    } = failed
    else {
        panic!()
    };
    assert_eq!(
        (&*reason, retry_after_ms),
        ("WakeTimeout", 1000),
        "{message}"
    );
    let target = shell.until_mode("alice", OperatingMode::Suspended).await;
    assert_eq!(target.sandbox.unwrap().1.epoch, 2);
    shell.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_says_what_it_governs() {
    let shell = fleet("Suspended");
    shell.until_state("alice", "asleep").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &shell.registry).unwrap();
    assert!(
        text.contains(r#"reveille_writes_total{what="status",result="done"} 1"#),
        "{text}"
    );
    assert!(
        text.contains(r#"reveille_sandboxes{state="asleep"} 1"#),
        "{text}"
    );
    tokio::time::sleep(Duration::from_secs(100)).await;
    let mut later = String::new();
    prometheus_client::encoding::text::encode(&mut later, &shell.registry).unwrap();
    assert!(
        later.contains(r#"reveille_writes_total{what="status",result="done"} 1"#),
        "only on change: {later}"
    );
    assert!(
        !later.contains(key("alice").name()),
        "no label names a sandbox"
    );
    shell.stop().await;
}

#[tokio::test(start_paused = true)]
async fn unmanaged_sandboxes_are_woken_if_allowed_and_never_put_to_sleep() {
    let mut shell = Shell::start(Config::default(), vec![sandbox("alice", "Suspended")]);
    shell.until_state("alice", "asleep").await;
    shell.wake("alice").await;
    shell.pod_up("alice", "pod-1").await;
    shell.until_state("alice", "awake").await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let state = shell.until_state("alice", "awake").await;
    assert_eq!(state["reason"], "Unmanaged");
    shell.stop().await;
    let config = Config {
        wake_unmanaged: false,
        ..Config::default()
    };
    let mut shell = Shell::start(config, vec![sandbox("alice", "Suspended")]);
    shell.until_state("alice", "asleep").await;
    shell.wake("alice").await;
    let refused = shell
        .outcome(|outcome| matches!(outcome, OutcomeKind::Refused { .. }))
        .await;
    assert!(matches!(refused, OutcomeKind::Refused { reason, .. } if reason == "Unmanaged"));
    shell.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_released_to_sleep_and_bound_to_wake_where_its_policy_says_so() {
    let mut objects = claim("bob");
    objects.push(policy(json!({"wake": {"strategy": "Bind"}})));
    let mut shell = Shell::start(Config::default(), objects);
    shell.pod_up("bob", "pod-1").await;
    shell.until_state("bob", "awake").await;
    let released = |released| {
        move |target: &Target| {
            target
                .claim
                .as_ref()
                .is_some_and(|(_, facts)| facts.released == released)
        }
    };
    shell.until("bob", released(true)).await;
    shell.store.remove_pod(&key("bob"));
    shell.store.remove_sandbox(&key("bob"));
    shell.until_state("bob", "asleep").await;
    shell.wake("bob").await;
    let bound = shell.until("bob", released(false)).await;
    assert_eq!(bound.claim.unwrap().1.epoch, 2);
    shell.until_state("bob", "waking").await;
    shell.stop().await;
}
