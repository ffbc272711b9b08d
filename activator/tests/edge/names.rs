//! Which names the sandbox sees, and which its client gets back.

use std::sync::Arc;

use http::{Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use reveille_crds::change::Change;
use reveille_crds::sandbox::OperatingMode;
use reveille_crds::scaled_sandbox::{
    Authorization, HostHeader, HttpSpec, PolicyFacts, ScaleTargetRef, ScaledSandboxSpec, TargetKind,
};
use tokio::io::AsyncWriteExt;

use crate::support::{Agent, Edge, head_of, key, ok, soon};

const HOST: &str = "alice.default.sandbox.localhost:8080";

async fn governed(edge: &Edge, http: HttpSpec) {
    let spec = ScaledSandboxSpec {
        scale_target_ref: Some(ScaleTargetRef {
            kind: TargetKind::Sandbox,
            name: "alice".to_owned(),
        }),
        http,
        ..ScaledSandboxSpec::default()
    };
    let policy = PolicyFacts {
        uid: "policy".into(),
        spec,
        ..PolicyFacts::default()
    };
    edge.change(Change::Policy(key("policy"), Some(Arc::new(policy))))
        .await;
    edge.known().await;
}

async fn called(edge: &Edge, host: HostHeader) {
    let http = HttpSpec {
        host,
        ..HttpSpec::default()
    };
    governed(edge, http).await;
}

fn get(path: &str, host: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{fields}\r\n")
}

fn of<'a>(seen: &'a str, name: &str) -> Option<&'a str> {
    seen.lines()
        .find_map(|line| line.strip_prefix(&format!("{name}: ")))
}

#[tokio::test]
async fn a_sandbox_reached_by_host_or_path_is_called_what_its_client_calls_it() {
    let edge = Edge::with(|config| config.path_routing_prefix = "/r".to_owned()).await;
    let agent = Agent::start().await;
    edge.awake("alice", &agent).await;
    let origin = format!("origin: http://{HOST}\r\n");
    let by_host = edge.ask(&get("/x", HOST, &origin)).await;
    let seen = ok(&by_host);
    assert_eq!(of(seen, "host"), Some(HOST));
    assert_eq!(of(seen, "origin"), Some(&*format!("http://{HOST}")));
    assert_eq!(of(seen, "x-forwarded-host"), Some(HOST));
    assert_eq!(of(seen, "x-sandbox-id"), None);

    let path = "/r/default/alice/8888//a%2Fb?q=1";
    let by_path = edge
        .ask(&get(path, "proxy:8080", "x-sandbox-id: bob\r\n"))
        .await;
    let seen = ok(&by_path);
    assert!(seen.starts_with("GET //a%2Fb?q=1 HTTP/1.1\n"), "{seen}");
    assert_eq!(of(seen, "host"), Some("proxy:8080"));
    assert_eq!(
        of(seen, "x-forwarded-prefix"),
        Some("/r/default/alice/8888")
    );
    assert_eq!(of(seen, "x-sandbox-id"), None);

    let by_headers = edge
        .ask(&get("/x", "proxy:8080", "x-sandbox-id: alice\r\n"))
        .await;
    let seen = ok(&by_headers);
    assert_eq!(of(seen, "host"), Some(&*agent.address.to_string()));
    assert_eq!(of(seen, "x-forwarded-host"), Some("proxy:8080"));
    assert_eq!(of(seen, "x-sandbox-id"), Some("alice"));

    let broken = edge
        .ask(&get("/r/default/alice", "proxy", "x-sandbox-id: alice\r\n"))
        .await;
    assert_eq!(
        (broken.status, &*broken.detail()),
        (
            400,
            "Path-routed request must have the form <prefix>/<namespace>/<id>/<port>/..."
        )
    );
}

#[tokio::test]
async fn a_policy_can_have_a_sandbox_called_localhost_and_nobody_is_led_there() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    called(&edge, HostHeader::Rewrite).await;
    let inner = format!("localhost:{}", agent.address.port());
    let origin = format!("origin: http://{HOST}\r\nreferer: http://{HOST}/page\r\n");
    let answer = edge.ask(&get("/x", HOST, &origin)).await;
    let seen = ok(&answer);
    assert_eq!(of(seen, "host"), Some(&*inner));
    assert_eq!(of(seen, "origin"), Some(&*format!("http://{inner}")));
    assert_eq!(of(seen, "referer"), Some(&*format!("http://{inner}/page")));
    let foreign = edge
        .ask(&get("/x", HOST, "origin: https://evil.example\r\n"))
        .await;
    assert_eq!(of(ok(&foreign), "origin"), Some("https://evil.example"));

    let path = "/say?location=http://{host}/a&content-location=http://{host}/b&set-cookie=a=1;Domain=localhost&access-control-allow-origin=http://{host}";
    let answer = edge.ask(&get(path, HOST, &origin)).await;
    assert_eq!(
        answer.header("location"),
        Some(&*format!("http://{HOST}/a"))
    );
    assert_eq!(
        answer.header("content-location"),
        Some(&*format!("http://{HOST}/b"))
    );
    let own = format!("http://{HOST}");
    assert_eq!(answer.header("access-control-allow-origin"), Some(&*own));
    let cookie = "a=1; domain=alice.default.sandbox.localhost";
    assert_eq!(answer.header("set-cookie"), Some(cookie));
}

#[tokio::test]
async fn a_redirect_to_the_pods_own_address_leads_to_the_client_s_name() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    // As frameworks do that make a redirect absolute: of the Host they were sent.
    let path = "/say?location=http://{host}/x/";
    let answer = edge
        .ask(&get(path, "proxy:8080", "x-sandbox-id: alice\r\n"))
        .await;
    assert_eq!(answer.header("location"), Some("http://proxy:8080/x/"));
    let answer = edge.ask(&get(path, HOST, "")).await;
    assert_eq!(
        answer.header("location"),
        Some(&*format!("http://{HOST}/x/"))
    );
    called(&edge, HostHeader::Preserve).await;
    let kept = edge
        .ask(&get("/", "proxy:8080", "x-sandbox-id: alice\r\n"))
        .await;
    assert_eq!(of(ok(&kept), "host"), Some("proxy:8080"));
}

#[tokio::test]
async fn a_websocket_sees_the_names_that_a_request_sees() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    let open = async |host: &str, fields: &str| {
        let mut stream = edge.connect().await;
        let head = format!(
            "GET /upgrade HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\norigin: http://{host}\r\n{fields}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let head = head_of(&mut stream).await;
        assert_eq!(head.status, 101, "{head:?}");
        let header = |name| head.header(name).map(str::to_owned);
        (header("x-seen-host"), header("x-seen-origin"))
    };
    let own = format!("http://{HOST}");
    let address = agent.address.to_string();
    assert_eq!(open(HOST, "").await, (Some(HOST.to_owned()), Some(own)));
    // As upstream's router: no origin could match the address.
    let by_headers = open("proxy", "x-sandbox-id: alice\r\n").await;
    assert_eq!(by_headers, (Some(address), None));
    called(&edge, HostHeader::Rewrite).await;
    let inner = format!("localhost:{}", agent.address.port());
    let inner_origin = format!("http://{inner}");
    assert_eq!(open(HOST, "").await, (Some(inner), Some(inner_origin)));
}

#[tokio::test]
async fn a_sandbox_of_h2c_is_called_by_its_authority() {
    let (edge, agent) = (Edge::start().await, Agent::h2c().await);
    edge.awake("alice", &agent).await;
    let seen = edge.ask(&get("/x", HOST, "")).await;
    let line = format!("GET http://{HOST}/x HTTP/2.0\n");
    assert!(ok(&seen).starts_with(&line), "{seen:?}");
    let seen = edge
        .ask(&get("/x", "proxy", "x-sandbox-id: alice\r\n"))
        .await;
    let line = format!("GET http://{}/x HTTP/2.0\n", agent.address);
    assert!(ok(&seen).starts_with(&line), "{seen:?}");
    called(&edge, HostHeader::Rewrite).await;
    let seen = edge.ask(&get("/x", HOST, "")).await;
    let line = format!("GET http://localhost:{}/x HTTP/2.0\n", agent.address.port());
    assert!(ok(&seen).starts_with(&line), "{seen:?}");
}

#[tokio::test]
async fn a_client_of_h2_is_routed_by_path_and_keeps_its_name() {
    let edge = Edge::with(|config| config.path_routing_prefix = "/r".to_owned()).await;
    let agent = Agent::start().await;
    edge.awake("alice", &agent).await;
    let io = TokioIo::new(edge.connect().await);
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .handshake(io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://proxy:8080/r/default/alice/8888/x?y")
        .version(Version::HTTP_2)
        .body(Empty::<bytes::Bytes>::new())
        .unwrap();
    let answer = soon("answer", sender.send_request(request)).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let seen = String::from_utf8(body.to_vec()).unwrap();
    assert!(seen.starts_with("GET /x?y HTTP/1.1\n"), "{seen}");
    assert_eq!(of(&seen, "host"), Some("proxy:8080"));
}

#[tokio::test]
async fn a_trusted_front_names_the_client_and_a_stranger_cannot() {
    let front = "x-sandbox-id: alice\r\nx-forwarded-for: 192.0.2.1\r\nx-forwarded-proto: https\r\nx-forwarded-host: agents.example.com\r\nforwarded: for=192.0.2.1\r\nx-real-ip: 192.0.2.1\r\n";
    let path = "/say?location=http://{host}/x/";
    let agent = Agent::start().await;
    let edge =
        Edge::with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    edge.awake("alice", &agent).await;
    let answer = edge.ask(&get("/", "proxy", front)).await;
    let seen = ok(&answer);
    assert_eq!(of(seen, "x-forwarded-for"), Some("192.0.2.1, 127.0.0.1"));
    assert_eq!(of(seen, "x-forwarded-proto"), Some("https"));
    assert_eq!(of(seen, "x-forwarded-host"), Some("agents.example.com"));
    assert_eq!(of(seen, "x-real-ip"), Some("192.0.2.1"));
    let hop = "for=192.0.2.1, for=127.0.0.1;host=\"proxy\";proto=http";
    assert_eq!(of(seen, "forwarded"), Some(hop));
    let answer = edge.ask(&get(path, "proxy", front)).await;
    assert_eq!(
        answer.header("location"),
        Some("https://agents.example.com/x/")
    );

    let edge = Edge::start().await;
    edge.awake("alice", &agent).await;
    let answer = edge.ask(&get("/", "proxy", front)).await;
    let seen = ok(&answer);
    assert_eq!(of(seen, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(of(seen, "x-forwarded-proto"), Some("http"));
    assert_eq!(of(seen, "x-forwarded-host"), Some("proxy"));
    assert_eq!(of(seen, "x-real-ip"), Some("127.0.0.1"));
    assert_eq!(
        of(seen, "forwarded"),
        Some("for=127.0.0.1;host=\"proxy\";proto=http")
    );
}

#[tokio::test]
async fn quotas_count_the_client_that_a_trusted_front_names() {
    let edge = Edge::with(|config| {
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        config.wakes_per_caller = 1;
        config.wake_burst = 1;
    })
    .await;
    for name in ["a", "b", "c"] {
        edge.sandbox(name, OperatingMode::Suspended).await;
    }
    // That takes the one wake of another caller.
    edge.known().await;
    let wake = async |name: &str, client: &str| {
        let fields = format!(
            "x-sandbox-id: {name}\r\nx-sandbox-timeout: 0.05\r\nx-forwarded-for: {client}\r\n"
        );
        edge.ask(&get("/", "proxy", &fields)).await.status
    };
    assert_eq!(wake("a", "2001:db8::1").await, 504);
    // The same network of IPv6 is the same caller.
    assert_eq!(wake("b", "2001:db8::2").await, 429);
    assert_eq!(wake("b", "192.0.2.1").await, 504);
    assert_eq!(wake("c", "192.0.2.1").await, 429);
}

#[tokio::test]
async fn a_policy_can_keep_tokens_from_its_sandbox() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    let request = get("/", HOST, "authorization: Bearer x\r\n");
    let answer = edge.ask(&request).await;
    assert_eq!(of(ok(&answer), "authorization"), Some("Bearer x"));
    let http = HttpSpec {
        authorization: Authorization::Strip,
        ..HttpSpec::default()
    };
    governed(&edge, http).await;
    let answer = edge.ask(&request).await;
    assert_eq!(of(ok(&answer), "authorization"), None);
}
