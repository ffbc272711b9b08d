//! A busy lease stands on the Sandbox: who set it before a sleep was written keeps it awake.

use jiff::Timestamp;
use reveille_kubernetes::discovery::Version;

use super::*;

const LEASE: &str = "reveille.dev/busy-until";

fn lease() -> Option<Timestamp> {
    Some("2100-01-02T03:04:05Z".parse().unwrap())
}

fn leased(object: &Value) -> &Value {
    &object["metadata"]["annotations"][LEASE]
}

#[tokio::test]
async fn a_lease_keeps_what_was_decided_on_without_it_from_sleeping_and_ends_with_the_epoch() {
    let bench = Bench::new("lease").await;
    for (name, annotations) in [
        ("alice", Value::Null),
        ("bob", json!({"reveille.dev/epoch": "0"})),
    ] {
        let object = bench.sandbox(name, "Running", annotations).await;
        let key = bench.key(name);
        let set = |until| bench.writer.set_lease(&key, uid(&object), until, soon());
        assert_eq!(set(None).await, Ok(()), "there is none to end");
        assert_eq!(set(lease()).await, Ok(()));
        let there = bench.get(SANDBOX, name).await.unwrap();
        assert_eq!(leased(&there), "2100-01-02T03:04:05Z");
        let unknowing = change(&bench, &object, 0, OperatingMode::Suspended);
        let refused = bench.writer.suspend(&unknowing, None, None, soon()).await;
        assert!(
            matches!(&refused, Err(Failure::Conflict(why)) if why.contains("lease")),
            "{refused:?}"
        );
        let knowing = ModeChange {
            busy_until: lease(),
            ..unknowing
        };
        assert_eq!(
            bench.writer.suspend(&knowing, None, None, soon()).await,
            Ok(1)
        );
        let there = bench.get(SANDBOX, name).await.unwrap();
        assert_eq!(leased(&there), &Value::Null);
        let late = set(lease()).await;
        assert!(
            matches!(&late, Err(Failure::Conflict(why)) if why.contains("sleeps")),
            "{late:?}"
        );
        let wake = change(&bench, &object, 1, OperatingMode::Running);
        assert_eq!(
            bench.writer.set_mode(&wake, None, None, soon()).await,
            Ok(2)
        );
        assert_eq!(set(lease()).await, Ok(()));
        assert_eq!(set(None).await, Ok(()));
        let there = bench.get(SANDBOX, name).await.unwrap();
        assert_eq!(leased(&there), &Value::Null);
        let sleep = change(&bench, &object, 2, OperatingMode::Suspended);
        assert_eq!(
            bench.writer.set_mode(&sleep, None, None, soon()).await,
            Ok(3)
        );
    }
}

#[tokio::test]
async fn a_lease_that_a_person_wrote_otherwise_is_the_same_lease() {
    let bench = Bench::new("lease-text").await;
    let annotations = json!({"reveille.dev/epoch": "4", LEASE: "2100-01-02T05:04:05+02:00"});
    let object = bench.sandbox("alice", "Running", annotations).await;
    let sleep = ModeChange {
        busy_until: lease(),
        ..change(&bench, &object, 4, OperatingMode::Suspended)
    };
    assert_eq!(
        bench.writer.set_mode(&sleep, None, None, soon()).await,
        Ok(5)
    );
    let there = bench.get(SANDBOX, "alice").await.unwrap();
    assert_eq!(leased(&there), &Value::Null);
}

#[tokio::test]
async fn a_lease_is_set_on_the_very_object_that_was_looked_at_in_either_version() {
    let bench = Bench::new("lease-uid").await;
    let object = bench.sandbox("alice", "Running", Value::Null).await;
    let key = bench.key("alice");
    let other = bench
        .writer
        .set_lease(&key, "another", lease(), soon())
        .await;
    assert!(matches!(other, Err(Failure::Conflict(_))), "{other:?}");
    let nobody = bench.key("nobody");
    let gone = bench
        .writer
        .set_lease(&nobody, "any", lease(), soon())
        .await;
    assert!(matches!(gone, Err(Failure::NotFound(_))), "{gone:?}");
    let seen: super::super::patch::Seen = serde_json::from_value(json!({
        "metadata": {"uid": uid(&object)}, "spec": {"replicas": 0},
    }))
    .unwrap();
    let asleep = seen.lease(uid(&object), lease(), Version::V1Alpha1);
    assert!(matches!(asleep, Err(Failure::Conflict(_))), "{asleep:?}");
}
