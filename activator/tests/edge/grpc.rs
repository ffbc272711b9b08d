//! gRPC, frame by frame: what its clients rely on beyond HTTP/2.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use reveille_crds::sandbox::OperatingMode;
use tokio::sync::mpsc;

use crate::support::{Agent, Edge, pod, soon};

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn client(edge: &Edge) -> SendRequest<Body> {
    let io = TokioIo::new(edge.connect().await);
    let builder = http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(io).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A call of a method of that sandbox.
fn call(name: &str, path: &str) -> http::request::Builder {
    Request::post(format!("http://{name}.default.sandbox.localhost{path}"))
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
}

/// An agent of h2c whose port says so by no name.
async fn unnamed(edge: &Edge) -> Agent {
    let agent = Agent::h2c().await;
    edge.pod("alice", Some(pod("alice", agent.address, false)))
        .await;
    edge.sandbox("alice", OperatingMode::Running).await;
    edge.known().await;
    agent
}

/// Status and message of an answer that is trailers only.
fn refusal(response: &Response<Incoming>) -> (&str, &str) {
    use hyper::body::Body as _;
    assert_eq!(response.status(), 200);
    assert!(response.body().is_end_stream(), "trailers only");
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let text = |name: &str| response.headers()[name].to_str().unwrap();
    (text("grpc-status"), text("grpc-message"))
}

#[tokio::test]
async fn a_call_reaches_a_port_of_any_name_in_h2_and_gets_its_trailers() {
    let edge = Edge::start().await;
    let agent = unnamed(&edge).await;
    let mut sender = client(&edge).await;
    let body = Full::new(Bytes::from("hi")).boxed();
    let request = call("alice", "/trailers").body(body).unwrap();
    let response = soon("answer", sender.send_request(request)).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-answer"], "none");
    let request = call("alice", "/x").body(Empty::new().boxed()).unwrap();
    let response = soon("answer", sender.send_request(request)).await.unwrap();
    let seen = response.into_body().collect().await.unwrap().to_bytes();
    let seen = String::from_utf8_lossy(&seen);
    assert!(
        seen.starts_with("POST ") && seen.contains("HTTP/2"),
        "{seen}"
    );
    assert!(seen.contains("te: trailers\n"), "{seen}");
    assert_eq!(agent.accepted(), 1);
}

#[tokio::test]
async fn both_directions_of_a_call_flow_at_a_time_and_rest_for_as_long_as_they_like() {
    let edge = Edge::with(|config| {
        config.body_idle_timeout = Duration::from_millis(100);
        config.response_header_timeout = Duration::from_millis(100);
    })
    .await;
    let _agent = unnamed(&edge).await;
    let mut sender = client(&edge).await;
    let (say, said) = mpsc::channel::<Bytes>(1);
    let said = stream::unfold(
        said,
        |mut said| async move { Some((said.recv().await?, said)) },
    );
    let body = StreamBody::new(said.map(|bytes| Ok(Frame::data(bytes))));
    let request = call("alice", "/echo").body(BodyExt::boxed(body)).unwrap();
    let response = soon("head", sender.send_request(request)).await.unwrap();
    let mut answers = response.into_body();
    for word in ["one", "two", "three"] {
        tokio::time::sleep(Duration::from_millis(300)).await;
        say.send(word.into()).await.unwrap();
        let frame = soon("echo", answers.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), word);
    }
    drop(say);
    let rest = soon("end", answers.collect()).await.unwrap().to_bytes();
    assert!(rest.is_empty(), "{rest:?}");
    // A stream whose first message takes long has no head until then.
    let request = call("alice", "/hang").body(Empty::new().boxed()).unwrap();
    let patience = Duration::from_millis(500);
    let answer = tokio::time::timeout(patience, sender.send_request(request)).await;
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test]
async fn what_is_refused_is_refused_in_the_words_of_grpc() {
    let edge = Edge::start().await;
    edge.asleep("bob").await;
    let mut sender = client(&edge).await;
    let request = call("nobody", "/x").body(Empty::new().boxed()).unwrap();
    let response = soon("answer", sender.send_request(request)).await.unwrap();
    assert_eq!(
        refusal(&response),
        ("5", "Sandbox not found: nobody (NotFound)")
    );
    let late = call("bob", "/x").header("grpc-timeout", "200m");
    let request = late.body(Empty::new().boxed()).unwrap();
    let response = soon("answer", sender.send_request(request)).await.unwrap();
    let (status, message) = refusal(&response);
    let text = "Timed out waiting for the backend sandbox: bob (after 0.2";
    assert!(
        status == "4" && message.starts_with(text),
        "{status} {message}"
    );
    let malformed = Request::post("http://sandbox/x").header("content-type", "application/grpc");
    let request = malformed.body(Empty::new().boxed()).unwrap();
    let response = soon("answer", sender.send_request(request)).await.unwrap();
    assert_eq!(refusal(&response).0, "3");
}

#[tokio::test]
async fn the_sandbox_learns_what_a_wake_has_left_of_the_deadline() {
    let mut edge = Edge::start().await;
    edge.asleep("alice").await;
    let mut sender = client(&edge).await;
    let request = call("alice", "/x").header("grpc-timeout", "60S");
    let request = request.body(Empty::new().boxed()).unwrap();
    let response = tokio::spawn(sender.send_request(request));
    edge.heard_wake("alice").await;
    let _agent = unnamed(&edge).await;
    let response = soon("answer", response).await.unwrap().unwrap();
    let seen = response.into_body().collect().await.unwrap().to_bytes();
    let seen = String::from_utf8_lossy(&seen).into_owned();
    let left = seen
        .lines()
        .find_map(|line| line.strip_prefix("grpc-timeout: "));
    let left: u64 = left.unwrap().strip_suffix('u').unwrap().parse().unwrap();
    assert!(left < 60_000_000, "{left}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_with_unavailable() {
    let edge = Edge::start().await;
    let agent = unnamed(&edge).await;
    let mut sender = client(&edge).await;
    let request = call("alice", "/sse").body(Empty::new().boxed()).unwrap();
    let response = soon("head", sender.send_request(request)).await.unwrap();
    let mut body = response.into_body();
    let first = soon("event", body.frame()).await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "data: one\n\n");
    drop(agent);
    let last = soon("end", body.frame()).await.unwrap().unwrap();
    assert_eq!(last.into_trailers().unwrap()["grpc-status"], "14");
    assert!(soon("end", body.frame()).await.is_none());
}
