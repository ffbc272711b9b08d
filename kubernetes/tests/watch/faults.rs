//! Answers that are none, and answers that say no.

use std::time::Duration;

use reveille_crds::index::Index;
use serde_json::json;

use crate::bench::{Bench, key, until};
use crate::fake::store::Kind;
use crate::fake::{Fake, MUTE};
use crate::objects::awake;

#[tokio::test]
async fn an_object_that_cannot_be_read_stops_neither_list_nor_watch() {
    let fake = Fake::start().await;
    fake.put(Kind::Sandbox, awake("alice"));
    fake.put(Kind::Sandbox, awake("dotted.name"));
    fake.put(Kind::Sandbox, awake(&"long".repeat(20)));
    for (name, spec) in [
        ("no-mode", json!({"operatingMode": "Hibernated"})),
        ("no-time", json!({"shutdownTime": "tomorrow"})),
        ("no-spec", json!(null)),
        ("no-list", json!({"volumeClaimTemplates": {}})),
    ] {
        let mut object = awake(name);
        object["spec"] = spec;
        fake.put(Kind::Sandbox, object);
    }
    let mut no_labels = awake("no-labels");
    no_labels["metadata"]["labels"] = json!(["a", "b"]);
    fake.put(Kind::Sandbox, no_labels);
    let mut bench = Bench::synced(fake).await;
    assert_eq!(bench.names(), ["alice"]);
    assert_eq!(bench.health.borrow().unreadable, 7);

    // The same in a watch, once more for each: nobody is warned twice.
    let mut bad = awake("no-mode");
    bad["spec"] = json!({"operatingMode": 3});
    bench.fake.put(Kind::Sandbox, bad);
    bench.fake.put(Kind::Sandbox, awake("dotted.name"));
    bench.quiet("marker").await;
    assert_eq!(bench.health.borrow().unreadable, 7);
    assert_eq!(bench.names(), ["alice", "marker"]);

    // One that becomes readable is there, and is gone again when it no longer is.
    bench.fake.put(Kind::Sandbox, awake("no-mode"));
    bench
        .until("it", |it| it.target(&key("no-mode")).is_some())
        .await;
    let mut bad = awake("no-mode");
    bad["spec"] = json!({"operatingMode": 3});
    bench.fake.put(Kind::Sandbox, bad);
    bench
        .until("it gone", |it| it.target(&key("no-mode")).is_none())
        .await;
    assert!(bench.health.borrow().failing.is_empty());
    bench.end().await;
}

#[tokio::test]
async fn a_line_that_is_none_may_have_been_an_event_so_everything_is_listed_again() {
    for garbage in [
        "garbage",
        "{\"type\":\"ADDED\"}",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":",
        "{\"type\":\"UPSET\",\"object\":{}}",
        "[]",
        "{\"type\":\"ERROR\",\"object\":{\"code\":500,\"message\":\"etcd is unwell\"}}",
        "{\"type\":\"DELETED\",\"object\":{\"metadata\":7}}",
        "\u{0}\u{1}",
    ] {
        let fake = Fake::start().await;
        fake.put(Kind::Sandbox, awake("alice"));
        let mut bench = Bench::synced(fake).await;
        bench.quiet("running").await;
        bench.fake.edit(|store| {
            store.lose(Kind::Sandbox, "alice");
            store.line(Kind::Sandbox, garbage);
        });
        bench
            .until(garbage, |it| it.target(&key("alice")).is_none())
            .await;
        bench.quiet("marker").await;
        bench.end().await;
    }
}

#[tokio::test]
async fn a_list_that_is_none_is_asked_for_again() {
    for answer in [500, 503, 429, 504, 404, 401] {
        let fake = Fake::start().await;
        fake.put(Kind::Sandbox, awake("alice"));
        fake.refuse("v1beta1/sandboxes?&limit", answer, "not now", 2);
        let bench = Bench::synced(fake).await;
        assert_eq!(bench.names(), ["alice"], "{answer}");
        bench.end().await;
    }
}

#[tokio::test]
async fn a_watch_that_is_refused_goes_on_in_the_same_place_unless_that_place_is_lost() {
    for (code, message, lists) in [
        (500, "unwell", 1),
        (503, "not now", 1),
        (429, "too many", 1),
        (401, "who are you", 1),
        (504, "Timeout: Too large resource version: 7, current: 3", 2),
        (400, "invalid resource version", 2),
        (410, "too old resource version", 2),
    ] {
        let fake = Fake::start().await;
        fake.refuse("v1beta1/sandboxes?&watch=true", code, message, 1);
        let mut bench = Bench::synced(fake).await;
        bench.quiet("marker").await;
        let asked = bench.fake.requests("v1beta1/sandboxes?&limit");
        assert_eq!(asked.len(), lists, "{code}: {asked:?}");
        bench
            .until_healthy("all well", |health| health.failing.is_empty())
            .await;
        bench.end().await;
    }
}

#[tokio::test]
async fn what_is_not_allowed_is_named_and_asked_for_slowly() {
    let fake = Fake::start().await;
    fake.put(Kind::Sandbox, awake("alice"));
    let told =
        "sandboxes.agents.x-k8s.io is forbidden: User \"it\" cannot list resource \"sandboxes\"";
    fake.refuse("v1beta1/sandboxes?", 403, told, 1);
    let mut bench = Bench::on(fake).await;
    bench
        .until_healthy("the refusal", |health| {
            let failing = health.failing.get("sandboxes.agents.x-k8s.io");
            failing.is_some_and(|it| it.why.contains("403") && it.why.contains("cannot list"))
        })
        .await;
    assert!(!bench.health.borrow().synced);
    // Only the first refusal was one: it is the pause that is waited for here.
    let refused = tokio::time::Instant::now();
    bench.until("everything", Index::synced).await;
    assert!(
        refused.elapsed() > Duration::from_secs(2),
        "{:?}",
        refused.elapsed()
    );
    assert_eq!(bench.fake.requests("v1beta1/sandboxes?&limit").len(), 2);
    bench.end().await;
}

#[tokio::test]
async fn a_watch_that_ends_at_once_each_time_does_not_spin() {
    let fake = Fake::start().await;
    let bench = Bench::synced(fake).await;
    until("watches", || {
        !bench.fake.requests("v1beta1/sandboxes?&watch").is_empty()
    })
    .await;
    let begun = tokio::time::Instant::now();
    let mut ended = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        let asked = bench.fake.requests("v1beta1/sandboxes?&watch").len();
        if asked > ended {
            ended = asked;
            bench.fake.edit(|store| store.end(Kind::Sandbox));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(ended < 15, "{ended} watches in two seconds");
    bench.end().await;
}

#[tokio::test]
async fn a_watch_that_falls_silent_is_opened_anew() {
    let bench = Bench::synced(Fake::start().await).await;
    until("all watches", || {
        bench.fake.requests("watch=true").len() == 5
    })
    .await;
    tokio::time::pause();
    let waited = until_asked_twice(&bench, "v1beta1/sandboxes?&watch").await;
    let agreed = Duration::from_secs(20)..Duration::from_secs(35);
    assert!(agreed.contains(&waited), "{waited:?}");
}

#[tokio::test]
async fn a_list_or_a_watch_that_is_never_answered_is_asked_for_again() {
    for request in ["v1beta1/sandboxes?&limit", "v1beta1/sandboxes?&watch"] {
        let fake = Fake::start().await;
        fake.refuse(request, MUTE, "", 1);
        let bench = Bench::on(fake).await;
        until("the request", || bench.fake.requests(request).len() == 1).await;
        tokio::time::pause();
        let waited = until_asked_twice(&bench, request).await;
        assert!(waited <= Duration::from_secs(32), "{waited:?}");
        tokio::time::resume();
    }
}

/// How long it takes, by a clock that leaps whenever there is nothing to do.
#[allow(
    clippy::disallowed_methods,
    reason = "tokio's clock leaps over the time that the kernel takes to carry bytes from one socket to the other"
)]
async fn until_asked_twice(bench: &Bench, request: &str) -> Duration {
    let begun = tokio::time::Instant::now();
    while bench.fake.requests(request).len() < 2 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        std::thread::sleep(Duration::from_millis(2));
        assert!(
            begun.elapsed() < Duration::from_secs(300),
            "{request} is not asked for again"
        );
    }
    begun.elapsed()
}
