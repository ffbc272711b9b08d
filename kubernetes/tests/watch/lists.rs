//! First lists, and events in peace.

use reveille_crds::sandbox::OperatingMode;
use reveille_kubernetes::watch::Scope;

use crate::bench::{Bench, key, until};
use crate::fake::Fake;
use crate::fake::store::Kind;
use crate::objects::{awake, claim, pod, policy, sandbox};

#[tokio::test]
async fn everything_that_exists_is_told_and_then_synced_exactly_once() {
    let fake = Fake::start().await;
    fake.put(Kind::Sandbox, awake("alice"));
    fake.put(Kind::Pod, pod("alice", "10.0.0.1"));
    fake.put(Kind::Claim, claim("bob", "c1"));
    fake.put(Kind::Policy, policy("all", 7));
    let mut bench = Bench::synced(fake).await;
    let target = bench.index.target(&key("alice")).unwrap();
    assert_eq!(target.pod.unwrap().ip, Some("10.0.0.1".parse().unwrap()));
    assert_eq!(target.policy.unwrap().1.spec.cooldown_period, 7);
    assert_eq!(bench.names(), ["alice", "bob"]);
    assert_eq!(bench.told.last().unwrap(), "synced");
    bench
        .until_healthy("readiness", |health| health.synced)
        .await;
    // Neither a gap nor a new list makes a second one.
    until("all watches", || {
        bench.fake.requests("watch=true").len() == 5
    })
    .await;
    for kind in Kind::ALL {
        bench.fake.edit(|store| store.line(kind, "{}"));
    }
    bench
        .until_healthy("lists anew", |health| health.relists == 5)
        .await;
    bench.quiet("marker").await;
    assert_eq!(bench.count("synced"), 1);
    bench.end().await;
}

#[tokio::test]
async fn a_collection_of_many_pages_is_read_whole() {
    let fake = Fake::start().await;
    for n in 0..1_201 {
        fake.put(Kind::Sandbox, awake(&format!("s-{n:05}")));
    }
    let bench = Bench::synced(fake).await;
    assert_eq!(bench.index.targets().count(), 1_201);
    let lists = bench.fake.requests("v1beta1/sandboxes?&limit=500");
    assert_eq!(lists.len(), 3, "{lists:?}");
    bench.end().await;
}

#[tokio::test]
async fn changes_arrive_as_they_happen() {
    let mut bench = Bench::synced(Fake::start().await).await;
    bench.fake.put(Kind::Sandbox, awake("alice"));
    bench
        .until("alice", |it| it.target(&key("alice")).is_some())
        .await;
    bench
        .fake
        .put(Kind::Sandbox, sandbox("alice", "uid-of-alice", "Suspended"));
    let asleep = |it: &reveille_crds::index::Index| {
        it.target(&key("alice"))
            .and_then(|target| target.sandbox)
            .is_some_and(|(_, facts)| facts.mode == OperatingMode::Suspended)
    };
    bench.until("alice asleep", asleep).await;
    bench.fake.delete(Kind::Sandbox, "alice");
    bench
        .until("alice gone", |it| it.target(&key("alice")).is_none())
        .await;
    assert_eq!(
        bench.told,
        ["synced", "sandbox alice", "sandbox alice", "-sandbox alice"]
    );
    bench.end().await;
}

#[tokio::test]
async fn only_pods_of_sandboxes_are_asked_for_and_told() {
    let fake = Fake::start().await;
    let mut stranger = pod("stranger", "10.0.0.9");
    stranger["metadata"]["ownerReferences"] = serde_json::json!([]);
    fake.put(Kind::Pod, stranger);
    fake.put(Kind::Sandbox, awake("alice"));
    let mut bench = Bench::synced(fake).await;
    assert_eq!(bench.told, ["sandbox alice", "synced"]);
    let asked = bench.fake.requests("/api/v1/pods");
    let selective = |it: &String| it.contains("labelSelector=agents.x-k8s.io%2Fsandbox-name-hash");
    assert!(
        !asked.is_empty() && asked.iter().all(selective),
        "{asked:?}"
    );
    // One that is taken over by a Sandbox, and given up again.
    bench.fake.put(Kind::Pod, pod("alice", "10.0.0.1"));
    bench
        .until("its pod", |it| {
            it.target(&key("alice")).unwrap().pod.is_some()
        })
        .await;
    let mut orphan = pod("alice", "10.0.0.1");
    orphan["metadata"]["ownerReferences"] = serde_json::json!([]);
    bench.fake.put(Kind::Pod, orphan);
    bench
        .until("no pod", |it| {
            it.target(&key("alice")).unwrap().pod.is_none()
        })
        .await;
    bench.end().await;
}

#[tokio::test]
async fn namespaces_that_are_named_are_all_that_is_asked_for() {
    let fake = Fake::start().await;
    let mut elsewhere = awake("carol");
    elsewhere["metadata"]["namespace"] = "elsewhere".into();
    let mut other = awake("dave");
    other["metadata"]["namespace"] = "other".into();
    fake.put(Kind::Sandbox, awake("alice"));
    fake.put(Kind::Sandbox, elsewhere);
    fake.put(Kind::Sandbox, other);
    let scope = Scope {
        namespaces: vec!["agents".to_owned(), "elsewhere".to_owned()],
        ..Scope::default()
    };
    let mut bench = Bench::within(fake, scope).await;
    bench.until("everything", |index| index.synced()).await;
    assert_eq!(bench.names(), ["alice", "carol"]);
    let wide = bench.fake.requests("v1beta1/sandboxes?");
    assert!(wide.is_empty(), "{wide:?}");
    bench.end().await;
}

#[tokio::test]
async fn a_bookmark_moves_the_place_where_a_watch_goes_on() {
    let mut bench = Bench::synced(Fake::start().await).await;
    // Much happens elsewhere.
    for n in 0..10 {
        bench.fake.put(Kind::Policy, policy(&format!("p{n}"), 1));
    }
    // A marker that the bookmark comes after shows that the watch runs.
    bench.quiet("marker").await;
    for n in 10..20 {
        bench.fake.put(Kind::Policy, policy(&format!("p{n}"), 1));
    }
    bench.fake.edit(|store| {
        store.bookmark(Kind::Sandbox);
        store.end(Kind::Sandbox);
    });
    let version = bench.fake.edit(|store| store.revision);
    let place = format!("resourceVersion={version}");
    until("the next watch", || {
        bench
            .fake
            .requests("v1beta1/sandboxes?")
            .iter()
            .any(|it| it.contains(&place))
    })
    .await;
    let lists = bench.fake.requests("v1beta1/sandboxes?&limit");
    assert_eq!(lists.len(), 1, "{lists:?}");
    bench.end().await;
}
