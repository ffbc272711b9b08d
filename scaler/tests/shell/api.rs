//! The API that operators and programs use.

use std::time::Duration;

use axum::http::StatusCode;
use reveille_crds::sandbox::OperatingMode;
use reveille_scaler::config::Config;
use serde_json::{Value, json};

use crate::fleet;
use crate::support::{Shell, sandbox};

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
    assert_eq!(body, json!({"sandboxes": []}));
    shell.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_list_of_five_thousand_comes_in_pages_that_hold_each_once() {
    let names: Vec<String> = (0..5000).map(|number| format!("run-{number:04}")).collect();
    let fleet = names.iter().map(|name| sandbox(name, "Suspended"));
    let shell = Shell::start(Config::default(), fleet.collect());
    shell.until_state("run-4999", "asleep").await;
    let list = async |query: &str| {
        let path = format!("/v1/sandboxes?namespace=agents{query}");
        let (status, body) = shell.call("GET", &path, None).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    };
    let named = |page: &Value| -> Vec<String> {
        let all = page["sandboxes"].as_array().unwrap().iter();
        all.map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let mut page = list("").await;
    let mut seen = named(&page);
    while let Some(next) = page["metadata"]["continue"].as_str() {
        assert_eq!(seen.len() % 500, 0);
        assert_eq!(page["metadata"]["remainingItemCount"], 5000 - seen.len());
        page = list(&format!("&limit=500&continue={next}")).await;
        seen.extend(named(&page));
    }
    assert_eq!(seen, names);
    let few = list("&limit=2").await;
    assert_eq!(named(&few), names[..2]);
    for query in [
        "limit=0",
        "limit=501",
        "limit=some",
        "continue=alice",
        "limt=5",
    ] {
        let path = format!("/v1/sandboxes?{query}");
        let (status, body) = shell.call("GET", &path, None).await;
        assert_eq!(
            (status, &body["reason"]),
            (StatusCode::BAD_REQUEST, &json!("InvalidQuery")),
            "{query}"
        );
    }
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
