//! Kinds and versions that come and go.

use reveille_crds::index::Index;
use reveille_crds::sandbox::OperatingMode;
use reveille_kubernetes::discovery::{Served, Version};

use crate::bench::{Bench, DEADLINE, key, until};
use crate::fake::Fake;
use crate::fake::store::Kind;
use crate::objects::{awake, policy, sandbox};

async fn serving(kind: Kind, versions: Vec<&'static str>) -> Fake {
    let fake = Fake::start().await;
    serve(&fake, kind, versions);
    fake
}

fn serve(fake: &Fake, kind: Kind, versions: Vec<&'static str>) {
    fake.edit(|store| store.served.insert(kind, versions));
}

async fn until_served(bench: &Bench, wanted: impl Fn(Served) -> bool) {
    let mut served = bench.discovery.served();
    let known = served.wait_for(|served| served.is_some_and(&wanted));
    tokio::time::timeout(DEADLINE, known)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_server_of_the_old_version_alone_is_read_in_it() {
    let fake = serving(Kind::Sandbox, vec!["v1alpha1"]).await;
    fake.put(Kind::Sandbox, awake("alice"));
    fake.put(Kind::Sandbox, sandbox("bob", "b", "Suspended"));
    let bench = Bench::synced(fake).await;
    assert_eq!(bench.sandbox("alice").unwrap().mode, OperatingMode::Running);
    assert_eq!(bench.sandbox("bob").unwrap().mode, OperatingMode::Suspended);
    assert!(bench.fake.requests("v1beta1/sandboxes").is_empty());
    let served = bench.discovery.served().borrow().unwrap();
    assert_eq!(served.sandboxes, Some(Version::V1Alpha1));
    bench.end().await;
}

#[tokio::test]
async fn of_two_versions_the_newer_is_taken() {
    let fake = serving(Kind::Sandbox, vec!["v1alpha1", "v1beta1"]).await;
    let bench = Bench::synced(fake).await;
    assert!(bench.fake.requests("v1alpha1/sandboxes").is_empty());
    bench.end().await;
}

#[tokio::test]
async fn when_an_upgrade_takes_the_version_away_the_other_one_goes_on_without_removals() {
    let fake = serving(Kind::Sandbox, vec!["v1alpha1"]).await;
    fake.put(Kind::Sandbox, awake("alice"));
    fake.put(Kind::Sandbox, awake("bob"));
    let mut bench = Bench::synced(fake).await;
    bench.quiet("running").await;
    bench.fake.edit(|store| {
        store.served.insert(Kind::Sandbox, vec!["v1beta1"]);
        store.lose(Kind::Sandbox, "bob");
        store.end(Kind::Sandbox);
    });
    bench
        .until("bob gone", |it| it.target(&key("bob")).is_none())
        .await;
    until_served(&bench, |it| it.sandboxes == Some(Version::V1Beta1)).await;
    bench
        .fake
        .put(Kind::Sandbox, sandbox("alice", "uid-of-alice", "Suspended"));
    let asleep = |it: &Index| {
        let target = it.target(&key("alice")).unwrap();
        target.sandbox.unwrap().1.mode == OperatingMode::Suspended
    };
    bench.until("alice asleep", asleep).await;
    assert_eq!(bench.count("-sandbox alice"), 0, "{:?}", bench.told);
    assert_eq!(bench.count("synced"), 1);
    bench.end().await;
}

#[tokio::test]
async fn a_kind_that_is_missing_is_empty_and_is_taken_up_when_it_appears() {
    let fake = serving(Kind::Policy, vec![]).await;
    fake.put(Kind::Sandbox, awake("alice"));
    fake.put(Kind::Policy, policy("all", 7));
    let mut bench = Bench::synced(fake).await;
    assert!(bench.index.target(&key("alice")).unwrap().policy.is_none());
    assert!(bench.health.borrow().failing.is_empty());
    serve(&bench.fake, Kind::Policy, vec!["v1alpha1"]);
    bench.discovery.again();
    bench
        .until("the policy", |it| {
            it.target(&key("alice")).unwrap().policy.is_some()
        })
        .await;
    bench.end().await;
}

#[tokio::test]
async fn a_kind_that_is_gone_for_a_moment_keeps_its_objects() {
    let fake = Fake::start().await;
    fake.put(Kind::Sandbox, awake("alice"));
    let mut bench = Bench::synced(fake).await;
    bench.quiet("running").await;
    serve(&bench.fake, Kind::Sandbox, vec![]);
    bench.fake.edit(|store| store.end(Kind::Sandbox));
    let looks = || {
        bench
            .fake
            .requests("/apis/agents.x-k8s.io/v1beta1")
            .iter()
            .filter(|it| it.ends_with("v1beta1"))
            .count()
    };
    let before = looks();
    until("two looks more", || looks() >= before + 2).await;
    serve(&bench.fake, Kind::Sandbox, vec!["v1beta1"]);
    bench.quiet("marker").await;
    assert_eq!(bench.count("-sandbox alice"), 0, "{:?}", bench.told);
    assert_eq!(bench.names(), ["alice", "marker", "running"]);
    bench.end().await;
}

#[tokio::test]
async fn a_kind_that_is_gone_for_good_takes_its_objects_along() {
    let fake = Fake::start().await;
    fake.put(Kind::Sandbox, awake("alice"));
    fake.put(Kind::Policy, policy("all", 7));
    let mut bench = Bench::synced(fake).await;
    serve(&bench.fake, Kind::Policy, vec![]);
    bench.fake.edit(|store| store.end(Kind::Policy));
    bench
        .until("no policy", |it| {
            it.target(&key("alice")).unwrap().policy.is_none()
        })
        .await;
    assert_eq!(bench.names(), ["alice"]);
    bench
        .until_healthy("nothing to complain of", |health| health.failing.is_empty())
        .await;
    bench.end().await;
}

#[tokio::test]
async fn nothing_is_asked_of_an_idle_server_that_has_everything() {
    let bench = Bench::synced(Fake::start().await).await;
    until("all watches", || {
        bench.fake.requests("watch=true").len() == 5
    })
    .await;
    let asked = bench.fake.requests("/");
    // Three looks, five lists, five watches.
    assert_eq!(asked.len(), 13, "{asked:?}");
    bench.end().await;
}
