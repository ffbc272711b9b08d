//! The shell over channels and a real store, on a clock that stands still while nothing is due.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/shell.rs"]
mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::StatusCode;
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
async fn a_wake_over_the_api_with_a_body_that_is_none_is_refused() {
    let shell = fleet("Suspended");
    shell.until_state("alice", "asleep").await;
    let (status, body) = shell
        .call(
            "POST",
            "/v1/sandboxes/agents/alice/wake",
            Some(json!({"cause": "sleepwalking", "waiting": "many"})),
        )
        .await;
    assert_eq!(
        (status, &body["reason"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("InvalidBody"))
    );
    shell.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_api_lists_one_namespace() {
    let shell = fleet("Suspended");
    shell.until_state("alice", "asleep").await;
    let (status, body) = shell
        .call("GET", "/v1/sandboxes?namespace=agents", None)
        .await;
    assert_eq!(
        (status, &body["sandboxes"][0]["name"]),
        (StatusCode::OK, &json!("alice"))
    );
    let (_, body) = shell
        .call("GET", "/v1/sandboxes?namespace=other", None)
        .await;
    assert_eq!(body["sandboxes"], json!([]));
    shell.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_wake_by_the_api_on_behalf_of_parked_requests_counts_as_theirs() {
    let mut shell = fleet("Suspended");
    shell.until_state("alice", "asleep").await;
    let body = json!({"cause": "http", "waiting": 3});
    let (status, _) = shell
        .call("POST", "/v1/sandboxes/agents/alice/wake", Some(body))
        .await;
    assert_eq!(status, StatusCode::ACCEPTED);
    shell.pod_up("alice", "pod-1").await;
    shell.ready("alice", "pod-1").await;
    shell.until_state("alice", "awake").await;
    let (_, body) = shell.call("GET", "/v1/sandboxes/agents/alice", None).await;
    assert_eq!(body["lastWake"]["cause"], json!("http"));
    shell.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_commands_over_the_api() {
    let mut shell = fleet("Suspended");
    shell.until_state("alice", "asleep").await;
    let (status, body) = shell
        .call("POST", "/v1/sandboxes/agents/alice/wake", None)
        .await;
    assert_eq!(
        (status, &body["outcome"]),
        (StatusCode::ACCEPTED, &json!("waking"))
    );
    shell.pod_up("alice", "pod-1").await;
    shell.until_state("alice", "awake").await;
    let (status, body) = shell
        .call("POST", "/v1/sandboxes/agents/alice/wake", None)
        .await;
    assert_eq!(
        (status, &body["outcome"]),
        (StatusCode::OK, &json!("awake"))
    );
    let lease = json!({"seconds": 100});
    let (status, _) = shell
        .call("POST", "/v1/sandboxes/agents/alice/busy", Some(lease))
        .await;
    assert_eq!(status, StatusCode::OK);
    // The watch shows it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (status, body) = shell
        .call("POST", "/v1/sandboxes/agents/alice/sleep", None)
        .await;
    assert_eq!(
        (status, &body["reason"]),
        (StatusCode::CONFLICT, &json!("Busy")),
        "{body}"
    );
    let ended = json!({"seconds": 0});
    shell
        .call("POST", "/v1/sandboxes/agents/alice/busy", Some(ended))
        .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (status, body) = shell
        .call("POST", "/v1/sandboxes/agents/alice/sleep", None)
        .await;
    assert_eq!(
        (status, &body["outcome"]),
        (StatusCode::ACCEPTED, &json!("draining")),
        "{body}"
    );
    shell.until_mode("alice", OperatingMode::Suspended).await;
    shell.stop().await;
}

#[tokio::test(start_paused = true)]
async fn holds_are_written_and_obeyed() {
    let mut shell = fleet("Suspended");
    shell.until_state("alice", "asleep").await;
    let hold = |mode: &str| Some(json!({ "mode": mode }));
    let (status, _) = shell
        .call("POST", "/v1/sandboxes/agents/alice/hold", hold("awake"))
        .await;
    assert_eq!(status, StatusCode::OK);
    shell.pod_up("alice", "pod-1").await;
    let state = shell.until_state("alice", "awake").await;
    assert_eq!(
        (&state["hold"], &state["reason"]),
        (&json!("awake"), &json!("HeldAwake"))
    );
    shell
        .call("POST", "/v1/sandboxes/agents/alice/hold", hold("asleep"))
        .await;
    shell.until_mode("alice", OperatingMode::Suspended).await;
    let (status, body) = shell
        .call("POST", "/v1/sandboxes/agents/alice/wake", None)
        .await;
    assert_eq!(
        (status, &body["reason"]),
        (StatusCode::CONFLICT, &json!("HeldAsleep"))
    );
    let (status, _) = shell
        .call("POST", "/v1/sandboxes/agents/alice/release", None)
        .await;
    assert_eq!(status, StatusCode::OK);
    shell
        .until("alice", |target| {
            target
                .sandbox
                .as_ref()
                .is_some_and(|(_, facts)| facts.hold.is_none())
        })
        .await;
    shell.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_for_is_a_clear_problem() {
    let shell = fleet("Suspended");
    shell.until_state("alice", "asleep").await;
    let long = json!("x".repeat(2000));
    let cases = [
        ("GET bob", json!(null), 404, "NotFound"),
        ("POST bob/wake", json!(null), 404, "NotFound"),
        ("POST bob/hold", json!({"mode": "awake"}), 404, "NotFound"),
        ("GET Bob", json!(null), 400, "InvalidName"),
        (
            "POST alice/busy",
            json!({"seconds": 86_401}),
            400,
            "LeaseTooLong",
        ),
        (
            "POST alice/busy",
            json!({"seconds": -1}),
            422,
            "InvalidBody",
        ),
        ("POST alice/busy", json!(null), 415, "InvalidBody"),
        ("POST alice/busy", json!({"seconds": 5}), 409, "Asleep"),
        ("POST alice/hold", json!({"mode": "up"}), 422, "InvalidBody"),
        ("POST alice/hold", long, 413, "InvalidBody"),
    ];
    for (asked, body, status, reason) in cases {
        let (method, name) = asked.split_once(' ').unwrap();
        let path = format!("/v1/sandboxes/agents/{name}");
        let body = Some(body).filter(|body| !body.is_null());
        let (got, problem) = shell.call(method, &path, body).await;
        let got = (got.as_u16(), &problem["reason"]);
        assert_eq!(got, (status, &json!(reason)), "{asked}: {problem}");
        assert!(problem["detail"].is_string());
    }
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
