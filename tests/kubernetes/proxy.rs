//! The wire contract of upstream's router, where Kubernetes has a say in it: pod IPs, pool members,
//! restarts, SDK headers on pods of their own addresses.
//!
//! The whole tables of headers, methods and raw paths (P1 to P3) and the gigabyte upload (P7) are the same
//! binary's code with or without Kubernetes: `activator/tests/edge` and `tests/e2e/{protocols,streams}.rs`
//! show them. P1, P4 and P6 are in `contract.rs`, P9 in `claims.rs`, P12 in `cycle.rs`, P14 in `sdk.rs`.

mod contract;

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Method, Request};
use http_body_util::{Empty, Full};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::cluster::{Cluster, Door, Setup};
use crate::support::http::Reply;
use crate::support::instances::answered_by;
use crate::support::manifests::{Agent, policy};
use crate::support::objects::{Kind, text};
use crate::support::{until, within};

/// A request as the SDKs send it.
fn sdk<B>(cluster: &Cluster, method: Method, name: &str, path: &str, body: B) -> Request<B> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "sandbox-router-svc:8080")
        .header("x-sandbox-id", name)
        .header("x-sandbox-namespace", &cluster.namespace)
        .header("x-sandbox-port", "8888")
        .body(body)
        .unwrap()
}

async fn asleep_or_awake(flags: &[&str]) -> Cluster {
    let cluster = Setup::default().activator_flags(flags).start().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 3600})))
        .await;
    cluster
}

/// P2, P3: on a pod of its own address.
#[tokio::test]
async fn the_headers_of_the_sdks_reach_a_pod_which_sees_who_it_is() {
    let cluster = asleep_or_awake(&[]).await;
    cluster.create(Agent::asleep("alice").sandbox()).await;
    let body = Full::<Bytes>::from("hello");
    let mut request = sdk(
        &cluster,
        Method::POST,
        "alice",
        "/echo/a%2Fb//c?x=1&y",
        body,
    );
    let kept = [
        ("x-kept", "yes"),
        ("authorization", "Bearer secret"),
        ("x-sandbox-timeout", "60"),
    ];
    for (name, value) in kept {
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    let seen = cluster.door(0).send(request).await.unwrap().ok().json();
    assert_eq!(
        (&seen["path"], &seen["query"]),
        (&json!("/echo/a%2Fb//c"), &json!("x=1&y"))
    );
    let names: Vec<&str> = seen["headers"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|header| header[0].as_str())
        .collect();
    assert!(
        [
            "x-kept",
            "x-forwarded-for",
            "authorization",
            "x-sandbox-id",
            "x-sandbox-namespace"
        ]
        .iter()
        .all(|name| names.contains(name)),
        "{names:?}"
    );
    assert!(
        !names
            .iter()
            .any(|name| ["x-sandbox-timeout", "x-sandbox-pod-ip"].contains(name)),
        "{names:?}"
    );
}

/// P8
#[tokio::test]
async fn a_pod_ip_that_is_anothers_by_now_is_not_believed() {
    let cluster = asleep_or_awake(&["--allow-loopback-pod-ip"]).await;
    for name in ["alice", "bob"] {
        cluster.create(Agent::awake(name).sandbox()).await;
        cluster.await_mode(name, "Running").await;
    }
    let ip = |pod: Value| text(&pod["status"]["podIP"]);
    let of_bob = ip(cluster.get_object(Kind::Pod, "bob").await);
    let of_alice = ip(cluster.get_object(Kind::Pod, "alice").await);
    assert_eq!(hinted(&cluster, &of_alice).await, "alice");
    assert_eq!(hinted(&cluster, &of_bob).await, "alice");
    // The address of before the sleep.
    cluster.set_mode("alice", "Suspended").await;
    cluster.await_mode("alice", "Suspended").await;
    assert_eq!(hinted(&cluster, &of_alice).await, "alice");
}

/// Who answers a request for alice that takes hers for the pod of this address.
async fn hinted(cluster: &Cluster, pod_ip: &str) -> Value {
    let reply = until("an answer of alice", || async {
        let mut request = sdk(cluster, Method::GET, "alice", "/", Empty::<Bytes>::new());
        request
            .headers_mut()
            .insert("x-sandbox-pod-ip", pod_ip.parse().unwrap());
        let reply = cluster.door(0).send(request).await.unwrap();
        // Until the activator has heard of what was done by hand, it may dial a pod that is gone.
        Some(reply).filter(|reply| reply.status != 502)
    })
    .await;
    reply.ok().json()["hostname"].clone()
}

/// P5
#[tokio::test]
async fn a_websocket_opened_on_a_sleeping_sandbox_works_through_the_wake() {
    let cluster = asleep_or_awake(&[]).await;
    cluster.create(Agent::asleep("alice").sandbox()).await;
    let request = format!("ws://alice.{}.sandbox.localhost/ws", cluster.namespace);
    let stream = TcpStream::connect(cluster.door(1).address).await.unwrap();
    let request = request.into_client_request().unwrap();
    let opened = within(
        "a WebSocket",
        tokio_tungstenite::client_async(request, stream),
    )
    .await;
    let (mut socket, _) = opened.unwrap();
    for text in ["hello", "again"] {
        socket.send(Message::text(text)).await.unwrap();
        let echoed = within("an echo", socket.next()).await.unwrap().unwrap();
        assert_eq!(echoed, Message::text(text));
    }
    socket.close(None).await.unwrap();
}

/// P7: what is sent while the request is parked arrives whole.
#[tokio::test]
async fn a_body_sent_to_a_sleeping_sandbox_arrives_whole() {
    let cluster = asleep_or_awake(&[]).await;
    cluster.create(Agent::asleep("alice").sandbox()).await;
    let bytes = Bytes::from_iter((0..8 * 1_048_576_u32).map(|number| (number % 251) as u8));
    let upload = sdk(
        &cluster,
        Method::POST,
        "alice",
        "/upload",
        Full::new(bytes.clone()),
    );
    let answer = cluster.door(0).send(upload).await.unwrap().ok().json();
    assert_eq!(answer["bytes"], bytes.len());
}

/// P11, P13: who gives up is told in time, and who leaves is not delivered.
#[tokio::test]
async fn an_impatient_client_is_told_in_time_and_one_that_left_is_not_delivered() {
    let cluster = asleep_or_awake(&[]).await;
    cluster
        .create(
            Agent::asleep("alice")
                .flags(["--start-delay-ms", "10000"])
                .sandbox(),
        )
        .await;
    let mut impatient = sdk(
        &cluster,
        Method::POST,
        "alice",
        "/count",
        Empty::<Bytes>::new(),
    );
    impatient
        .headers_mut()
        .insert("x-sandbox-timeout", HeaderValue::from_static("0.3"));
    let told = cluster.door(0).send(impatient).await.unwrap();
    assert_eq!(told.status, 504, "{told:?}");
    let door = cluster.door(1);
    let left = timeout(Duration::from_millis(100), door.count("alice")).await;
    assert!(left.is_err(), "{left:?}");
    // The wake belongs to the sandbox, not to who began it.
    cluster.await_mode("alice", "Running").await;
    assert_eq!(cluster.get("alice", "/count").await.ok().json()["value"], 0);
    assert_eq!(cluster.writes("alice").await, 1);
}

/// P15
#[tokio::test]
async fn the_metrics_that_dashboards_of_the_router_read_are_there() {
    let cluster = asleep_or_awake(&[]).await;
    cluster.create(Agent::asleep("alice").sandbox()).await;
    cluster.get("alice", "/").await.ok();
    let metrics = cluster.activators[0]
        .operator("/metrics")
        .await
        .unwrap()
        .ok();
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    for name in [
        "sandbox_router_requests_total",
        "sandbox_router_request_duration_seconds_bucket",
        "sandbox_router_inflight_requests",
        "reveille_activator_parked_requests",
    ] {
        assert!(metrics.contains(name), "no {name} in\n{metrics}");
    }
    assert!(
        !metrics.contains("alice"),
        "a stranger's word has become a label"
    );
}

/// P16
#[tokio::test]
async fn an_activator_restarted_with_parked_requests_tells_them_to_retry_and_the_wake_goes_on() {
    let mut cluster = asleep_or_awake(&[]).await;
    cluster
        .create(
            Agent::asleep("alice")
                .flags(["--start-delay-ms", "10000"])
                .sandbox(),
        )
        .await;
    let door = cluster.door(0);
    let parked = tokio::spawn(async move { door.count("alice").await });
    until("the request to be parked", || async {
        let parked = cluster.activators[0]
            .metric("reveille_activator_parked_requests", &[])
            .await;
        (parked == 1.0 && cluster.writes("alice").await == 1).then_some(())
    })
    .await;
    cluster.activators[0].stop().await;
    let told = parked.await.unwrap();
    assert_eq!(told.status, 503, "{told:?}");
    assert!(!told.header("retry-after").is_empty(), "{told:?}");
    cluster.activators[0].restart().await;
    cluster.activators[0].ready().await;
    let again: Reply = cluster.door(0).count("alice").await.ok();
    assert_eq!(
        again.json()["value"],
        1,
        "what was told to retry was not executed"
    );
    assert_eq!(cluster.writes("alice").await, 1);
    let other: Door = cluster.door(1);
    let by = answered_by(&cluster.get("alice", "/").await.ok());
    assert_eq!(answered_by(&other.get("alice", "/").await.ok()), by);
}
