//! What an operator says, and what Reveille says back: holds, expiry, status, conditions, Events.

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use serde_json::{Value, json};

use crate::support::cluster::{Cluster, Setup};
use crate::support::http::{Reply, send};
use crate::support::manifests::{Agent, named_policy, policy};
use crate::support::objects::{Kind, condition, uid_of};
use crate::support::until;

/// An operator's pin.
const HOLD: &str = "reveille.dev/hold";

/// Asks until the refusal has this reason.
async fn refused(cluster: &Cluster, reason: &str) -> Reply {
    until(&format!("a refusal, {reason}"), || async {
        let reply = cluster.get("alice", "/").await;
        (reply.status == 503 && reply.json()["reason"] == reason).then_some(reply)
    })
    .await
}

/// Asks until the answer has this status.
async fn answers(cluster: &Cluster, status: u16) -> Reply {
    until(&format!("an answer {status}"), || async {
        Some(cluster.get("alice", "/").await).filter(|reply| reply.status == status)
    })
    .await
}

#[tokio::test]
async fn a_sandbox_held_asleep_is_refused_with_the_reason_and_one_held_awake_stays_awake() {
    let cluster = Cluster::start().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 1, "minimumUptime": 0})))
        .await;
    cluster.create(Agent::asleep("alice").sandbox()).await;
    cluster.get("alice", "/").await.ok();
    cluster
        .annotate(Kind::Sandbox, "alice", HOLD, Some("asleep"))
        .await;
    refused(&cluster, "HeldAsleep").await;
    cluster.await_mode("alice", "Suspended").await;

    cluster
        .annotate(Kind::Sandbox, "alice", HOLD, Some("awake"))
        .await;
    cluster.await_mode("alice", "Running").await;
    answers(&cluster, 200).await;
    let sleeps = cluster.said("to sleep");
    // Its cooldown passes several times over while another one, that nobody holds, comes and goes.
    cluster.create(Agent::asleep("bob").sandbox()).await;
    for _ in 0..2 {
        cluster.get("bob", "/").await.ok();
        cluster.await_mode("bob", "Suspended").await;
    }
    let alice = cluster.get_object(Kind::Sandbox, "alice").await;
    assert_eq!(alice["spec"]["operatingMode"], "Running");
    until("two sleeps told of", || async {
        (cluster.said("to sleep") >= sleeps + 2).then_some(())
    })
    .await;

    cluster.annotate(Kind::Sandbox, "alice", HOLD, None).await;
    cluster.await_mode("alice", "Suspended").await;
    answers(&cluster, 200).await;
}

#[tokio::test]
async fn an_expired_sandbox_is_refused_with_the_reason_until_its_time_is_moved() {
    let cluster = Cluster::start().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 3600})))
        .await;
    cluster.create(Agent::asleep("alice").sandbox()).await;
    cluster.get("alice", "/").await.ok();
    let at = |seconds: i64| {
        let time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        json!({"spec": {"shutdownTime": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()}})
    };
    cluster.patch(Kind::Sandbox, "alice", &at(-1)).await;
    refused(&cluster, "SandboxExpired").await;
    cluster.await_gone(Kind::Pod, "alice").await;
    cluster.patch(Kind::Sandbox, "alice", &at(3_600)).await;
    let about = answers(&cluster, 200).await.json();
    assert_eq!(about["wakes"], 2, "the volume is the same");
}

#[tokio::test]
async fn a_policy_tells_what_it_governs_and_of_which_generation_it_speaks() {
    let cluster = Cluster::start().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 3600})))
        .await;
    for name in ["alice", "bob"] {
        cluster.create(Agent::asleep(name).sandbox()).await;
    }
    let counts = |awake: u32, asleep: u32| {
        move |policy: &Value| {
            let status = &policy["status"];
            (&status["sandboxes"], &status["awake"], &status["asleep"])
                == (&json!(2), &json!(awake), &json!(asleep))
        }
    };
    cluster
        .await_object("two asleep", Kind::Policy, "all", counts(0, 2))
        .await;
    cluster.get("alice", "/").await.ok();
    let one = cluster
        .await_object("one awake", Kind::Policy, "all", counts(1, 1))
        .await;
    assert_eq!(condition(&one, "Ready").0, "True");
    assert_eq!(condition(&one, "Active").0, "True");
    assert!(one["status"]["lastWake"].is_string(), "{one}");
    assert_eq!(
        one["status"]["observedGeneration"],
        one["metadata"]["generation"]
    );

    let edited = cluster
        .patch(
            Kind::Policy,
            "all",
            &json!({"spec": {"cooldownPeriod": 1, "minimumUptime": 0}}),
        )
        .await;
    assert_ne!(
        edited["metadata"]["generation"],
        one["metadata"]["generation"]
    );
    let all = cluster
        .await_object("the new generation", Kind::Policy, "all", |policy| {
            policy["status"]["observedGeneration"] == edited["metadata"]["generation"]
                && counts(0, 2)(policy)
        })
        .await;
    assert_eq!(condition(&all, "Active").0, "False");

    let loser = named_policy("loser", json!({"cooldownPeriod": 7}));
    cluster.create(loser).await;
    cluster
        .await_object("overruled", Kind::Policy, "loser", |policy| {
            condition(policy, "Ready") == ("False", "Overruled")
        })
        .await;
}

#[tokio::test]
async fn a_policy_that_makes_no_sense_is_refused_at_admission_with_a_sentence() {
    let cluster = Setup::default().parts(0, 0).without_nats().start().await;
    let both =
        json!({"selector": {"matchLabels": {"a": "b"}}, "scaleTargetRef": {"name": "alice"}});
    let refused = cluster
        .try_create(named_policy("both", both))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("scaleTargetRef"), "{refused}");
    let refused = cluster
        .try_create(policy(json!({"cooldownPeriod": -1})))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("cooldownPeriod"), "{refused}");
}

#[tokio::test]
async fn wakes_and_sleeps_are_told_as_events_that_name_their_cause() {
    let cluster = Cluster::start().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 1, "minimumUptime": 0})))
        .await;
    let alice = cluster.create(Agent::asleep("alice").sandbox()).await;
    cluster.get("alice", "/").await.ok();
    let woke = event(&cluster, "Woke").await;
    let slept = event(&cluster, "Slept").await;
    for (event, word) in [(&woke, "http"), (&slept, "quiet")] {
        assert_eq!(event["type"], "Normal");
        assert_eq!(event["regarding"]["uid"], uid_of(&alice).as_str());
        assert_eq!(event["regarding"]["kind"], "Sandbox");
        let note = event["note"].as_str().unwrap();
        assert!(note.contains(word), "no {word:?} in {note:?}");
    }
}

#[tokio::test]
async fn a_wake_that_cannot_succeed_is_told_early_to_the_client_and_as_an_event() {
    let cluster = Cluster::start().await;
    // Whoever was left to wait would wait longer than a test does.
    let spec = json!({"cooldownPeriod": 3600, "wake": {"deadline": 600}, "park": {"maxWait": 600}});
    cluster.create(policy(spec)).await;
    cluster
        .create(
            Agent::asleep("alice")
                .flags(["--crash-on-start", "always"])
                .sandbox(),
        )
        .await;
    let failed = answers(&cluster, 503).await;
    assert!(!failed.header("retry-after").is_empty(), "{failed:?}");
    let detail = failed.json()["detail"].as_str().unwrap().to_lowercase();
    assert!(
        ["ends again and again", "has ended"]
            .iter()
            .any(|word| detail.contains(word)),
        "{detail}"
    );
    let event = event(&cluster, "WakeFailed").await;
    assert_eq!(event["type"], "Warning");
}

#[tokio::test]
async fn a_wake_that_fails_at_the_scaler_that_follows_is_taken_back_by_the_one_that_leads() {
    let cluster = Cluster::start().await;
    let follower = &cluster.scalers[1 - cluster.leader().await];
    // No policy governs it: but for the wake that failed it would never be put to sleep.
    let alice = Agent::asleep("alice").flags(["--crash-on-start", "always"]);
    cluster.create(alice.sandbox()).await;
    let path = format!("/v1/sandboxes/{}/alice/wake", cluster.namespace);
    until("alice told to wake", || async {
        let request = Request::post(&path)
            .header("host", "reveille")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let reply = send(follower.admin, request).await.unwrap();
        reply.status.is_success().then_some(())
    })
    .await;
    cluster
        .await_object("taken back", Kind::Sandbox, "alice", |alice| {
            let annotations = &alice["metadata"]["annotations"];
            annotations["reveille.dev/sleep-reason"] == "wake-failed"
                && alice["spec"]["operatingMode"] == "Suspended"
        })
        .await;
}

#[tokio::test]
async fn a_wake_that_the_api_server_denies_is_told_to_the_client() {
    let cluster = Cluster::start().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 3600})))
        .await;
    cluster.create(Agent::asleep("alice").sandbox()).await;
    cluster.await_state("alice", "asleep").await;
    cluster.access.deny_writes().await;
    let denied = answers(&cluster, 503).await.json();
    let detail = denied["detail"].as_str().unwrap();
    assert!(detail.contains("does not allow"), "{denied}");
    for inner in ["forbidden", "system:", "serviceaccount"] {
        assert!(!detail.contains(inner), "{inner} in {denied}");
    }
    cluster.access.allow_writes().await;
    answers(&cluster, 200).await;
    cluster.nobody_panicked();
}

/// The first Event with this reason.
async fn event(cluster: &Cluster, reason: &str) -> Value {
    until(&format!("an Event {reason}"), || async {
        cluster
            .list(Kind::Event)
            .await
            .into_iter()
            .find(|event| event["reason"] == reason)
    })
    .await
}
