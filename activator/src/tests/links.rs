//! With the carrier away, wakes go by the scaler's API, or fail with a reason.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn without_link(apis: impl IntoIterator<Item = String>) -> World {
    let world = with_apis(apis);
    world.link.send_replace(false);
    world
}

fn with_apis(apis: impl IntoIterator<Item = String>) -> World {
    let mut world = World::with(Config {
        fallback_apis: apis.into_iter().collect(),
        ..Config::default()
    });
    world.sandbox("alice", 1, OperatingMode::Suspended);
    world
}

/// Answers one call; gives what was sent, which ends with a JSON object.
async fn answer_call(listener: &TcpListener, response: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut sent = Vec::new();
    while !sent.ends_with(b"}") {
        let n = stream.read_buf(&mut sent).await.unwrap();
        assert!(n > 0, "the call was cut off");
    }
    stream.write_all(response.as_bytes()).await.unwrap();
    String::from_utf8(sent).unwrap()
}

#[tokio::test(start_paused = true)]
async fn without_carrier_and_api_a_request_waits_for_the_carrier_as_long_as_it_may() {
    let world = without_link(None);
    let start = tokio::time::Instant::now();
    assert_eq!(refusal(world.client("alice")).await, Refusal::Unanswered);
    assert_eq!(start.elapsed().as_secs(), 55);

    let mut world = without_link(None);
    let client = world.client("alice");
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.link.send_replace(true);
    world.heard_wake().await;
    world.awake("alice", 2);
    assert!(answer(client).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_wake_that_is_under_way_survives_the_loss_of_the_carrier() {
    let mut world = World::asleep();
    let client = world.client("alice");
    world.heard_wake().await;
    world.sandbox("alice", 2, OperatingMode::Running);
    world.link.send_replace(false);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!client.is_finished());
    world.awake("alice", 2);
    assert!(answer(client).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn awake_sandboxes_are_served_without_a_carrier() {
    let mut world = without_link(None);
    world.awake("bob", 1);
    assert!(answer(world.client("bob")).await.is_ok());
}

#[tokio::test]
async fn a_wake_goes_by_the_api_while_the_carrier_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut world = without_link(Some(format!("http://{}", listener.local_addr().unwrap())));
    let client = world.client("alice");
    let call = answer_call(
        &listener,
        "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    assert!(
        call.starts_with("POST /v1/sandboxes/agents/alice/wake HTTP/1.1\r\n")
            && call.ends_with(r#"{"cause":"http","waiting":1}"#),
        "{call}"
    );
    world.awake("alice", 2);
    assert!(answer(client).await.is_ok());
}

#[tokio::test]
async fn a_refusal_of_the_api_ends_the_lot() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = without_link(Some(format!("http://{}", listener.local_addr().unwrap())));
    let clients = [world.client("alice"), world.client("alice")];
    let body = r#"{"reason":"HeldAsleep","detail":"an operator holds it"}"#;
    let head = format!(
        "HTTP/1.1 409 Conflict\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    answer_call(&listener, &head).await;
    for client in clients {
        let (reason, message) = ("HeldAsleep".into(), "an operator holds it".into());
        assert_eq!(
            refusal(client).await,
            Refusal::Refused {
                reason,
                message,
                retry_after: None
            }
        );
    }
}

#[tokio::test]
async fn an_api_that_cannot_be_reached_fails_the_wake_fast() {
    let (_silent, closed) = silent();
    let world = without_link(Some(format!("http://{closed}")));
    let Refusal::Failed { reason, .. } = refusal(world.client("alice")).await else {
        panic!("not failed")
    };
    assert_eq!(&*reason, "NoScaler");
}

const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn the_scalers_are_asked_in_turn_until_one_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let live = format!("http://{}", listener.local_addr().unwrap());
    let ((_one, first), (_other, last)) = (silent(), silent());
    let dead = |address| format!("http://{address}");
    let mut world = without_link([dead(first), live, dead(last)]);
    let client = world.client("alice");
    answer_call(&listener, ACCEPTED).await;
    world.awake("alice", 2);
    assert!(answer(client).await.is_ok());
}

#[tokio::test]
async fn a_scaler_that_does_not_know_the_sandbox_yet_is_asked_again() {
    asked_again_after("404 Not Found", "NotFound").await;
}

#[tokio::test]
async fn a_scaler_that_has_too_much_to_do_is_asked_again() {
    asked_again_after("503 Service Unavailable", "Unavailable").await;
}

/// An answer that is about the scaler ends nobody's wait.
async fn asked_again_after(status: &str, reason: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut world = without_link([format!("http://{}", listener.local_addr().unwrap())]);
    let client = world.client("alice");
    let body = format!(r#"{{"reason":"{reason}","detail":"not now"}}"#);
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for _ in 0..5 {
        answer_call(&listener, &head).await;
    }
    answer_call(&listener, ACCEPTED).await;
    world.awake("alice", 2);
    assert!(answer(client).await.is_ok());
}

#[tokio::test]
async fn a_wake_that_nobody_answers_over_the_carrier_goes_by_the_api_as_well() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut world = with_apis([format!("http://{}", listener.local_addr().unwrap())]);
    let client = world.client("alice");
    answer_call(&listener, ACCEPTED).await;
    for _ in 0..3 {
        world.heard_wake().await;
    }
    world.awake("alice", 2);
    assert!(answer(client).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_answered_wake_goes_by_the_carrier_alone() {
    let (_silent, closed) = silent();
    let mut world = with_apis([format!("http://{closed}")]);
    let client = world.client("alice");
    world.heard_wake().await;
    world.say(OutcomeKind::Waking { epoch: 2 }).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    world.awake("alice", 2);
    assert!(answer(client).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_in_vain_for_any_scaler_is_told_that_there_is_none() {
    let mut config = Config::default();
    config.unmanaged.max_wait = Duration::from_secs(20);
    let mut world = World::with(config);
    world.sandbox("alice", 1, OperatingMode::Suspended);
    let start = tokio::time::Instant::now();
    assert_eq!(refusal(world.client("alice")).await, Refusal::Unanswered);
    assert_eq!(start.elapsed().as_secs(), 20, "one may come until the end");
}
