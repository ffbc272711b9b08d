//! HTTP/2 by prior knowledge, on either side.

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Agent, Edge, ok, soon};

type Body = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;

async fn client(edge: &Edge) -> SendRequest<Body> {
    let io = TokioIo::new(edge.connect().await);
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .handshake(io)
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn to_alice(method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("http://alice.default.sandbox.localhost{path}"))
        .version(Version::HTTP_2)
}

async fn text(response: Response<Incoming>) -> String {
    assert_eq!(response.status(), 200);
    String::from_utf8(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .to_vec(),
    )
    .unwrap()
}

#[tokio::test]
async fn a_client_of_h2_reaches_a_sandbox_of_http1() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    let mut sender = client(&edge).await;
    let request = to_alice("GET", "/a%2Fb?q")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(Empty::new().boxed())
        .unwrap();
    let seen = text(soon("answer", sender.send_request(request)).await.unwrap()).await;
    assert!(seen.starts_with("GET /a%2Fb?q HTTP/1.1\n"), "{seen}");
    assert!(
        seen.contains("cookie: a=1; b=2\n") && seen.contains("via: 2 reveille\n"),
        "{seen}"
    );
    assert!(
        seen.contains("x-forwarded-host: alice.default.sandbox.localhost\n"),
        "{seen}"
    );
    let body = Full::new(Bytes::from(vec![b'x'; 1 << 20])).boxed();
    let echo = sender.send_request(to_alice("POST", "/count").body(body).unwrap());
    assert_eq!(text(soon("echo", echo).await.unwrap()).await, "1048576");
}

#[tokio::test]
async fn a_sandbox_of_h2c_is_spoken_to_in_h2_over_one_connection() {
    let (edge, agent) = (Edge::start().await, Agent::h2c().await);
    edge.awake("alice", &agent).await;
    for _ in 0..5 {
        let answer = edge.ask("GET /x HTTP/1.1\r\nhost: alice.default.sandbox.localhost\r\nte: trailers\r\nconnection: close\r\n\r\n").await;
        let seen = ok(&answer);
        assert!(
            seen.starts_with("GET http://alice.default.sandbox.localhost/x HTTP/2.0\n"),
            "{seen}"
        );
        assert!(!seen.contains("connection: "), "{seen}");
    }
    assert_eq!((agent.accepted(), agent.served()), (1, 5));
    let mut sender = client(&edge).await;
    let request = to_alice("POST", "/trailers")
        .body(Full::new(Bytes::from("hi")).boxed())
        .unwrap();
    let response = soon("answer", sender.send_request(request)).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-answer"], "none");
}

#[tokio::test]
async fn a_parked_upload_does_not_hold_up_other_streams() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.asleep("bob").await;
    edge.awake("alice", &agent).await;
    let mut sender = client(&edge).await;
    let parked: Vec<_> = (0..20)
        .map(|_| {
            let body = Full::new(Bytes::from(vec![b'x'; 1 << 20])).boxed();
            let request = Request::post("http://bob.default.sandbox.localhost/")
                .body(body)
                .unwrap();
            sender.send_request(request)
        })
        .collect();
    let body = Full::new(Bytes::from(vec![b'x'; 1 << 20])).boxed();
    let echo = sender.send_request(to_alice("POST", "/count").body(body).unwrap());
    assert_eq!(
        text(soon("the other stream", echo).await.unwrap()).await,
        "1048576"
    );
    drop(parked);
}

#[tokio::test]
async fn a_stream_that_is_reset_ends_the_exchange_with_the_sandbox() {
    let (edge, mut agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    let mut sender = client(&edge).await;
    let hanging = sender.send_request(to_alice("GET", "/hang").body(Empty::new().boxed()).unwrap());
    soon("request", async {
        tokio::select! {
            _ = hanging => panic!("an agent that hangs has answered"),
            () = async { while agent.served() == 0 { tokio::task::yield_now().await } } => {}
        }
    })
    .await;
    soon("abort", agent.aborted.wait_for(|count| *count == 1))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_websocket_over_h2_is_an_upgrade_for_the_sandbox() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    let mut sender = client(&edge).await;
    let request = to_alice("CONNECT", "/upgrade")
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(Empty::new().boxed())
        .unwrap();
    // The server's SETTINGS allow it; they have arrived with the first answer.
    soon(
        "settings",
        sender.send_request(to_alice("GET", "/").body(Empty::new().boxed()).unwrap()),
    )
    .await
    .unwrap();
    let mut response = soon("answer", sender.send_request(request)).await.unwrap();
    assert_eq!(
        (
            response.status().as_u16(),
            response.headers().get("upgrade")
        ),
        (200, None)
    );
    let mut tunnel = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    tunnel.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    soon("echo", tunnel.read_exact(&mut echo)).await.unwrap();
    assert_eq!(&echo, b"ping");
    tunnel.shutdown().await.unwrap();
    let mut rest = String::new();
    soon("farewell", tunnel.read_to_string(&mut rest))
        .await
        .unwrap();
    assert_eq!(rest, "bye");
}

#[tokio::test]
async fn a_websocket_that_the_sandbox_does_not_open_is_not_taken_for_open() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    let mut sender = client(&edge).await;
    let get = to_alice("GET", "/").body(Empty::new().boxed()).unwrap();
    soon("settings", sender.send_request(get)).await.unwrap();
    for (path, status, says) in [
        ("/", 502, "answered with 200"),
        ("/nothing", 502, "answered with 204"),
        ("/teapot", 418, "no socket here"),
    ] {
        let request = to_alice("CONNECT", path)
            .extension(Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .body(Empty::new().boxed())
            .unwrap();
        let answer = soon("answer", sender.send_request(request)).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains(says), "{body:?}");
    }
}

#[tokio::test]
async fn other_kinds_of_connect_are_refused_and_a_host_must_agree_with_the_authority() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    let mut sender = client(&edge).await;
    let two_hosts = to_alice("GET", "/")
        .header("host", "other")
        .body(Empty::new().boxed())
        .unwrap();
    let refused = soon("answer", sender.send_request(two_hosts))
        .await
        .unwrap();
    assert_eq!(refused.status(), 400);
    let udp = to_alice("CONNECT", "/")
        .extension(Protocol::from_static("connect-udp"))
        .body(Empty::new().boxed())
        .unwrap();
    assert_eq!(
        soon("answer", sender.send_request(udp))
            .await
            .unwrap()
            .status(),
        501
    );
}

#[tokio::test]
async fn shutdown_lets_streams_finish() {
    let agent = Agent::start().await;
    let mut edge = Edge::start().await;
    edge.awake("alice", &agent).await;
    let mut sender = client(&edge).await;
    let events = soon(
        "head",
        sender.send_request(to_alice("GET", "/sse").body(Empty::new().boxed()).unwrap()),
    )
    .await
    .unwrap();
    edge.shutdown.cancel();
    agent.second_event.notify_one();
    let all = soon("events", events.into_body().collect())
        .await
        .unwrap()
        .to_bytes();
    assert!(all.ends_with(b"data: two\n\n"));
    edge.ended().await;
}

#[tokio::test]
async fn a_head_with_more_fields_than_are_taken_is_refused() {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    let mut sender = client(&edge).await;
    for (fields, status) in [(90, 200), (101, 431), (1, 200)] {
        let mut request = to_alice("GET", "/");
        for n in 0..fields {
            request = request.header(format!("x-{}", n % 50), "1");
        }
        let request = request.body(Empty::new().boxed()).unwrap();
        let answer = soon("answer", sender.send_request(request)).await.unwrap();
        assert_eq!(answer.status(), status, "{fields} fields");
    }
}
