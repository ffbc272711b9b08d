//! Claims that sleep by being released, with upstream's controller.

use jiff::{SignedDuration, Timestamp};
use reveille_lifecycle::store::ClaimChange;
use tokio::task::JoinSet;

use super::super::patch::Releasing;
use super::*;

/// How long a claim is remembered here.
pub(super) const TTL: SignedDuration = SignedDuration::from_hours(240);

impl Bench {
    /// A pool of one, and a claim on it that is bound and has a Sandbox.
    pub(super) async fn claimed(&self) -> Value {
        let template = json!({
            "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxTemplate",
            "metadata": {"name": "plain"}, "spec": {"podTemplate": pod_template()},
        });
        let pool = json!({
            "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxWarmPool",
            "metadata": {"name": "pool"},
            "spec": {"replicas": 1, "sandboxTemplateRef": {"name": "plain"}},
        });
        for object in [template, pool] {
            let text = object.to_string();
            self.testbed.apply_in(&self.namespace, &text).await.unwrap();
        }
        let claim = json!({
            "apiVersion": CLAIM.api_version(), "kind": "SandboxClaim",
            "metadata": {
                "name": "desk", "labels": {"fleet": "research"},
                "annotations": {"team": "blue", "reveille.dev/epoch": "4"},
            },
            "spec": {"warmPoolRef": {"name": "pool"}},
        });
        self.create(CLAIM, claim).await;
        self.bound().await
    }

    /// The claim, once it is bound and ready.
    pub(super) async fn bound(&self) -> Value {
        let is_ready = |claim: &Value| {
            let conditions = claim["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|it| it["type"] == "Ready" && it["status"] == "True")
        };
        self.until(CLAIM, "desk", |claim| {
            bound_to(claim).is_some() && is_ready(claim)
        })
        .await
    }

    /// What a writer thinks that looked at the claim and its Sandbox.
    pub(super) async fn looked_at(&self, claim: &Value) -> ClaimChange {
        let sandbox = self.get(SANDBOX, bound_to(claim).unwrap()).await.unwrap();
        ClaimChange {
            key: self.key("desk"),
            uid: uid(claim).into(),
            epoch: epoch(claim).as_str().unwrap().parse().unwrap(),
            sandbox: Some(change(
                self,
                &sandbox,
                present(&sandbox),
                OperatingMode::Suspended,
            )),
            cause: "idle",
        }
    }

    /// What a writer thinks that looked at the record.
    pub(super) async fn remembered(&self) -> ClaimChange {
        let record = self.get(Kind::Released, "desk").await.unwrap();
        ClaimChange {
            key: self.key("desk"),
            uid: record["spec"]["claimUid"].as_str().unwrap().into(),
            epoch: epoch(&record).as_str().unwrap().parse().unwrap(),
            sandbox: None,
            cause: "http",
        }
    }

    pub(super) async fn is_gone(&self, kind: Kind) -> bool {
        matches!(self.get(kind, "desk").await, Err(Failure::NotFound(_)))
    }
}

/// The epoch of a Sandbox, which may have none yet.
fn present(sandbox: &Value) -> u64 {
    epoch(sandbox)
        .as_str()
        .map_or(0, |text| text.parse().unwrap())
}

fn bound_to(claim: &Value) -> Option<&str> {
    let name = claim["status"]["sandbox"]["name"].as_str();
    name.filter(|name| !name.is_empty())
}

/// What the user wrote: upstream's controller adds empty fields whenever it writes a claim.
fn spec_of(claim: &Value) -> Value {
    let mut spec = claim["spec"].clone();
    let fields = spec.as_object_mut().unwrap();
    fields.retain(|_, value| *value != json!({}));
    spec
}

#[tokio::test]
async fn a_released_claim_goes_with_its_sandbox_and_comes_back_as_it_was_and_is_bound_anew() {
    let bench = Bench::new("release").await;
    let claim = bench.claimed().await;
    let first = bound_to(&claim).unwrap().to_owned();
    let change = bench.looked_at(&claim).await;
    assert_eq!(bench.writer.release(&change, TTL, soon()).await, Ok(5));
    assert!(bench.is_gone(CLAIM).await);
    bench.until_gone(SANDBOX, &first).await;
    let record = bench.get(Kind::Released, "desk").await.unwrap();
    assert_eq!(epoch(&record), "5");
    let removal: Timestamp = (record["spec"]["removalTime"].as_str().unwrap())
        .parse()
        .unwrap();
    let created = record["metadata"]["creationTimestamp"].as_str().unwrap();
    let kept = removal.duration_since(created.parse().unwrap());
    assert!((TTL - kept).abs() < SignedDuration::from_mins(1), "{kept}");
    let remembered = &record["spec"]["claim"];
    assert_eq!(remembered["labels"]["fleet"], "research");
    assert_eq!(remembered["annotations"]["team"], "blue");
    let annotations = remembered["annotations"].as_object().unwrap();
    assert!(
        !annotations
            .keys()
            .any(|name| name.starts_with("agents.x-k8s.io/")),
        "{annotations:?}"
    );

    let change = bench.remembered().await;
    assert_eq!(bench.writer.bind(&change, soon()).await, Ok(6));
    assert!(bench.is_gone(Kind::Released).await);
    let again = bench.bound().await;
    assert_ne!(uid(&again), uid(&claim));
    assert_ne!(bound_to(&again).unwrap(), first);
    assert_eq!(spec_of(&again), spec_of(&claim));
    assert_eq!(again["metadata"]["labels"]["fleet"], "research");
    assert_eq!(epoch(&again), "6");
    // And around again.
    let change = bench.looked_at(&again).await;
    assert_eq!(bench.writer.release(&change, TTL, soon()).await, Ok(7));
}

#[tokio::test]
async fn a_claim_that_is_not_as_it_was_looked_at_is_not_released() {
    let bench = Bench::new("unlike").await;
    let claim = bench.claimed().await;
    let right = bench.looked_at(&claim).await;
    let wrong = [
        ClaimChange {
            uid: "another".into(),
            ..right.clone()
        },
        ClaimChange {
            epoch: 3,
            ..right.clone()
        },
        ClaimChange {
            sandbox: right.sandbox.clone().map(|sandbox| ModeChange {
                uid: "another".into(),
                ..sandbox
            }),
            ..right.clone()
        },
        ClaimChange {
            sandbox: None,
            ..right.clone()
        },
    ];
    for wrong in wrong {
        let refused = bench.writer.release(&wrong, TTL, soon()).await;
        assert!(matches!(refused, Err(Failure::Conflict(_))), "{refused:?}");
    }
    assert!(bench.is_gone(Kind::Released).await, "nothing was begun");
    let after = bench.get(CLAIM, "desk").await.unwrap();
    assert_eq!(uid(&after), uid(&claim));
}

#[tokio::test]
async fn of_several_that_bind_a_claim_at_once_one_does() {
    let bench = Bench::new("binders").await;
    let claim = bench.claimed().await;
    let change = bench.looked_at(&claim).await;
    bench.writer.release(&change, TTL, soon()).await.unwrap();
    let change = bench.remembered().await;
    let mut binders = JoinSet::new();
    for _ in 0..4 {
        let (writer, change) = (bench.writer.clone(), change.clone());
        binders.spawn(async move { writer.bind(&change, soon()).await });
    }
    let all = binders.join_all().await;
    let won = all.iter().filter(|done| **done == Ok(6)).count();
    assert_eq!(won, 1, "{all:?}");
    let lost = |done: &Result<u64, Failure>| {
        matches!(
            done,
            Ok(6) | Err(Failure::Conflict(_) | Failure::NotFound(_))
        )
    };
    assert!(all.iter().all(lost), "{all:?}");
    assert!(bench.is_gone(Kind::Released).await);
}

#[tokio::test]
async fn a_claim_that_may_not_be_deleted_lives_on_without_a_record() {
    let bench = Bench::new("undeletable").await;
    let claim = bench.claimed().await;
    let change = bench.looked_at(&claim).await;
    let sandbox = change.sandbox.as_ref().unwrap().key.name().to_owned();
    let rules = json!([
        {"apiGroups": ["agents.x-k8s.io"], "resources": ["sandboxes"], "verbs": ["get", "patch"]},
        {"apiGroups": ["extensions.agents.x-k8s.io"], "resources": ["sandboxclaims"], "verbs": ["get", "patch"]},
        {"apiGroups": ["reveille.dev"], "resources": ["releasedclaims"], "verbs": ["*"]},
    ]);
    let writer = bench.writer_with(rules).await;
    let denied = writer.release(&change, TTL, soon()).await;
    assert!(
        matches!(&denied, Err(Failure::Lost(why)) if why.contains("cannot delete")),
        "{denied:?}"
    );
    assert!(bench.is_gone(Kind::Released).await);
    let after = bench.get(CLAIM, "desk").await.unwrap();
    assert_eq!((uid(&after), epoch(&after)), (uid(&claim), &json!("5")));
    let asleep = bench.get(SANDBOX, &sandbox).await.unwrap();
    assert_eq!(
        asleep["spec"]["operatingMode"], "Suspended",
        "it sleeps all the same"
    );
}

#[tokio::test]
async fn an_expired_claim_is_not_bound_again() {
    let bench = Bench::new("expired").await;
    let claim = bench.claimed().await;
    let change = bench.looked_at(&claim).await;
    bench.writer.release(&change, TTL, soon()).await.unwrap();
    let past = json!({"spec": {"claim": {"spec": {"lifecycle": {"shutdownTime": "2020-01-01T00:00:00Z"}}}}});
    bench.merge(Kind::Released, "desk", past).await;
    let change = bench.remembered().await;
    let denied = bench.writer.bind(&change, soon()).await;
    assert!(
        matches!(&denied, Err(Failure::Denied(why)) if why.contains("expired")),
        "{denied:?}"
    );
    assert!(bench.is_gone(CLAIM).await);
}

#[tokio::test]
async fn the_record_of_a_claim_goes_when_the_claim_would_have_been_deleted_and_not_before() {
    let bench = Bench::new("ended").await;
    let claim = bench.claimed().await;
    let change = bench.looked_at(&claim).await;
    bench.writer.release(&change, TTL, soon()).await.unwrap();
    let key = bench.key("desk");
    let (past, future) = ("2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z");
    for lifecycle in [
        Value::Null,
        json!({"shutdownTime": past, "shutdownPolicy": "Retain"}),
        json!({"shutdownTime": future, "shutdownPolicy": "Delete"}),
    ] {
        let patch = json!({"spec": {"claim": {"spec": {"lifecycle": lifecycle}}}});
        bench.merge(Kind::Released, "desk", patch).await;
        let kept = bench.writer.bury(&key, &change.uid, soon()).await;
        assert!(matches!(kept, Err(Failure::Conflict(_))), "{kept:?}");
    }
    let ended = json!({"shutdownTime": past, "shutdownPolicy": "Delete"});
    let patch = json!({"spec": {"claim": {"spec": {"lifecycle": ended}}}});
    bench.merge(Kind::Released, "desk", patch).await;
    let other = bench.writer.bury(&key, "another", soon()).await;
    assert!(matches!(other, Err(Failure::Conflict(_))), "{other:?}");
    // Somebody made the claim anew: the record is a leftover, which is removed in another way.
    let anew = json!({
        "apiVersion": CLAIM.api_version(), "kind": "SandboxClaim", "metadata": {"name": "desk"},
        "spec": {"warmPoolRef": {"name": "pool"}},
    });
    bench.create(CLAIM, anew).await;
    let lives = bench.writer.bury(&key, &change.uid, soon()).await;
    assert!(matches!(lives, Err(Failure::Conflict(_))), "{lives:?}");
    bench.delete(CLAIM, "desk").await;
    bench.until_gone(CLAIM, "desk").await;
    assert!(!bench.is_gone(Kind::Released).await);
    assert_eq!(bench.writer.bury(&key, &change.uid, soon()).await, Ok(()));
    assert!(bench.is_gone(Kind::Released).await);
}

/// The wake of the Sandbox of a claim whose release was decided before, and what that goes on with late.
#[tokio::test]
async fn a_release_that_was_decided_before_a_wake_is_not_done_after_it() {
    let bench = Bench::new("overtaken").await;
    let claim = bench.claimed().await;
    let release = bench.looked_at(&claim).await;
    // An operator suspends it by hand, and another scaler wakes it: the claim shows nothing of either.
    let sandbox = release.sandbox.clone().unwrap();
    let name = sandbox.key.name();
    let by_hand = json!({"spec": {"operatingMode": "Suspended"}});
    let suspended = bench.merge(SANDBOX, name, by_hand).await;
    let wake = change(&bench, &suspended, sandbox.epoch, OperatingMode::Running);
    bench
        .writer
        .set_mode(&wake, None, None, soon())
        .await
        .unwrap();
    let late = bench.writer.release(&release, TTL, soon()).await;
    assert!(matches!(late, Err(Failure::Conflict(_))), "{late:?}");
    assert!(bench.is_gone(Kind::Released).await);
    let after = bench.get(CLAIM, "desk").await.unwrap();
    assert_eq!(uid(&after), uid(&claim));
    let awake = bench.get(SANDBOX, name).await.unwrap();
    assert_eq!(awake["spec"]["operatingMode"], "Running");
}

#[tokio::test]
async fn what_a_release_has_put_to_sleep_is_woken_and_its_late_deletion_fails() {
    let bench = Bench::new("half-slept").await;
    let claim = bench.claimed().await;
    let release = bench.looked_at(&claim).await;
    let sandbox = release.sandbox.clone().unwrap();
    let name = sandbox.key.name();
    // The release ended, or is late, after its Sandbox was put to sleep.
    let releasing = Releasing {
        claim: "desk".to_owned(),
        uid: uid(&claim).to_owned(),
    };
    let asleep = bench
        .writer
        .suspend(&sandbox, None, Some(&releasing), soon())
        .await;
    assert_eq!(asleep, Ok(sandbox.epoch + 1));
    let read = bench.get(CLAIM, "desk").await.unwrap();
    let seen = bench.get(SANDBOX, name).await.unwrap();
    let wake = change(&bench, &seen, sandbox.epoch + 1, OperatingMode::Running);
    let woken = bench.writer.set_mode(&wake, None, None, soon()).await;
    assert_eq!(woken, Ok(sandbox.epoch + 2));
    let awake = bench.get(SANDBOX, name).await.unwrap();
    assert_eq!(awake["spec"]["operatingMode"], "Running");
    let notes = awake["metadata"]["annotations"].as_object().unwrap();
    assert!(!notes.contains_key("reveille.dev/releasing"), "{notes:?}");
    let after = bench.get(CLAIM, "desk").await.unwrap();
    assert_eq!((epoch(&read), epoch(&after)), (&json!("4"), &json!("5")));
    let version = &read["metadata"]["resourceVersion"];
    let late = json!({"preconditions": {"uid": uid(&claim), "resourceVersion": version}});
    let path = CLAIM.one(&bench.key("desk"));
    let refused = bench
        .call(Method::DELETE, &path, Some((Body::Json, late)))
        .await;
    assert!(matches!(refused, Err(Failure::Conflict(_))), "{refused:?}");
    // A release that still goes by the epoch of before comes to nothing.
    let again = bench.writer.release(&release, TTL, soon()).await;
    assert!(matches!(again, Err(Failure::Conflict(_))), "{again:?}");
}
