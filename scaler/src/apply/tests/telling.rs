//! What is written for people: the status of a policy, and events.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use reveille_crds::change::SandboxFacts;
use reveille_crds::index::Target;
use reveille_crds::scaled_sandbox::ScaledSandboxStatus;

use super::super::{Event, Severity};
use super::*;

fn status(awake: u32, at: &str) -> ScaledSandboxStatus {
    let ready = Condition {
        type_: "Ready".to_owned(),
        status: "True".to_owned(),
        reason: "Governing".to_owned(),
        message: format!("governs {awake}"),
        last_transition_time: Time(at.parse().unwrap()),
        observed_generation: Some(1),
    };
    ScaledSandboxStatus {
        conditions: vec![ready],
        sandboxes: awake,
        awake,
        observed_generation: Some(1),
        ..ScaledSandboxStatus::default()
    }
}

#[tokio::test]
async fn status_is_written_beside_the_spec_and_only_where_it_differs() {
    let bench = Bench::new("status").await;
    let policy = json!({
        "apiVersion": "reveille.dev/v1alpha1", "kind": "ScaledSandbox", "metadata": {"name": "p"},
        "spec": {"selector": {"matchLabels": {"fleet": "research"}}, "cooldownPeriod": 7},
    });
    bench.create(Kind::Policy, policy).await;
    let key = bench.key("p");
    let write = |status, again| bench.writer.set_policy_status(&key, status, again, soon());
    let first = "2026-01-01T00:00:00Z";
    write(status(2, first), false).await.unwrap();
    let there = bench.get(Kind::Policy, "p").await.unwrap();
    assert_eq!(there["status"]["awake"], 2);
    assert_eq!(there["status"]["observedGeneration"], 1);
    assert_eq!(there["metadata"]["generation"], 1);
    assert_eq!(there["spec"]["cooldownPeriod"], 7);
    // Another scaler, which knows nothing of what was written, leads now.
    let later = "2026-01-02T00:00:00Z";
    let same = write(status(2, later), false).await.unwrap();
    assert_eq!(
        same.conditions[0].last_transition_time.0,
        first.parse().unwrap()
    );
    let unchanged = bench.get(Kind::Policy, "p").await.unwrap();
    assert_eq!(
        unchanged["metadata"]["resourceVersion"],
        there["metadata"]["resourceVersion"]
    );
    write(status(3, first), true).await.unwrap();
    let there = bench.get(Kind::Policy, "p").await.unwrap();
    assert_eq!(there["status"]["conditions"][0]["message"], "governs 3");
}

#[tokio::test]
async fn an_event_names_its_object_reason_and_cause() {
    let bench = Bench::new("events").await;
    let object = bench.sandbox("alice", "Suspended", json!({})).await;
    let facts = SandboxFacts {
        uid: uid(&object).into(),
        created: Some(Timestamp::now()),
        ..SandboxFacts::default()
    };
    let target = Target {
        key: bench.key("alice"),
        sandbox: Some((bench.key("alice"), Arc::new(facts))),
        pod: None,
        terminating: false,
        claim: None,
        policy: None,
    };
    let note = format!("Not woken: quota; cause http {}", "é".repeat(2000));
    let words = ("WakeFailed", "Wake");
    let event = Event::new(&target, Severity::Warning, words, note).unwrap();
    bench.writer.publish(&event, soon()).await.unwrap();
    let path = Kind::Event.all(&bench.namespace);
    let all = bench.call(Method::GET, &path, None).await.unwrap();
    let all = all["items"].as_array().unwrap();
    let ours = |event: &&Value| event["reportingController"] == "reveille.dev/reveille-scaler";
    let found: Vec<_> = all.iter().filter(ours).collect();
    let [event] = found[..] else {
        panic!("{all:#?}")
    };
    assert_eq!(
        (&event["reason"], &event["type"]),
        (&json!("WakeFailed"), &json!("Warning"))
    );
    assert_eq!(event["regarding"]["uid"], object["metadata"]["uid"]);
    assert_eq!(event["regarding"]["kind"], "Sandbox");
    let note = event["note"].as_str().unwrap();
    assert!(note.starts_with("Not woken: quota; cause http"), "{note}");
    assert!(note.len() <= 1024);
}
