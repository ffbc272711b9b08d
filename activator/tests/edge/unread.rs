//! Clients that do not read: what is sent to them ends all the same.

use std::io::ErrorKind;

use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::streams::{EVENTS, HOUR, LINES, SECOND, chunk, listening, sleeps, speaking};
use crate::support::frames::{Frames, RST_STREAM};
use crate::support::{Edge, paused, pod, soon};

/// CANCEL (RFC 9113 §7).
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// Says so much that all buffers on the way are full: the agent cannot go on.
async fn stuff(say: &mpsc::Sender<String>) {
    let much = chunk(&format!("data: {}\n\n", "x".repeat(1 << 16)));
    while timeout(10 * SECOND, say.send(much.clone())).await.is_ok() {}
}

/// Waits until the connection to the agent has ended.
async fn ended(say: &mpsc::Sender<String>) {
    timeout(HOUR, say.closed()).await.unwrap();
}

#[test]
fn a_client_that_does_not_read_keeps_no_stream_of_a_sandbox_that_sleeps() {
    paused(async {
        for fields in [EVENTS, LINES] {
            let (mut edge, (agent, say)) = (Edge::start().await, speaking(fields).await);
            edge.policy(|spec| spec.stream_idle = 60).await;
            edge.awake("alice", &agent).await;
            let mut client = listening(&edge).await;
            stuff(&say).await;
            edge.reported("alice", 0).await;
            sleeps(&edge).await;
            ended(&say).await;
            let mut rest = Vec::new();
            let end = soon("reset", client.read_to_end(&mut rest)).await;
            assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn a_stream_of_h2_that_is_not_read_is_reset_and_its_connection_goes_on() {
    paused(async {
        let (mut edge, (agent, say)) = (Edge::start().await, speaking(LINES).await);
        edge.policy(|spec| spec.stream_idle = 60).await;
        edge.awake("alice", &agent).await;
        let mut frames = Frames::connect(&edge).await;
        // No WINDOW_UPDATE is sent: 65,535 bytes are taken and no more.
        frames.get(1, "/", &[]).await;
        let reading = tokio::spawn(async move {
            loop {
                let frame = frames.next_within(HOUR).await.unwrap().unwrap();
                if frame.kind == RST_STREAM {
                    break frame;
                }
            }
        });
        stuff(&say).await;
        edge.reported("alice", 0).await;
        sleeps(&edge).await;
        let reset = reading.await.unwrap();
        assert_eq!((reset.stream, &reset.payload[..]), (1, &CANCEL[..]));
        ended(&say).await;
    });
}

#[test]
fn a_client_that_does_not_read_keeps_nothing_of_a_pod_that_is_dead() {
    paused(async {
        let (mut edge, (agent, say)) = (Edge::start().await, speaking(LINES).await);
        edge.awake("alice", &agent).await;
        let mut client = listening(&edge).await;
        stuff(&say).await;
        edge.reported("alice", 1).await;
        let mut pod = pod("alice", agent.address, false);
        pod.terminating = true;
        edge.pod("alice", Some(pod)).await;
        edge.reported("alice", 0).await;
        let mut rest = Vec::new();
        let end = soon("reset", client.read_to_end(&mut rest)).await;
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}
