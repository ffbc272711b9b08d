use reveille_crds::change::Hold;
use reveille_crds::claim::{BoundSandbox, SandboxClaimStatus};
use reveille_crds::names::{annotation, label};
use reveille_crds::sandbox::{OperatingMode, Sandbox};
use serde_json::json;

use super::*;

fn sandbox(name: &str) -> Sandbox {
    let text = json!({
        "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox",
        "metadata": {"name": name, "namespace": "agents"},
        "spec": {"podTemplate": {"spec": {"containers": [{"name": "a", "command": ["x", "y"]}]}}},
    });
    serde_json::from_value(text).unwrap()
}

fn key(name: &str) -> SandboxKey {
    SandboxKey::new("agents", name).unwrap()
}

fn with(name: &str) -> Store {
    let store = Store::new();
    store
        .apply(Object::Sandbox(Box::new(sandbox(name))))
        .unwrap();
    store
}

fn sleep_of(store: &Store, name: &str) -> ModeChange {
    let object = store.get::<SandboxObject>(&key(name)).unwrap();
    ModeChange {
        busy_until: None,
        key: key(name),
        uid: object.sandbox.metadata.uid.as_deref().unwrap().into(),
        epoch: 0,
        from: OperatingMode::Running,
        to: OperatingMode::Suspended,
        cause: "idle",
    }
}

#[tokio::test]
async fn a_watch_lists_what_exists_then_says_so_then_tells_changes() {
    let store = with("alice");
    let mut watch = store.watch();
    assert!(matches!(watch.next().await, Change::Sandbox(k, Some(_)) if k == key("alice")));
    assert_eq!(watch.next().await, Change::Synced);
    store.set_mode(&sleep_of(&store, "alice")).unwrap();
    let Change::Sandbox(_, Some(facts)) = watch.next().await else {
        panic!("a sandbox")
    };
    assert_eq!((facts.mode, facts.epoch), (OperatingMode::Suspended, 1));
    store.remove_sandbox(&key("alice"));
    assert_eq!(watch.next().await, Change::Sandbox(key("alice"), None));
}

#[tokio::test]
async fn a_slow_watcher_is_told_the_latest_state_once() {
    let store = with("alice");
    let mut watch = store.watch();
    for round in 0..100 {
        let hold = if round % 2 == 0 {
            Hold::Awake
        } else {
            Hold::Asleep
        };
        store.set_hold(&key("alice"), Some(hold)).unwrap();
    }
    let Change::Sandbox(_, Some(facts)) = watch.next().await else {
        panic!("a sandbox")
    };
    assert_eq!(facts.hold, Some(Hold::Asleep));
    assert_eq!(watch.next().await, Change::Synced);
    assert!(watch.feed.take().is_none());
}

#[tokio::test]
async fn a_write_that_changes_no_fact_is_not_told() {
    let store = with("alice");
    let mut watch = store.watch();
    let mut feed = store.feed();
    watch.next().await;
    watch.next().await;
    feed.next().await;
    store.update(&key("alice"), |object: &mut SandboxObject| {
        object.sandbox.status.get_or_insert_default().pod_ips = vec!["127.0.0.1".to_owned()];
    });
    assert!(watch.feed.take().is_none());
    assert!(feed.take().is_some());
    store.update(&key("alice"), |_: &mut SandboxObject| {});
    assert!(feed.take().is_none());
}

#[test]
fn a_lease_fences_the_sleep_that_did_not_know_of_it_and_ends_with_it() {
    let store = with("alice");
    let sleep = sleep_of(&store, "alice");
    let until = Some("2100-01-02T03:04:05Z".parse().unwrap());
    let set = |until| store.set_lease(&key("alice"), &sleep.uid, until);
    assert_eq!(set(until), Ok(()));
    let refused = store.set_mode(&sleep);
    assert!(matches!(refused, Err(IntentError::Conflict(_))));
    let knowing = ModeChange {
        busy_until: until,
        ..sleep.clone()
    };
    assert_eq!(store.set_mode(&knowing), Ok(1));
    assert!(matches!(set(until), Err(IntentError::Conflict(_))));
    let other = store.set_lease(&key("alice"), "other", None);
    assert!(matches!(other, Err(IntentError::Conflict(_))));
    let object = store.get::<SandboxObject>(&key("alice")).unwrap();
    let annotations = object.sandbox.metadata.annotations.as_ref().unwrap();
    assert!(!annotations.contains_key(annotation::BUSY_UNTIL));
}

#[test]
fn a_mode_change_is_fenced_by_uid_epoch_and_mode() {
    let store = with("alice");
    let sleep = sleep_of(&store, "alice");
    let refused =
        |change: ModeChange| matches!(store.set_mode(&change), Err(IntentError::Conflict(_)));
    assert!(refused(ModeChange {
        uid: "other".into(),
        ..sleep.clone()
    }));
    assert!(refused(ModeChange {
        epoch: 1,
        ..sleep.clone()
    }));
    assert!(refused(ModeChange {
        from: OperatingMode::Suspended,
        to: OperatingMode::Running,
        ..sleep.clone()
    }));
    assert_eq!(store.set_mode(&sleep), Ok(1));
    assert!(refused(sleep.clone()), "the same write twice");
    let wake = ModeChange {
        epoch: 1,
        from: OperatingMode::Suspended,
        to: OperatingMode::Running,
        cause: "http",
        ..sleep.clone()
    };
    assert_eq!(store.set_mode(&wake), Ok(2));
    let object = store.get::<SandboxObject>(&key("alice")).unwrap();
    let annotations = object.sandbox.metadata.annotations.as_ref().unwrap();
    assert_eq!(annotations[annotation::EPOCH], "2");
    assert_eq!(annotations[annotation::WAKE_REASON], "http");
    assert_eq!(annotations[annotation::SLEEP_REASON], "idle");
    assert_eq!(object.sandbox.metadata.generation, Some(3));
    store.delete::<SandboxObject>(&key("alice"));
    assert!(refused(ModeChange {
        epoch: 2,
        ..sleep.clone()
    }));
    assert_eq!(
        store.set_mode(&ModeChange {
            key: key("bob"),
            ..sleep
        }),
        Err(IntentError::NotFound)
    );
}

#[test]
fn an_unclaimed_pool_member_is_nobodys_to_put_to_sleep() {
    let store = Store::new();
    let mut member = sandbox("pool-abcde");
    member.metadata.labels = Some([(label::WARM_POOL.to_owned(), "00000000".to_owned())].into());
    store.apply(Object::Sandbox(Box::new(member))).unwrap();
    let change = sleep_of(&store, "pool-abcde");
    assert!(matches!(
        store.set_mode(&change),
        Err(IntentError::Denied(_))
    ));
}

/// A claim `alice` bound to the Sandbox `pool-abcde`, and its release.
fn bound() -> (Store, ClaimChange) {
    let store = with("pool-abcde");
    let claim = json!({
        "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxClaim",
        "metadata": {"name": "alice", "namespace": "agents", "uid": "claim-1"},
        "spec": {"warmPoolRef": {"name": "pool"}},
    });
    store
        .apply(Object::Claim(Box::new(
            serde_json::from_value(claim).unwrap(),
        )))
        .unwrap();
    bind(&store, "pool-abcde");
    let release = ClaimChange {
        key: key("alice"),
        uid: "claim-1".into(),
        epoch: 0,
        sandbox: Some(sleep_of(&store, "pool-abcde")),
        cause: "idle",
    };
    (store, release)
}

fn bind(store: &Store, name: &str) {
    store.update(&key("alice"), |object: &mut ClaimObject| {
        let bound = BoundSandbox {
            name: name.to_owned(),
            pod_ips: Vec::new(),
        };
        object.claim.status = Some(SandboxClaimStatus {
            conditions: Vec::new(),
            sandbox: Some(bound),
        });
    });
    store.update(&key(name), |object: &mut SandboxObject| {
        let owner = json!([{"apiVersion": "v1", "kind": "SandboxClaim", "name": "alice", "uid": "claim-1", "controller": true}]);
        object.sandbox.metadata.owner_references = Some(serde_json::from_value(owner).unwrap());
    });
}

fn is_deleted(store: &Store, name: &str) -> bool {
    let object = store.get::<SandboxObject>(&key(name)).unwrap();
    object.sandbox.metadata.deletion_timestamp.is_some()
}

#[tokio::test]
async fn a_released_claim_is_remembered_and_created_again_under_its_name() {
    let (store, release) = bound();
    assert!(matches!(
        store.bind_claim(&release),
        Err(IntentError::Conflict(_))
    ));
    assert_eq!(store.release_claim(&release), Ok(1));
    assert!(matches!(
        store.release_claim(&release),
        Err(IntentError::Conflict(_))
    ));
    assert!(is_deleted(&store, "pool-abcde"));
    let mut watch = store.watch();
    let Change::Claim(_, Some(facts)) = watch.next().await else {
        panic!("a claim")
    };
    assert!(facts.released && facts.sandbox.is_none() && facts.epoch == 1);
    assert_eq!(
        store.bind_claim(&ClaimChange {
            epoch: 1,
            sandbox: None,
            cause: "http",
            ..release
        }),
        Ok(2)
    );
    let bound = store.get::<ClaimObject>(&key("alice")).unwrap();
    assert!(!bound.released && bound.claim.metadata.uid.as_deref() != Some("claim-1"));
}

#[test]
fn a_claim_that_was_bound_anew_is_not_released_for_the_sandbox_it_had() {
    let (store, release) = bound();
    store.delete::<SandboxObject>(&key("pool-abcde"));
    store
        .apply(Object::Sandbox(Box::new(sandbox("pool-fghij"))))
        .unwrap();
    bind(&store, "pool-fghij");
    let unknown = ClaimChange {
        sandbox: None,
        ..release.clone()
    };
    for late in [&release, &unknown] {
        assert!(matches!(
            store.release_claim(late),
            Err(IntentError::Conflict(_))
        ));
    }
    assert!(!is_deleted(&store, "pool-fghij"));
    let present = ClaimChange {
        sandbox: Some(sleep_of(&store, "pool-fghij")),
        ..release
    };
    assert_eq!(store.release_claim(&present), Ok(1));
    assert!(is_deleted(&store, "pool-fghij"));
}

#[test]
fn a_claim_whose_sandbox_was_woken_since_is_not_released() {
    let (store, release) = bound();
    let sleep = release.sandbox.clone().unwrap();
    assert_eq!(store.set_mode(&sleep), Ok(1));
    let asleep = store.release_claim(&release);
    assert!(
        matches!(asleep, Err(IntentError::Conflict(_))),
        "{asleep:?}"
    );
    let wake = ModeChange {
        epoch: 1,
        from: OperatingMode::Suspended,
        to: OperatingMode::Running,
        ..sleep
    };
    assert_eq!(store.set_mode(&wake), Ok(2));
    let late = store.release_claim(&release);
    assert!(matches!(late, Err(IntentError::Conflict(_))), "{late:?}");
    assert!(!is_deleted(&store, "pool-abcde"));
}

#[tokio::test]
async fn ten_thousand_sandboxes_share_their_template() {
    let store = Store::new();
    for index in 0..10_000 {
        store
            .apply(Object::Sandbox(Box::new(sandbox(&format!(
                "agent-{index}"
            )))))
            .unwrap();
    }
    let first = store.get::<SandboxObject>(&key("agent-0")).unwrap();
    let last = store.get::<SandboxObject>(&key("agent-9999")).unwrap();
    assert!(Arc::ptr_eq(&first.template, &last.template));
    let mut watch = store.watch();
    let mut told = 0;
    while watch.next().await != Change::Synced {
        told += 1;
    }
    assert_eq!(told, 10_000);
}
