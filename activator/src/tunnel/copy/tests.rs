use std::sync::Arc;

use reveille_activator_core::view::{Limits, State, View};
use reveille_crds::SandboxKey;
use reveille_crds::change::PodFacts;
use reveille_crds::scaled_sandbox::Readiness;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;
use crate::sight::Sight;
use crate::slot::{Facts, HttpFacts, Slot};

const IDLE: Duration = Duration::from_secs(600);
const SECOND: Duration = Duration::from_secs(1);

fn view() -> View {
    View {
        epoch: 0,
        uid: None,
        state: State::Asleep,
        is_wanted: false,
        pod: None,
        limits: Limits::default(),
    }
}

fn facts(pod: Option<&str>, is_blocked: bool) -> Facts {
    Facts {
        sandbox_uid: None,
        pod: pod.map(|uid| {
            Arc::new(PodFacts {
                uid: uid.into(),
                ..PodFacts::default()
            })
        }),
        readiness: Readiness::Auto,
        websocket_idle: IDLE,
        stream_idle: None,
        http: HttpFacts::default(),
        ports: None,
        is_blocked,
        past: Arc::default(),
        trouble: None,
        is_gone: false,
    }
}

/// A tunnel of a sandbox whose pod is `pod`, with its two far ends.
struct Tunnel {
    slot: Arc<Slot>,
    client: DuplexStream,
    sandbox: DuplexStream,
    leaving: CancellationToken,
    task: JoinHandle<()>,
}

impl Tunnel {
    fn begin(is_websocket: bool, room: usize) -> Self {
        let key = SandboxKey::new("agents", "alice").unwrap();
        let facts = facts(Some("pod"), false);
        let slot = Slot::new(key, view(), facts, Arc::default(), Arc::new(Sight::new()));
        let (client, client_side) = duplex(room);
        let (sandbox, sandbox_side) = duplex(room);
        let activity = slot.begin();
        let leaving = CancellationToken::new();
        let left = leaving.clone();
        let task = tokio::spawn(async move {
            let ties = Ties {
                pulse: activity.pulse(),
                pod: &"pod".into(),
                life: &Life::default(),
                is_websocket,
                leaving: left,
                sandbox: None,
                can_reset: false,
            };
            both_ways(client_side, sandbox_side, &ties).await;
        });
        Self {
            slot,
            client,
            sandbox,
            leaving,
            task,
        }
    }

    fn in_flight(&self) -> u32 {
        self.slot.report().map_or(0, |seen| seen.in_flight)
    }

    /// The pod is not the sandbox's any more.
    fn leave(&self, is_blocked: bool) {
        self.slot.observe(view(), facts(None, is_blocked));
    }

    /// What the client still gets to read, to the end.
    async fn client_reads(&mut self) -> Vec<u8> {
        to_end(&mut self.client).await
    }
}

async fn to_end(stream: &mut DuplexStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    all
}

/// Sends bytes one way, which arrive.
async fn pass(from: &mut DuplexStream, to: &mut DuplexStream, bytes: &[u8]) {
    from.write_all(bytes).await.unwrap();
    let mut back = vec![0; bytes.len()];
    to.read_exact(&mut back).await.unwrap();
    assert_eq!(back, bytes);
}

fn closed(code: u16, bytes: &[u8]) -> &str {
    let length = usize::from(bytes[1]);
    assert_eq!((bytes[0], length), (0x88, bytes.len() - 2), "{bytes:?}");
    assert_eq!(bytes[2..4], code.to_be_bytes());
    std::str::from_utf8(&bytes[4..]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_silent_tunnel_stops_counting_and_counts_again_with_its_next_byte() {
    let mut tunnel = Tunnel::begin(false, 64);
    pass(&mut tunnel.client, &mut tunnel.sandbox, b"a").await;
    sleep(IDLE - SECOND).await;
    assert_eq!(tunnel.in_flight(), 1, "silent, but not for long enough");
    sleep(2 * SECOND).await;
    assert_eq!(tunnel.in_flight(), 0, "silent for long enough");
    sleep(IDLE / 2).await;
    pass(&mut tunnel.sandbox, &mut tunnel.client, b"b").await;
    assert_eq!(tunnel.in_flight(), 1, "active again");
    sleep(IDLE - SECOND).await;
    assert_eq!(tunnel.in_flight(), 1, "counted from the last byte");
    let Tunnel {
        slot,
        client,
        sandbox,
        task,
        ..
    } = tunnel;
    drop((client, sandbox));
    task.await.unwrap();
    assert_eq!(slot.report().map_or(0, |seen| seen.in_flight), 0);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_of_a_websocket_are_silence_both_ways() {
    let mut tunnel = Tunnel::begin(true, 64);
    for _ in 0..120 {
        sleep(10 * SECOND).await;
        pass(&mut tunnel.client, &mut tunnel.sandbox, b"\x89\x80abcd").await;
        pass(&mut tunnel.sandbox, &mut tunnel.client, b"\x8a\x00").await;
        // A ping, byte by byte, and an empty text.
        for byte in *b"\x89\x01\x81\x81\x00" {
            pass(&mut tunnel.sandbox, &mut tunnel.client, &[byte]).await;
        }
    }
    assert_eq!(tunnel.in_flight(), 0);
    pass(&mut tunnel.client, &mut tunnel.sandbox, b"\x81\x81abcd").await;
    assert_eq!(tunnel.in_flight(), 0, "half a frame says nothing yet");
    pass(&mut tunnel.client, &mut tunnel.sandbox, b"x").await;
    assert_eq!(tunnel.in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_tunnel_ends_with_its_pod_and_an_active_one_goes_on() {
    for (is_blocked, code) in [(false, SERVICE_RESTART), (true, TRY_AGAIN_LATER)] {
        let mut tunnel = Tunnel::begin(true, 64);
        pass(&mut tunnel.client, &mut tunnel.sandbox, b"\x81\x81abcdx").await;
        tunnel.leave(is_blocked);
        sleep(IDLE / 2).await;
        pass(&mut tunnel.sandbox, &mut tunnel.client, b"\x81\x01x").await;
        sleep(IDLE - SECOND).await;
        assert_eq!(tunnel.in_flight(), 1);
        let since = Instant::now();
        let last = tunnel.client_reads().await;
        assert!(closed(code, &last).contains("went to sleep"));
        assert_eq!(since.elapsed().as_secs(), 1, "at once when it fell silent");
        let to_sandbox = to_end(&mut tunnel.sandbox).await;
        assert_eq!(to_sandbox[0], 0x88, "the sandbox hears it as well");
    }
    let mut tunnel = Tunnel::begin(true, 64);
    sleep(2 * IDLE).await;
    assert_eq!(tunnel.in_flight(), 0);
    let since = Instant::now();
    tunnel.leave(false);
    closed(SERVICE_RESTART, &tunnel.client_reads().await);
    assert!(since.elapsed() < SECOND, "one that is silent ends at once");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_is_told_at_a_frame_boundary() {
    let mut tunnel = Tunnel::begin(true, 16);
    // A message of ten bytes, three of which have come.
    pass(&mut tunnel.sandbox, &mut tunnel.client, b"\x82\x0aabc").await;
    pass(&mut tunnel.client, &mut tunnel.sandbox, b"\x81\x82abcdx").await;
    tunnel.leaving.cancel();
    sleep(SECOND).await;
    tunnel.sandbox.write_all(b"defghij\x82").await.unwrap();
    tunnel.client.write_all(b"y\x81").await.unwrap();
    let (to_client, to_sandbox) =
        tokio::join!(to_end(&mut tunnel.client), to_end(&mut tunnel.sandbox),);
    assert_eq!(&to_client[..7], b"defghij");
    assert_eq!(
        closed(GOING_AWAY, &to_client[7..]),
        "the proxy is shutting down"
    );
    assert_eq!(&to_sandbox[..2], b"y\x88");
    assert_eq!(to_sandbox[2] & 0x80, 0x80, "a client's frame is masked");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_end_is_not_waited_for_long() {
    let mut tunnel = Tunnel::begin(true, 64);
    pass(&mut tunnel.sandbox, &mut tunnel.client, b"\x82\x0aabc").await;
    tunnel.leaving.cancel();
    let since = Instant::now();
    assert_eq!(tunnel.client_reads().await, b"");
    assert!(since.elapsed() <= LAST_WORDS + SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_ends_without_a_word_is_told_of_and_one_that_closed_is_not_spoken_for() {
    let mut tunnel = Tunnel::begin(true, 64);
    pass(&mut tunnel.sandbox, &mut tunnel.client, b"\x81\x01x").await;
    tunnel.sandbox.shutdown().await.unwrap();
    closed(SERVICE_RESTART, &tunnel.client_reads().await);

    let mut tunnel = Tunnel::begin(true, 64);
    let own = close(1009, "message too big", None);
    tunnel.sandbox.write_all(&own).await.unwrap();
    tunnel.sandbox.shutdown().await.unwrap();
    assert_eq!(tunnel.client_reads().await, own);

    let mut tunnel = Tunnel::begin(true, 64);
    pass(&mut tunnel.sandbox, &mut tunnel.client, b"\x81\x05he").await;
    tunnel.sandbox.shutdown().await.unwrap();
    assert_eq!(tunnel.client_reads().await, b"", "in the middle of a frame");
}

#[tokio::test(start_paused = true)]
async fn a_protocol_that_is_no_websocket_is_never_spoken_into() {
    let mut tunnel = Tunnel::begin(false, 64);
    pass(&mut tunnel.sandbox, &mut tunnel.client, b"\x81\x01x").await;
    tunnel.leaving.cancel();
    assert_eq!(tunnel.client_reads().await, b"");
    assert_eq!(to_end(&mut tunnel.sandbox).await, b"");
}
