//! Clients that leave: noticed while parked, even behind a body that nobody has read.

use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use reveille_crds::message::ToScaler;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{Agent, Edge, soon};

/// Parks a request and waits until the activator has said so.
async fn park(edge: &mut Edge, request: &str) -> TcpStream {
    let mut stream = edge.connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    soon("wake", async {
        while !matches!(edge.said.recv().await, Some(ToScaler::Wake(wake)) if wake.key.name() == "bob") {}
    })
    .await;
    stream
}

/// Waits for the report that nobody waits for the sandbox any more.
async fn unparked(edge: &mut Edge) {
    soon("report", async {
        loop {
            if let Some(ToScaler::Activity(activity)) = edge.said.recv().await {
                let of_bob = activity
                    .sandboxes
                    .iter()
                    .find(|seen| seen.key.name() == "bob");
                if of_bob.is_some_and(|seen| seen.parked == 0 && seen.in_flight == 0) {
                    return;
                }
            }
        }
    })
    .await;
}

const GET: &str = "GET / HTTP/1.1\r\nhost: p\r\nx-sandbox-id: bob\r\n\r\n";
const SMALL: &str =
    "POST / HTTP/1.1\r\nhost: p\r\nx-sandbox-id: bob\r\ncontent-length: 5\r\n\r\nhello";
const UNFINISHED: &str =
    "POST / HTTP/1.1\r\nhost: p\r\nx-sandbox-id: bob\r\ncontent-length: 50000000\r\n\r\nhello";
const PIPELINED: &str = concat!(
    "GET / HTTP/1.1\r\nhost: p\r\nx-sandbox-id: bob\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: p\r\nx-sandbox-id: bob\r\n\r\n"
);

#[tokio::test]
async fn a_client_that_closes_while_parked_is_noticed() {
    for request in [GET, SMALL, UNFINISHED, PIPELINED] {
        let mut edge = Edge::start().await;
        edge.asleep("bob").await;
        let client = park(&mut edge, request).await;
        drop(client);
        unparked(&mut edge).await;
    }
}

#[tokio::test]
async fn a_client_that_resets_while_its_body_fills_every_buffer_is_noticed() {
    let mut edge = Edge::start().await;
    edge.asleep("bob").await;
    let mut client = park(&mut edge, UNFINISHED).await;
    let chunk = vec![b'x'; 1 << 20];
    let stuffed = tokio::time::timeout(Duration::from_millis(500), async {
        for _ in 0..40 {
            client.write_all(&chunk).await.unwrap();
        }
    });
    assert!(
        stuffed.await.is_err(),
        "the body of a parked request must not be read"
    );
    let at_once = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&client, sockopt::Linger, &at_once).unwrap();
    drop(client);
    unparked(&mut edge).await;
}

#[tokio::test]
async fn a_client_that_leaves_while_parked_is_not_delivered_and_the_others_are() {
    let mut edge = Edge::start().await;
    edge.asleep("bob").await;
    let leaver = park(&mut edge, SMALL).await;
    drop(leaver);
    unparked(&mut edge).await;
    let agent = Agent::start().await;
    edge.awake("bob", &agent).await;
    let answer = edge
        .ask("GET /stay HTTP/1.1\r\nhost: p\r\nx-sandbox-id: bob\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!((answer.status, agent.served()), (200, 1));
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_ends_the_exchange_with_the_sandbox() {
    let (edge, mut agent) = (Edge::start().await, Agent::start().await);
    edge.awake("bob", &agent).await;
    let mut client = edge.connect().await;
    client
        .write_all(b"GET /hang HTTP/1.1\r\nhost: p\r\nx-sandbox-id: bob\r\n\r\n")
        .await
        .unwrap();
    soon("request", async {
        while agent.served() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(client);
    soon("abort", agent.aborted.wait_for(|count| *count == 1))
        .await
        .unwrap();
}
