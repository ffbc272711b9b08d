//! Claims that sleep: two kinds, one thing.

use reveille_crds::index::Index;
use reveille_kubernetes::watch::Scope;

use crate::bench::{Bench, key, until};
use crate::fake::Fake;
use crate::fake::store::Kind;
use crate::objects::{claim, released};

async fn with_leftovers(fake: Fake) -> Bench {
    let scope = Scope {
        leftovers: true,
        ..Scope::default()
    };
    let mut bench = Bench::within(fake, scope).await;
    bench.until("everything", Index::synced).await;
    bench
}

fn is(name: &'static str, uid: &'static str, released: bool) -> impl Fn(&Index) -> bool {
    move |index| {
        let target = index.target(&key(name));
        let claim = target.and_then(|target| target.claim);
        claim.is_some_and(|(_, it)| &*it.uid == uid && it.released == released)
    }
}

#[tokio::test]
async fn a_claim_that_is_released_and_bound_again_never_vanishes() {
    let fake = Fake::start().await;
    fake.put(Kind::Claim, claim("bob", "c1"));
    let mut bench = Bench::synced(fake).await;
    for (sleeping, waking) in [("c1", "c2"), ("c2", "c3")] {
        bench.fake.edit(|store| {
            store.put(Kind::Released, released("bob", "r", sleeping));
            store.delete(Kind::Claim, "bob");
        });
        bench
            .until("its sleep", |it| {
                it.target(&key("bob")).unwrap().claim.unwrap().1.released
            })
            .await;
        assert_eq!(bench.claim("bob").unwrap().epoch, 4);
        bench.fake.edit(|store| {
            store.put(Kind::Claim, claim("bob", waking));
            store.delete(Kind::Released, "bob");
        });
        let awake = move |it: &Index| {
            let claim = it.target(&key("bob")).unwrap().claim.unwrap().1;
            !claim.released && &*claim.uid == waking
        };
        bench.until("its wake", awake).await;
    }
    bench.quiet("marker").await;
    assert_eq!(bench.count("-claim bob"), 0, "{:?}", bench.told);
    bench.end().await;
}

#[tokio::test]
async fn a_claim_that_is_deleted_by_a_user_vanishes_a_moment_later() {
    let fake = Fake::start().await;
    fake.put(Kind::Claim, claim("bob", "c1"));
    fake.put(Kind::Released, released("carol", "r1", "c2"));
    let mut bench = Bench::synced(fake).await;
    assert_eq!(bench.names(), ["bob", "carol"]);
    bench.fake.delete(Kind::Claim, "bob");
    bench.fake.delete(Kind::Released, "carol");
    bench
        .until("both gone", |it| it.targets().count() == 0)
        .await;
    assert_eq!(
        (bench.count("-claim bob"), bench.count("-claim carol")),
        (1, 1)
    );
    bench.end().await;
}

#[tokio::test]
async fn a_living_claim_wins_and_what_stands_beside_it_is_told_only_on_demand() {
    let fake = Fake::start().await;
    fake.put(Kind::Claim, claim("bob", "c1"));
    fake.put(Kind::Released, released("bob", "r1", "c0"));
    let mut plain = Bench::synced(fake).await;
    plain.until("the living", is("bob", "c1", false)).await;
    assert_eq!(plain.claim("bob").unwrap().leftover, None);

    let fake = Fake::start().await;
    fake.put(Kind::Claim, claim("bob", "c1"));
    let mut bench = with_leftovers(fake).await;
    let leftover = |uid: Option<&'static str>| {
        move |it: &Index| {
            let claim = it.target(&key("bob")).unwrap().claim.unwrap().1;
            !claim.released && claim.leftover.as_deref() == uid
        }
    };
    bench.until("none", leftover(None)).await;
    bench.fake.put(Kind::Released, released("bob", "r1", "c0"));
    bench.until("a leftover", leftover(Some("r1"))).await;
    bench.fake.put(Kind::Claim, claim("bob", "c1"));
    bench.quiet("marker").await;
    assert!(leftover(Some("r1"))(&bench.index));
    bench.fake.delete(Kind::Released, "bob");
    bench.until("none again", leftover(None)).await;
    bench.end().await;
    plain.end().await;
}

#[tokio::test]
async fn a_claim_that_dies_beside_its_memory_sleeps() {
    let fake = Fake::start().await;
    fake.put(Kind::Claim, claim("bob", "c1"));
    fake.put(Kind::Released, released("bob", "r1", "c1"));
    let mut bench = with_leftovers(fake).await;
    bench.fake.delete(Kind::Claim, "bob");
    bench.until("its sleep", is("bob", "c1", true)).await;
    assert_eq!(bench.claim("bob").unwrap().leftover, None);
    bench.end().await;
}

#[tokio::test]
async fn a_claim_deleted_while_the_api_was_away_vanishes_too() {
    let fake = Fake::start().await;
    fake.put(Kind::Claim, claim("bob", "c1"));
    let mut bench = Bench::synced(fake).await;
    bench.fake.stop();
    bench.fake.edit(|store| {
        store.delete(Kind::Claim, "bob");
        store.compact();
    });
    bench.fake.start_again().await;
    bench
        .until("bob gone", |it| it.target(&key("bob")).is_none())
        .await;
    bench.end().await;
}

#[tokio::test]
async fn a_memory_beside_a_living_claim_is_never_told_first() {
    let fake = Fake::start().await;
    fake.put(Kind::Claim, claim("bob", "c1"));
    fake.put(Kind::Released, released("bob", "r1", "c1"));
    fake.put(Kind::Released, released("carol", "r2", "c2"));
    // The claims come late.
    fake.refuse("sandboxclaims?&limit", 503, "not now", 3);
    let mut bench = Bench::synced(fake).await;
    assert_eq!(bench.told.last().unwrap(), "synced");
    assert!(is("bob", "c1", false)(&bench.index) && is("carol", "c2", true)(&bench.index));
    assert_eq!(bench.told, ["claim bob", "claim carol", "synced"]);
    bench.quiet("marker").await;
    bench.end().await;
}

#[tokio::test]
async fn a_claim_that_was_bound_while_its_watch_was_away_does_not_vanish() {
    let fake = Fake::start().await;
    fake.put(Kind::Released, released("bob", "r1", "c1"));
    let mut bench = Bench::synced(fake).await;
    until("all watches", || {
        bench.fake.requests("watch=true").len() == 5
    })
    .await;
    // Four refusals keep the claims back for about a second and a half.
    bench.fake.refuse("sandboxclaims?", 503, "not now", 4);
    bench.fake.edit(|store| store.end(Kind::Claim));
    bench
        .until_healthy("the claims away", |health| !health.failing.is_empty())
        .await;
    bench.fake.edit(|store| {
        store.put(Kind::Claim, claim("bob", "c2"));
        store.delete(Kind::Released, "bob");
    });
    bench.until("its wake", is("bob", "c2", false)).await;
    assert_eq!(bench.count("-claim bob"), 0, "{:?}", bench.told);
    bench.end().await;
}
