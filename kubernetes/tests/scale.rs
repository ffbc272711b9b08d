//! What it costs to learn of ten thousand sleeping sandboxes. Alone in its file, so that no other test
//! shares the process whose memory is read.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what broke by the line"
)]

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use reveille_crds::change::Change;
use reveille_crds::index::Index;
use reveille_kubernetes::connect;
use reveille_kubernetes::discovery::{Discovery, Served, Version};
use reveille_kubernetes::health::Health;
use reveille_kubernetes::watch::{Scope, follow};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

const SANDBOXES: usize = 10_000;
/// Of the first round: two whole pages.
const FEW: usize = 1_000;
/// How many the server has.
static PRESENT: AtomicUsize = AtomicUsize::new(FEW);

/// Bytes that one may cost: its share of the index (512 there), its key in the watch, and what the
/// allocator keeps of the pages that went by, which does not grow with their number.
const EACH: u64 = 1024;

/// A Sandbox of 6 KiB as a cluster has it: most of it is pod template and the API server's books.
fn sandbox(n: usize) -> String {
    let variables: Vec<String> = (0..20)
        .map(|n| format!(r#"{{"name":"SETTING_{n}","value":"{}"}}"#, "v".repeat(40)))
        .collect();
    let fields: Vec<String> = (0..60)
        .map(|n| format!(r#""f:field-{n}":{{".":{{}},"f:value":{{}}}}"#))
        .collect();
    format!(
        r#"{{"apiVersion":"agents.x-k8s.io/v1beta1","kind":"Sandbox","metadata":{{"name":"agent-{n:05}",
"namespace":"agents","uid":"8c6e9d7c-0000-4000-8000-{n:012}","resourceVersion":"{n}","generation":7,
"creationTimestamp":"2026-01-02T03:04:05Z","labels":{{"fleet":"research","app":"agent"}},
"annotations":{{"reveille.dev/epoch":"12","kubectl.kubernetes.io/last-applied-configuration":"{}"}},
"managedFields":[{{"manager":"m","operation":"Update","fieldsType":"FieldsV1","fieldsV1":{{{}}}}}]}},
"spec":{{"operatingMode":"Suspended","podTemplate":{{"spec":{{"containers":[{{"name":"agent","image":"agent:1",
"env":[{}]}}]}}}},"volumeClaimTemplates":[{{"metadata":{{"name":"home"}},"spec":{{"accessModes":["ReadWriteOnce"]}}}}]}},
"status":{{"conditions":[{{"type":"Ready","status":"False","reason":"SandboxSuspended","message":"Sandbox is suspended",
"lastTransitionTime":"2026-01-02T03:04:05Z","observedGeneration":7}}]}}}}"#,
        "x".repeat(1000),
        fields.join(","),
        variables.join(","),
    )
}

/// Nothing is kept on this side: each page is written when it is asked for.
fn page(target: &str) -> String {
    let from = target
        .split_once("continue=")
        .map_or(0, |(_, token)| token.parse().unwrap());
    let all = if target.contains("/sandboxes?") {
        PRESENT.load(Ordering::Relaxed)
    } else {
        0
    };
    let to = (from + 500).min(all);
    let items: Vec<String> = (from..to).map(sandbox).collect();
    let token = if to < all {
        to.to_string()
    } else {
        String::new()
    };
    format!(
        r#"{{"metadata":{{"resourceVersion":"{SANDBOXES}","continue":"{token}"}},"items":[{}]}}"#,
        items.join(",")
    )
}

async fn answer(
    request: Request<Incoming>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let target = request.uri().to_string();
    if target.contains("watch=true") {
        // Open, and silent.
        let (open, body) = http_body_util::channel::Channel::<Bytes, Infallible>::new(1);
        tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(open);
        });
        return Ok(Response::new(body.boxed_unsync()));
    }
    Ok(Response::new(Full::from(page(&target)).boxed_unsync()))
}

async fn serve(listener: TcpListener) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        tokio::spawn(
            http1::Builder::new().serve_connection(TokioIo::new(socket), service_fn(answer)),
        );
    }
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

async fn client(listener: &TcpListener) -> kube::Client {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    let address = listener.local_addr().unwrap();
    let text = serde_json::json!({
        "current-context": "it", "clusters": [{"name": "it", "cluster": {"server": format!("http://{address}")}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}], "users": [{"name": "it", "user": {}}],
    });
    std::fs::write(&path, text.to_string()).unwrap();
    let options = connect::Options {
        kubeconfig: Some(path),
        user_agent: "reveille-test/1".to_owned(),
    };
    connect::client(options).await.unwrap().0
}

/// Tells everything into an index, once.
async fn learn(client: &kube::Client) -> (Index, CancellationToken) {
    let discovery = Discovery::told(Served {
        sandboxes: Some(Version::V1Beta1),
        claims: Some(Version::V1Beta1),
        policies: true,
        released_claims: true,
    });
    let (tx, mut changes) = mpsc::channel(1024);
    let shutdown = CancellationToken::new();
    let health = watch::Sender::new(Health::default());
    tokio::spawn(follow(
        client.clone(),
        discovery,
        Scope::default(),
        tx,
        health,
        shutdown.clone(),
    ));
    let mut index = Index::default();
    while let Some(change) = changes.recv().await {
        let synced = change == Change::Synced;
        index.apply(change);
        if synced {
            break;
        }
    }
    // Whoever listens goes on listening.
    tokio::spawn(async move { while changes.recv().await.is_some() {} });
    (index, shutdown)
}

#[tokio::test]
async fn ten_thousand_sandboxes_cost_little_beyond_their_facts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(&listener).await;
    tokio::spawn(serve(listener));
    // What client, runtime and pages need is resident after a first round.
    let (index, shutdown) = learn(&client).await;
    shutdown.cancel();
    assert_eq!(index.targets().count(), FEW);
    drop(index);
    PRESENT.store(SANDBOXES, Ordering::Relaxed);

    let before = resident();
    let begun = tokio::time::Instant::now();
    let learnt = tokio::time::timeout(Duration::from_secs(300), learn(&client)).await;
    let (index, _shutdown) = learnt.unwrap();
    let each = resident().saturating_sub(before) / (SANDBOXES - FEW) as u64;
    let object = sandbox(0).len();
    println!(
        "{SANDBOXES} sandboxes of {object} bytes in {:.2?}; {each} bytes each",
        begun.elapsed()
    );
    assert_eq!(index.targets().count(), SANDBOXES);
    assert!(each <= EACH, "{each} bytes each");
}
