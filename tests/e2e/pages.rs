//! Web pages of other sites: at the sandboxes, and at the operators' listener.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Empty;

use crate::support::client::{Reply, host, send};
use crate::support::home::Home;
use crate::support::manifests::{Agent, Manifests, NAMESPACE};
use crate::support::reveille::Reveille;

fn request(method: Method, path: &str, fields: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

async fn started(flags: &[&str]) -> (Home, Reveille) {
    let home = Home::with(&Manifests::one(Agent::asleep("alice"), 3600));
    let reveille = Reveille::with(&home, flags).await;
    (home, reveille)
}

async fn ask(reveille: &Reveille, fields: &[(&str, &str)]) -> Reply {
    let alice = host("alice");
    let mut all = vec![("host", alice.as_str())];
    all.extend_from_slice(fields);
    reveille
        .send(request(Method::GET, "/", &all))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_page_of_another_site_wakes_nobody_on_this_machine() {
    let (_home, reveille) = started(&[]).await;
    for fields in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "null")],
        &[("origin", "http://bob.agents.sandbox.localhost")],
        &[
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "no-cors"),
        ],
    ] {
        let refused = ask(&reveille, fields).await;
        assert_eq!(refused.status, 403, "{refused:?}");
        assert_eq!(refused.json()["reason"], "ForeignPage");
        let detail = refused.json()["detail"].to_string();
        assert!(detail.contains("--allow-origin"), "{detail}");
    }
    assert_eq!(reveille.sandbox("alice").await["state"], "asleep");
    ask(&reveille, &[]).await.ok();
}

#[tokio::test]
async fn a_page_of_a_named_origin_reads_what_the_proxy_answers() {
    let (_home, reveille) = started(&["--allow-origin", "https://app.example.com"]).await;
    let app = ("origin", "https://app.example.com");
    ask(&reveille, &[app]).await.ok();
    let fields = [app, ("host", "127.0.0.1"), ("x-sandbox-id", "Nobody")];
    let refused = reveille.send(request(Method::GET, "/", &fields)).await;
    let refused = refused.unwrap();
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.header("access-control-allow-origin"),
        "https://app.example.com"
    );
    let other = ask(&reveille, &[("origin", "https://evil.example")]).await;
    assert_eq!(other.status, 403);
    assert_eq!(other.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn no_page_reads_or_orders_at_the_operators_listener() {
    let (_home, reveille) = started(&["--admin-host", "reveille.example.com"]).await;
    let wake = format!("/v1/sandboxes/{NAMESPACE}/alice/wake");
    let ask = async |method: Method, path: &str, fields: &[(&str, &str)]| {
        let reply = send(reveille.admin, request(method, path, fields)).await;
        reply.unwrap().status.as_u16()
    };
    let rebound = ("host", "evil.example:9090");
    assert_eq!(ask(Method::GET, "/v1/sandboxes", &[rebound]).await, 421);
    assert_eq!(ask(Method::POST, &wake, &[rebound]).await, 421);
    let local = ("host", "localhost:9090");
    for foreign in [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        assert_eq!(ask(Method::POST, &wake, &[local, foreign]).await, 403);
    }
    assert_eq!(reveille.sandbox("alice").await["state"], "asleep");
    // Probes, programs and a name that was given.
    assert_eq!(ask(Method::GET, "/healthz", &[rebound]).await, 200);
    let named = ("host", "reveille.example.com");
    assert_eq!(ask(Method::GET, "/v1/sandboxes", &[named]).await, 200);
    let woken = ask(Method::POST, &wake, &[("host", "reveille-scaler:9090")]).await;
    assert!((200..300).contains(&woken), "{woken}");
}
