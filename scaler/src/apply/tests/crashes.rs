//! A crash between any two steps of a release or a binding, and what arrives too late.

use serde::de::IgnoredAny;

use super::claims::TTL;
use super::*;

impl Bench {
    /// A claim beside its record: a release that ended after its first step.
    async fn half_released(&self) -> Value {
        let claim = self.claimed().await;
        let object = json!({
            "apiVersion": "reveille.dev/v1alpha1", "kind": "ReleasedClaim",
            "metadata": {"name": "desk", "annotations": {"reveille.dev/epoch": "5"}},
            "spec": {"claimUid": uid(&claim), "claim": {
                "apiVersion": CLAIM.api_version(), "spec": claim["spec"],
            }},
        });
        self.create(Kind::Released, object).await;
        claim
    }

    async fn leftover(&self) -> String {
        let record = self.get(Kind::Released, "desk").await.unwrap();
        uid(&record).to_owned()
    }
}

#[tokio::test]
async fn a_release_that_remembered_but_did_not_delete_is_undone_before_the_next() {
    let bench = Bench::new("again").await;
    let claim = bench.half_released().await;
    let change = bench.looked_at(&claim).await;
    let undone = bench.writer.release(&change, TTL, soon()).await;
    assert!(matches!(undone, Err(Failure::Conflict(_))), "{undone:?}");
    assert!(bench.is_gone(Kind::Released).await);
    let claim = bench.get(CLAIM, "desk").await.unwrap();
    assert_eq!(epoch(&claim), "5");
    let change = bench.looked_at(&claim).await;
    assert_eq!(bench.writer.release(&change, TTL, soon()).await, Ok(6));
    let record = bench.get(Kind::Released, "desk").await.unwrap();
    assert_eq!(
        record["spec"]["claim"]["labels"]["fleet"], "research",
        "it was written anew"
    );
}

#[tokio::test]
async fn a_release_that_remembered_but_did_not_delete_is_taken_back_and_a_late_deletion_fails() {
    let bench = Bench::new("late").await;
    let claim = bench.half_released().await;
    let leftover = bench.leftover().await;
    let before = bench.get(CLAIM, "desk").await.unwrap();
    bench
        .writer
        .collect(&bench.key("desk"), &leftover, soon())
        .await
        .unwrap();
    assert!(bench.is_gone(Kind::Released).await);
    let after = bench.get(CLAIM, "desk").await.unwrap();
    assert_eq!((uid(&after), epoch(&after)), (uid(&claim), &json!("5")));
    let version = &before["metadata"]["resourceVersion"];
    let late = json!({"preconditions": {"uid": uid(&claim), "resourceVersion": version}});
    let path = CLAIM.one(&bench.key("desk"));
    let refused = bench
        .call(Method::DELETE, &path, Some((Body::Json, late)))
        .await;
    assert!(matches!(refused, Err(Failure::Conflict(_))), "{refused:?}");
}

#[tokio::test]
async fn a_binding_that_created_but_did_not_forget_leaves_a_record_that_is_collected() {
    let bench = Bench::new("forgetful").await;
    let claim = bench.claimed().await;
    let change = bench.looked_at(&claim).await;
    bench.writer.release(&change, TTL, soon()).await.unwrap();
    let change = bench.remembered().await;
    let object = json!({
        "apiVersion": CLAIM.api_version(), "kind": "SandboxClaim",
        "metadata": {"name": "desk", "annotations": {"reveille.dev/epoch": "6"}},
        "spec": claim["spec"],
    });
    let created = bench.create(CLAIM, object).await;
    let again = bench.writer.bind(&change, soon()).await;
    assert!(matches!(again, Err(Failure::Conflict(_))), "{again:?}");
    let leftover = bench.leftover().await;
    let key = bench.key("desk");
    bench.writer.collect(&key, &leftover, soon()).await.unwrap();
    assert!(bench.is_gone(Kind::Released).await);
    let after = bench.get(CLAIM, "desk").await.unwrap();
    assert_eq!(
        (uid(&after), epoch(&after)),
        (uid(&created), &json!("6")),
        "nothing can be late here"
    );
    // And it can be put to sleep again.
    let bound = bench.bound().await;
    let change = bench.looked_at(&bound).await;
    assert_eq!(bench.writer.release(&change, TTL, soon()).await, Ok(7));
}

#[tokio::test]
async fn the_record_of_a_claim_that_sleeps_is_never_collected() {
    let bench = Bench::new("asleep").await;
    let claim = bench.claimed().await;
    let change = bench.looked_at(&claim).await;
    bench.writer.release(&change, TTL, soon()).await.unwrap();
    let leftover = bench.leftover().await;
    let key = bench.key("desk");
    let kept = bench.writer.collect(&key, &leftover, soon()).await;
    assert!(matches!(kept, Err(Failure::NotFound(_))), "{kept:?}");
    assert_eq!(bench.leftover().await, leftover);
    let other = bench.writer.collect(&key, "another", soon()).await;
    assert!(matches!(other, Err(Failure::Conflict(_))), "{other:?}");
}

#[tokio::test]
async fn a_record_that_was_written_anew_is_not_removed_by_who_read_it_before() {
    let bench = Bench::new("anew").await;
    bench.half_released().await;
    let read = bench.get(Kind::Released, "desk").await.unwrap();
    let anew = json!({"metadata": {"labels": {"written": "anew"}}});
    bench.merge(Kind::Released, "desk", anew).await;
    let version = &read["metadata"]["resourceVersion"];
    let late = json!({"preconditions": {"uid": uid(&read), "resourceVersion": version}});
    let path = Kind::Released.one(&bench.key("desk"));
    let refused: Result<IgnoredAny, Failure> = call::send(
        &bench.client,
        Method::DELETE,
        &path,
        Some((Body::Json, late)),
        soon(),
    )
    .await;
    assert!(matches!(refused, Err(Failure::Conflict(_))), "{refused:?}");
}

#[tokio::test]
async fn a_claim_deleted_by_its_owner_while_it_is_released_is_not_remembered() {
    let bench = Bench::new("owner").await;
    let claim = bench.claimed().await;
    let change = bench.looked_at(&claim).await;
    bench.delete(CLAIM, "desk").await;
    let refused = bench.writer.release(&change, TTL, soon()).await;
    assert!(matches!(refused, Err(Failure::NotFound(_))), "{refused:?}");
    assert!(bench.is_gone(Kind::Released).await);
}
