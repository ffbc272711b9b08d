//! The API server dies, the wire is cut, etcd forgets.

use reveille_kubernetes::watch::Scope;
use reveille_testbed::{Part, Testbed, Who};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::bench::{Bench, Sandboxes, address, bare, key, shared};
use crate::relay::Relay;

/// The administrator's kubeconfig, by way of a wire.
async fn by_way_of(testbed: &Testbed, relay: &Relay) -> tempfile::TempPath {
    let path = testbed.kubeconfig(Who::Admin).await.unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let server = format!("https://{}", relay.address());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text.replace(&testbed.facts().api_url, &server)).unwrap();
    file.into_temp_path()
}

fn only(namespace: &str) -> Scope {
    Scope {
        namespaces: vec![namespace.to_owned()],
        ..Scope::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watches_outlive_a_killed_api_server() {
    let testbed = Testbed::start(bare()).await.unwrap();
    let sandboxes = Sandboxes::of(&testbed, "default");
    sandboxes.create("alice").await;
    let kubeconfig = testbed.kubeconfig(Who::Admin).await.unwrap();
    let mut bench = Bench::synced(&kubeconfig, Scope::default()).await;
    let (alice, bob) = (key("default", "alice"), key("default", "bob"));

    testbed.kill(Part::ApiServer).await.unwrap();
    bench
        .until_healthy("the loss noticed", |health| health.failing.len() == 5)
        .await;
    assert!(bench.index.target(&alice).is_some());
    testbed.start_part(Part::ApiServer).await.unwrap();
    let serving = Instant::now();
    sandboxes.create("bob").await;
    sandboxes.delete("alice").await;
    bench.until("bob", |it| it.target(&bob).is_some()).await;
    bench
        .until("alice gone", |it| it.target(&alice).is_none())
        .await;
    bench
        .until_healthy("all well", |health| health.failing.is_empty())
        .await;
    println!(
        "all five watches were back {:.1?} after the API server was",
        serving.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_and_replaced_behind_a_cut_wire_is_told_once_it_is_mended() {
    let testbed = shared().await;
    let namespace = testbed.namespace("wire").await.unwrap();
    let sandboxes = Sandboxes::of(testbed, &namespace);
    for name in ["stays", "goes", "replaced"] {
        sandboxes.create(name).await;
    }
    let relay = Relay::to(address(testbed)).await;
    let kubeconfig = by_way_of(testbed, &relay).await;
    let mut bench = Bench::synced(&kubeconfig, only(&namespace)).await;
    relay.cut();
    bench
        .until_healthy("the cut noticed", |health| health.failing.len() == 5)
        .await;
    sandboxes.delete("goes").await;
    sandboxes.delete("replaced").await;
    let uid = sandboxes.create("replaced").await;
    sandboxes.create("comes").await;
    assert_eq!(bench.index.targets().count(), 3);
    relay.mend();
    let named = |name: &str| key(&namespace, name);
    bench
        .until("what came", |it| it.target(&named("comes")).is_some())
        .await;
    bench
        .until("what went", |it| it.target(&named("goes")).is_none())
        .await;
    assert_eq!(bench.uid(&named("replaced")), Some(uid));
    assert!(!bench.was_told_gone(&named("stays")));
    assert_eq!(bench.health.borrow().relists, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_whose_past_etcd_has_compacted_lists_again() {
    let testbed = Testbed::start(bare()).await.unwrap();
    let sandboxes = Sandboxes::of(&testbed, "default");
    for name in ["stays", "goes"] {
        sandboxes.create(name).await;
    }
    let relay = Relay::to(address(&testbed)).await;
    let kubeconfig = by_way_of(&testbed, &relay).await;
    let mut bench = Bench::synced(&kubeconfig, Scope::default()).await;
    relay.cut();
    bench
        .until_healthy("the cut noticed", |health| health.failing.len() == 5)
        .await;
    sandboxes.delete("goes").await;
    sandboxes.create("comes").await;
    compact(&testbed, sandboxes.revision().await).await;
    // One that has just started remembers no more than etcd does.
    testbed.kill(Part::ApiServer).await.unwrap();
    testbed.start_part(Part::ApiServer).await.unwrap();
    relay.mend();
    let named = |name: &str| key("default", name);
    bench
        .until("what came", |it| it.target(&named("comes")).is_some())
        .await;
    bench
        .until("what went", |it| it.target(&named("goes")).is_none())
        .await;
    bench
        .until_healthy("all well", |health| health.failing.is_empty())
        .await;
    assert!(!bench.was_told_gone(&named("stays")));
    assert!(
        bench.health.borrow().relists >= 1,
        "{:?}",
        bench.health.borrow()
    );
}

/// Makes etcd forget everything before a revision.
async fn compact(testbed: &Testbed, revision: u64) {
    let parts = testbed.processes().await.unwrap();
    let (_, pid) = parts.iter().find(|(part, _)| *part == Part::Etcd).unwrap();
    let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    let client = arguments
        .split('\0')
        .find_map(|it| it.strip_prefix("--listen-client-urls=http://"))
        .unwrap();
    let body = format!(r#"{{"revision": "{revision}", "physical": true}}"#);
    let request = format!(
        "POST /v3/kv/compaction HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = TcpStream::connect(client).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
