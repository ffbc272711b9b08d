//! What a peer of another version sends must still be read, and what we send must be what we read.

use serde_json::{Value, json};

use super::*;
use crate::codec::{CodecError, MAX_PAYLOAD};
use crate::subject::SubjectError;

fn key() -> SandboxKey {
    SandboxKey::new("agents", "alice").unwrap()
}

fn to_scaler() -> Vec<ToScaler> {
    let busy = BusyLease {
        pod: "uid".into(),
        for_ms: 5000,
    };
    let seen = SandboxActivity {
        key: key(),
        in_flight: 2,
        parked: 1,
        quiet_for_ms: 3,
        busy: Some(busy),
    };
    let quiet = SandboxActivity {
        in_flight: 0,
        parked: 0,
        quiet_for_ms: 0,
        busy: None,
        ..seen.clone()
    };
    vec![
        ToScaler::Wake(Wake {
            key: key(),
            reason: Cause::Http,
            port: Some(8888),
            waiting: 3,
            oldest_wait_ms: 250,
            activator: "activator-1".into(),
            by: Some("GET /ws (upgrade)".into()),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        }),
        ToScaler::Activity(Activity {
            activator: "activator-1".into(),
            incarnation: "a1b2".into(),
            sequence: 9,
            full: true,
            sandboxes: vec![seen, quiet],
            answers: Vec::new(),
        }),
        ToScaler::Drained(DrainReply {
            key: key(),
            activator: "activator-1".into(),
            incarnation: "a1b2".into(),
            nonce: u64::MAX,
            drained: true,
        }),
        ToScaler::Ready(Ready {
            key: key(),
            pod: "uid".into(),
            activator: "activator-1".into(),
            released: 3,
        }),
    ]
}

fn to_activator() -> Vec<ToActivator> {
    let outcome = |what| ToActivator::Outcome(Outcome { key: key(), what });
    let (reason, message) = ("Held".to_owned(), "held asleep by an operator".to_owned());
    vec![
        ToActivator::Sync,
        ToActivator::Look(u64::MAX),
        ToActivator::Drain(Drain {
            key: key(),
            epoch: 4,
            uid: Some("uid".into()),
            nonce: 77,
            hold_ms: 10_000,
            order: false,
        }),
        outcome(OutcomeKind::Waking { epoch: 5 }),
        outcome(OutcomeKind::Refused {
            reason: reason.clone(),
            message: message.clone(),
        }),
        outcome(OutcomeKind::Delayed {
            reason: reason.clone(),
            message: message.clone(),
        }),
        outcome(OutcomeKind::Failed {
            reason,
            message,
            retry_after_ms: 2000,
        }),
        outcome(OutcomeKind::Undrain { nonce: 77 }),
    ]
}

#[test]
fn every_message_reads_back() {
    for message in to_scaler() {
        let (subject, payload) = message.encode().unwrap();
        assert_eq!(ToScaler::decode(&subject, &payload).unwrap(), message);
        assert!(matches!(
            ToActivator::decode(&subject, &payload),
            Err(CodecError::Direction(_))
        ));
    }
    for message in to_activator() {
        let (subject, payload) = message.encode().unwrap();
        assert_eq!(ToActivator::decode(&subject, &payload).unwrap(), message);
        assert!(matches!(
            ToScaler::decode(&subject, &payload),
            Err(CodecError::Direction(_))
        ));
    }
}

#[test]
fn unknown_fields_are_ignored() {
    for message in to_scaler() {
        let (subject, payload) = message.encode().unwrap();
        assert_eq!(
            ToScaler::decode(&subject, &with_more(&payload)).unwrap(),
            message
        );
    }
    for message in to_activator() {
        let (subject, payload) = message.encode().unwrap();
        assert_eq!(
            ToActivator::decode(&subject, &with_more(&payload)).unwrap(),
            message
        );
    }
}

fn with_more(payload: &[u8]) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(payload).unwrap();
    value["ofANewerVersion"] = json!({"deep": [1, {"key": "agents/bob"}]});
    serde_json::to_vec(&value).unwrap()
}

#[test]
fn missing_optional_fields_have_defaults() {
    let wake = read(
        &json!({"key": "agents/alice", "reason": "api", "activator": "a"}),
        "wake.agents.alice",
    );
    let ToScaler::Wake(wake) = wake else {
        panic!("{wake:?}")
    };
    assert_eq!(
        (
            wake.port,
            wake.waiting,
            wake.oldest_wait_ms,
            wake.traceparent
        ),
        (None, 0, 0, None)
    );
    let report = json!({"activator": "a", "incarnation": "i", "sequence": 1});
    let ToScaler::Activity(report) = read(&report, "activity.a") else {
        panic!("another message")
    };
    assert!(!report.full && report.sandboxes.is_empty());
    let seen: SandboxActivity = serde_json::from_value(json!({"key": "agents/alice"})).unwrap();
    assert_eq!(
        (seen.in_flight, seen.parked, seen.quiet_for_ms, seen.busy),
        (0, 0, 0, None)
    );
    let ready = read(
        &json!({"key": "agents/alice", "pod": "p", "activator": "a"}),
        "ready.agents.alice",
    );
    let ToScaler::Ready(ready) = ready else {
        panic!("{ready:?}")
    };
    assert_eq!(ready.released, 0);
}

fn read(payload: &Value, subject: &str) -> ToScaler {
    ToScaler::decode(
        &format!("reveille.v1.{subject}"),
        payload.to_string().as_bytes(),
    )
    .unwrap()
}

#[test]
fn an_unknown_cause_is_other() {
    let payload = json!({"key": "agents/alice", "reason": "telepathy", "activator": "a"});
    let ToScaler::Wake(wake) = read(&payload, "wake.agents.alice") else {
        panic!("another message")
    };
    assert_eq!(wake.reason, Cause::Other);
    for cause in [
        Cause::Http,
        Cause::Api,
        Cause::Hold,
        Cause::NatsJetstream,
        Cause::Cron,
        Cause::ExternalPush,
    ] {
        assert_eq!(serde_json::to_value(cause).unwrap(), cause.as_str());
    }
}

#[test]
fn an_unknown_outcome_is_other() {
    let payload = json!({"key": "agents/alice", "outcome": "hibernating", "depth": 3}).to_string();
    let read = ToActivator::decode("reveille.v1.outcome.agents.alice", payload.as_bytes()).unwrap();
    assert_eq!(
        read,
        ToActivator::Outcome(Outcome {
            key: key(),
            what: OutcomeKind::Other
        })
    );
}

#[test]
fn another_version_is_refused_whatever_it_says() {
    let (subject, payload) = to_scaler()[0].encode().unwrap();
    let subject = subject.replace(".v1.", ".v2.");
    let error = ToScaler::decode(&subject, &payload).unwrap_err();
    assert!(matches!(error, CodecError::Subject(SubjectError::UnsupportedVersion(v)) if v == "v2"));
}

#[test]
fn a_payload_must_agree_with_its_subject() {
    let payload = json!({"key": "agents/bob", "reason": "http", "activator": "a"}).to_string();
    let error = ToScaler::decode("reveille.v1.wake.agents.alice", payload.as_bytes()).unwrap_err();
    assert!(matches!(error, CodecError::Mismatch { .. }), "{error}");
    let payload = json!({"activator": "b", "incarnation": "i", "sequence": 1}).to_string();
    let error = ToScaler::decode("reveille.v1.activity.a", payload.as_bytes()).unwrap_err();
    assert!(matches!(error, CodecError::Mismatch { .. }), "{error}");
}

#[test]
fn what_is_no_message_is_an_error_that_names_the_place() {
    for payload in [
        "",
        "{",
        "null",
        "[]",
        r#"{"key":"agents/alice"}"#,
        r#"{"key":7,"reason":"http"}"#,
    ] {
        let error =
            ToScaler::decode("reveille.v1.wake.agents.alice", payload.as_bytes()).unwrap_err();
        assert!(matches!(error, CodecError::Json { .. }), "{payload}");
        assert!(error.to_string().contains("wake.agents.alice"), "{error}");
    }
}

#[test]
fn a_payload_over_the_limit_is_neither_sent_nor_read() {
    let mut bytes = vec![b' '; MAX_PAYLOAD + 1];
    bytes[0] = b'{';
    let error = ToScaler::decode("reveille.v1.wake.agents.alice", &bytes).unwrap_err();
    assert!(matches!(error, CodecError::TooLarge(size) if size == MAX_PAYLOAD + 1));
    let incarnation = "x".repeat(MAX_PAYLOAD);
    let reply = DrainReply {
        key: key(),
        activator: "a".into(),
        incarnation,
        nonce: 1,
        drained: false,
    };
    assert!(matches!(
        ToScaler::Drained(reply).encode(),
        Err(CodecError::TooLarge(_))
    ));
}

#[test]
fn an_activator_that_is_no_token_cannot_send() {
    let report = Activity {
        activator: "a.b".into(),
        incarnation: "i".into(),
        sequence: 1,
        full: false,
        sandboxes: Vec::new(),
        answers: Vec::new(),
    };
    assert!(matches!(
        ToScaler::Activity(report).encode(),
        Err(CodecError::Subject(_))
    ));
}

#[test]
fn ten_thousand_busy_sandboxes_fit_one_report() {
    let sandboxes = (0..10_000)
        .map(|n| SandboxActivity {
            key: SandboxKey::new("agents", &format!("researcher-{n:05}")).unwrap(),
            in_flight: 1,
            parked: 0,
            quiet_for_ms: 0,
            busy: None,
        })
        .collect();
    let report = Activity {
        activator: "activator-1".into(),
        incarnation: "i".into(),
        sequence: 1,
        full: true,
        sandboxes,
        answers: Vec::new(),
    };
    let (_, payload) = ToScaler::Activity(report).encode().unwrap();
    assert!(payload.len() < MAX_PAYLOAD, "{}", payload.len());
}
