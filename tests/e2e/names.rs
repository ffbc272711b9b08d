//! What an agent is told of its client, and where answers lead.

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use serde_json::{Value, json};

use crate::support::home::Home;
use crate::support::manifests::{Agent, Manifests};
use crate::support::reveille::Reveille;

async fn started(flags: &[&str]) -> (Home, Reveille) {
    let home = Home::with(&Manifests::one(Agent::asleep("alice"), 3600));
    let reveille = Reveille::with(&home, flags).await;
    (home, reveille)
}

async fn seen(reveille: &Reveille, path: &str, fields: &[(&str, &str)]) -> Value {
    let mut request = Request::get(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    reveille.send(request).await.unwrap().ok().json()
}

fn of<'a>(seen: &'a Value, name: &str) -> Option<&'a str> {
    let headers = seen["headers"].as_array().unwrap();
    let header = headers.iter().find(|header| header[0] == name)?;
    header[1].as_str()
}

#[tokio::test]
async fn a_path_reaches_a_sandbox_through_its_wake() {
    let (_home, reveille) = started(&["--path-routing-prefix", "/sandboxes"]).await;
    let path = "/sandboxes/agents/alice/8888/echo/a%2Fb//c?x=1";
    let seen = seen(
        &reveille,
        path,
        &[("host", "localhost:8080"), ("x-sandbox-id", "bob")],
    )
    .await;
    assert_eq!(
        (&seen["path"], &seen["query"]),
        (&json!("/echo/a%2Fb//c"), &json!("x=1"))
    );
    assert_eq!(of(&seen, "host"), Some("localhost:8080"));
    let prefix = "/sandboxes/agents/alice/8888";
    assert_eq!(of(&seen, "x-forwarded-prefix"), Some(prefix));
}

#[tokio::test]
async fn a_trusted_front_is_believed() {
    let fields = [
        ("host", "alice.agents.sandbox.localhost"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
    ];
    for (flags, chain, scheme) in [
        (
            &["--trusted-proxies", "127.0.0.1"][..],
            "192.0.2.1, 127.0.0.1",
            "https",
        ),
        (&[], "127.0.0.1", "http"),
    ] {
        let (_home, reveille) = started(flags).await;
        let seen = seen(&reveille, "/echo/a", &fields).await;
        assert_eq!(of(&seen, "x-forwarded-for"), Some(chain));
        assert_eq!(of(&seen, "x-forwarded-proto"), Some(scheme));
        assert_eq!(of(&seen, "host"), Some("alice.agents.sandbox.localhost"));
    }
}
