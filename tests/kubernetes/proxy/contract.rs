//! Words and bodies of upstream's router: what is refused at the door, what a port without a server is told,
//! and that events are passed on one by one.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use serde_json::json;

use super::sdk;
use crate::support::cluster::{Cluster, Setup};
use crate::support::http::{Reply, open};
use crate::support::instances::answered_by;
use crate::support::manifests::{Agent, policy};
use crate::support::objects::{Kind, uid_of};
use crate::support::{until, within};

/// A request with these headers and none of a router's besides.
async fn ask(cluster: &Cluster, headers: &[(&str, &str)]) -> Reply {
    let mut request = Request::get("/").header("host", "sandbox-router-svc:8080");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    cluster.door(0).send(request).await.unwrap()
}

/// P1
#[tokio::test]
async fn headers_that_the_router_refuses_are_refused_in_its_words_and_wake_nobody() {
    let cluster = Cluster::start().await;
    cluster.create(Agent::asleep("alice").sandbox()).await;
    let (id, space) = ("Invalid sandbox ID format.", "Invalid namespace format.");
    let (port, ip) = ("Invalid port format.", "Invalid target IP address.");
    let long = "a".repeat(64);
    let of_alice = ("x-sandbox-id", "alice");
    let here = ("x-sandbox-namespace", cluster.namespace.as_str());
    for (headers, detail) in [
        (vec![here], "X-Sandbox-ID header is required."),
        (vec![here, ("x-sandbox-id", "Alice")], id),
        (vec![here, ("x-sandbox-id", "alice.b")], id),
        (vec![here, ("x-sandbox-id", &*long)], id),
        (vec![of_alice, ("x-sandbox-namespace", "A")], space),
        (vec![of_alice, here, ("x-sandbox-port", "0")], port),
        (vec![of_alice, here, ("x-sandbox-port", "65536")], port),
        (vec![of_alice, here, ("x-sandbox-port", "abc")], port),
        (
            vec![of_alice, here, ("x-sandbox-pod-ip", "169.254.169.254")],
            ip,
        ),
        (vec![of_alice, here, ("x-sandbox-pod-ip", "127.0.0.1")], ip),
        (vec![of_alice, here, ("x-sandbox-pod-ip", "0.0.0.0")], ip),
        (vec![of_alice, here, ("x-sandbox-pod-ip", "ff02::1")], ip),
    ] {
        let refused = ask(&cluster, &headers).await;
        assert_eq!(refused.status, 400, "{headers:?}: {refused:?}");
        assert_eq!(refused.header("content-type"), "application/json");
        assert_eq!(refused.json()["detail"], detail, "{headers:?}");
    }
    // Without a namespace it is `default`, where there is no alice.
    let elsewhere = ask(&cluster, &[of_alice]).await;
    assert_eq!(elsewhere.status, 404, "{elsewhere:?}");
    assert_eq!(elsewhere.json()["detail"], "Sandbox not found: alice");
    assert_eq!(cluster.writes("alice").await, 0);
    // Without a port it is 8888; an address that a pod may have is a hint at most.
    let hinted = [of_alice, here, ("x-sandbox-pod-ip", "2001:db8::1")];
    let reply = ask(&cluster, &hinted).await.ok();
    let pod = cluster.get_object(Kind::Pod, "alice").await;
    assert_eq!(answered_by(&reply), uid_of(&pod));
}

/// P4
#[tokio::test]
async fn a_port_on_which_nobody_listens_is_a_502_with_the_routers_body() {
    let cluster = Cluster::start().await;
    // While a pod is young its port may yet be opened: as long as its wake may take.
    let wake = json!({"deadline": 5, "progressDeadlineSeconds": 5});
    let spec = json!({"cooldownPeriod": 3600, "wake": wake});
    cluster.create(policy(spec)).await;
    cluster.create(Agent::awake("alice").sandbox()).await;
    cluster.await_mode("alice", "Running").await;
    cluster.get("alice", "/").await.ok();
    let reply = until("the end of its youth", || async {
        let mut request = sdk(&cluster, Method::GET, "alice", "/", Empty::<Bytes>::new());
        let unused = http::HeaderValue::from_static("9999");
        request.headers_mut().insert("x-sandbox-port", unused);
        let reply = cluster.door(0).send(request).await.unwrap();
        (reply.status != 503).then_some(reply)
    })
    .await;
    assert_eq!(reply.status, 502, "{reply:?}");
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(
        reply.json()["detail"],
        "Could not connect to the backend sandbox: alice"
    );
    // It costs the sandbox nothing.
    assert_eq!(
        cluster
            .get("alice", "/")
            .await
            .ok()
            .header("x-reveille-wake"),
        "none"
    );
    assert_eq!(cluster.writes("alice").await, 0);
}

/// P6: the second event is due in an hour, so who reads the first one has not waited for more.
#[tokio::test]
async fn an_event_is_passed_on_when_it_is_sent_through_the_wake() {
    let cluster = Setup::default().start().await;
    cluster.create(Agent::asleep("alice").sandbox()).await;
    let path = "/events?n=2&interval_ms=3600000";
    let request = sdk(&cluster, Method::GET, "alice", path, Empty::<Bytes>::new());
    let opened = within("the head", open(cluster.door(0).address, request)).await;
    let mut response = opened.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let pod = cluster.get_object(Kind::Pod, "alice").await;
    let event = format!("id: 1\ndata: {} 1\n\n", uid_of(&pod));
    let mut read = Vec::new();
    while read.len() < event.len() {
        let frame = within("the event", response.frame()).await.unwrap();
        read.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    assert_eq!(String::from_utf8(read).unwrap(), event);
}
