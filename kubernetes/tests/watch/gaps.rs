//! What happened while nobody looked.

use reveille_crds::index::Index;

use crate::bench::{Bench, key, until};
use crate::fake::store::Kind;
use crate::fake::{Fake, MUTE};
use crate::objects::{awake, claim, pod, sandbox};

const SANDBOXES: &str = "v1beta1/sandboxes?";

fn has(name: &'static str) -> impl Fn(&Index) -> bool {
    move |index| index.target(&key(name)).is_some()
}

fn lacks(name: &'static str) -> impl Fn(&Index) -> bool {
    move |index| index.target(&key(name)).is_none()
}

async fn with(names: &[&str]) -> Bench {
    let fake = Fake::start().await;
    for name in names {
        fake.put(Kind::Sandbox, awake(name));
    }
    let bench = Bench::synced(fake).await;
    until("the watch", || {
        let asked = bench.fake.requests(SANDBOXES);
        asked.iter().any(|it| it.contains("watch=true"))
    })
    .await;
    bench
}

/// Loses an object without an event, and whatever the watch could have gone on from.
fn forget(bench: &Bench, name: &str) {
    bench.fake.edit(|store| {
        store.lose(Kind::Sandbox, name);
        store.compact();
    });
}

#[tokio::test]
async fn a_watch_that_is_too_old_lists_again_and_tells_what_vanished() {
    for in_event in [true, false] {
        let mut bench = with(&["alice", "bob"]).await;
        bench.fake.edit(|store| store.gone_in_event = in_event);
        forget(&bench, "alice");
        bench.fake.edit(|store| store.end(Kind::Sandbox));
        bench.until("alice gone", lacks("alice")).await;
        bench.quiet("marker").await;
        assert_eq!(bench.count("-sandbox alice"), 1, "{:?}", bench.told);
        assert_eq!(bench.count("-sandbox bob"), 0, "{:?}", bench.told);
        assert!(bench.health.borrow().relists >= 1);
        bench.end().await;
    }
}

#[tokio::test]
async fn a_watch_that_is_told_410_in_its_middle_lists_again() {
    let mut bench = with(&["alice", "bob"]).await;
    bench.fake.edit(|store| {
        store.lose(Kind::Sandbox, "bob");
        let status = crate::fake::status(410, "too old resource version");
        store.line(
            Kind::Sandbox,
            &format!(r#"{{"type":"ERROR","object":{status}}}"#),
        );
    });
    bench.until("bob gone", lacks("bob")).await;
    assert!(has("alice")(&bench.index));
    bench.end().await;
}

#[tokio::test]
async fn a_list_whose_token_expires_half_way_begins_anew() {
    let fake = Fake::start().await;
    for n in 0..700 {
        fake.put(Kind::Sandbox, awake(&format!("s-{n:05}")));
    }
    // The second page is refused twice; between the pages one object goes that the first one had.
    fake.refuse("sandboxes?&limit=500&continue=", 410, "expired", 2);
    let mut bench = Bench::on(fake).await;
    bench.until("the first page", has("s-00000")).await;
    bench
        .fake
        .edit(|store| store.lose(Kind::Sandbox, "s-00000"));
    bench.until("everything", Index::synced).await;
    bench.until("what went meanwhile", lacks("s-00000")).await;
    assert_eq!(bench.index.targets().count(), 699);
    bench.end().await;
}

#[tokio::test]
async fn while_the_api_is_away_everything_stays_and_afterwards_what_went_is_told() {
    let mut bench = with(&["alice", "bob", "carol"]).await;
    bench.fake.put(Kind::Pod, pod("alice", "10.0.0.1"));
    bench
        .until("her pod", |it| {
            it.target(&key("alice")).unwrap().pod.is_some()
        })
        .await;
    bench.fake.stop();
    bench
        .until_healthy("the loss noticed", |health| health.failing.len() == 5)
        .await;
    assert!(bench.health.borrow().stale_since().is_some());
    bench.fake.edit(|store| {
        store.delete(Kind::Sandbox, "bob");
        store.put(Kind::Sandbox, awake("dave"));
        store.put(Kind::Sandbox, sandbox("carol", "another", "Running"));
        store.delete(Kind::Pod, "alice");
        store.compact();
    });
    assert_eq!(bench.names(), ["alice", "bob", "carol"]);
    let told = bench.told.len();
    bench.fake.start_again().await;
    bench.until("bob gone", lacks("bob")).await;
    bench.until("dave", has("dave")).await;
    bench
        .until("the pod gone", |it| {
            it.target(&key("alice")).unwrap().pod.is_none()
        })
        .await;
    assert_eq!(&*bench.sandbox("carol").unwrap().uid, "another");
    assert_eq!(bench.count("-sandbox alice"), 0);
    assert!(!bench.told[told..].contains(&"synced".to_owned()));
    bench
        .until_healthy("all well", |health| health.failing.is_empty())
        .await;
    assert_eq!(bench.health.borrow().stale_since(), None);
    bench.end().await;
}

#[tokio::test]
async fn a_connection_that_dies_goes_on_where_it_stopped_without_a_list() {
    let mut bench = with(&["alice"]).await;
    bench.fake.stop();
    bench.fake.put(Kind::Sandbox, awake("bob"));
    bench.fake.delete(Kind::Sandbox, "alice");
    bench.fake.start_again().await;
    bench.until("bob", has("bob")).await;
    bench.until("alice gone", lacks("alice")).await;
    let lists = bench.fake.requests("v1beta1/sandboxes?&limit");
    assert_eq!(lists.len(), 1, "{lists:?}");
    bench.end().await;
}

#[tokio::test]
async fn an_api_that_is_away_at_the_start_delays_and_does_not_end() {
    let mut fake = Fake::start().await;
    fake.put(Kind::Sandbox, awake("alice"));
    fake.stop();
    let mut bench = Bench::on(fake).await;
    assert!(!bench.health.borrow().synced && bench.told.is_empty());
    bench.fake.start_again().await;
    bench.until("everything", Index::synced).await;
    assert_eq!(bench.names(), ["alice"]);
    bench.end().await;
}

/// R7: a claim gets another Sandbox, by a name it had before.
#[tokio::test]
async fn a_sandbox_replaced_under_its_claim_during_a_gap_is_noticed_by_its_uid() {
    let owned = |uid: &str| {
        let mut object = sandbox("bob", uid, "Running");
        object["metadata"]["ownerReferences"] = serde_json::json!([{
            "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxClaim", "name": "bob",
            "uid": "c1", "controller": true,
        }]);
        object
    };
    let fake = Fake::start().await;
    fake.put(Kind::Claim, claim("bob", "c1"));
    fake.put(Kind::Sandbox, owned("uid-of-bob"));
    fake.put(Kind::Pod, pod("bob", "10.0.0.1"));
    let mut bench = Bench::synced(fake).await;
    assert!(bench.index.target(&key("bob")).unwrap().pod.is_some());
    bench.fake.stop();
    bench.fake.edit(|store| {
        store.delete(Kind::Sandbox, "bob");
        store.put(Kind::Sandbox, owned("another"));
        store.compact();
    });
    bench.fake.start_again().await;
    let replaced = |index: &Index| {
        let target = index.target(&key("bob")).unwrap();
        target.sandbox.is_some_and(|(_, it)| &*it.uid == "another")
    };
    bench.until("the other one", replaced).await;
    // The pod is still there, and is not the other one's.
    assert!(bench.index.target(&key("bob")).unwrap().pod.is_none());
    bench.end().await;
}

#[tokio::test]
async fn nothing_counts_as_seen_while_a_list_is_made_again_or_a_watch_is_not_yet_open() {
    for (request, lost, why) in [
        ("&limit", true, "too old resource version"),
        ("&watch", false, "has not answered yet"),
    ] {
        let mut bench = with(&["alice"]).await;
        bench
            .fake
            .refuse(&format!("{SANDBOXES}{request}"), MUTE, "", 1);
        if lost {
            forget(&bench, "alice");
        }
        bench.fake.edit(|store| store.end(Kind::Sandbox));
        bench
            .until_healthy("blindness", |health| {
                let failing = health.failing.get("sandboxes.agents.x-k8s.io");
                failing.is_some_and(|it| it.why.contains(why))
            })
            .await;
        bench.end().await;
    }
}
