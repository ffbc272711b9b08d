//! With the carrier away, wakes go by the scaler's API, or fail with a reason.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn without_link(api: Option<String>) -> World {
    let mut world = World::with(Config {
        fallback_api: api,
        ..Config::default()
    });
    world.link.send_replace(false);
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
async fn without_carrier_and_api_a_wake_fails_fast() {
    let world = without_link(None);
    let start = tokio::time::Instant::now();
    let Refusal::Failed {
        reason,
        retry_after,
        ..
    } = refusal(world.client("alice")).await
    else {
        panic!("not failed")
    };
    assert_eq!(&*reason, "ScalerUnreachable");
    assert!(retry_after.is_some() && start.elapsed() < Duration::from_secs(2));
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
    let body = r#"{"reason":"HeldAsleep","message":"an operator holds it"}"#;
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
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let world = without_link(Some(format!("http://{closed}")));
    let Refusal::Failed { reason, .. } = refusal(world.client("alice")).await else {
        panic!("not failed")
    };
    assert_eq!(&*reason, "ScalerUnreachable");
}
