//! What stays open: when it counts, and how its client hears that it ended.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use reveille_crds::sandbox::OperatingMode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::agent::read_head;
use crate::support::{Agent, Edge, head_of, paused, soon};

const GET: &str = "GET / HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\n\r\n";
pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// Longer than any timer of the edge.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) const EVENTS: &str = "content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n";
pub(crate) const LINES: &str =
    "content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n";
const COUNTED: &str = "content-type: text/event-stream\r\ncontent-length: 99\r\n";
pub(crate) const LAST_CHUNK: &str = "0\r\n\r\n";

/// An agent that answers its one request with these fields, then with what the test says, until the test
/// drops its end.
pub(crate) async fn speaking(fields: &'static str) -> (Agent, mpsc::Sender<String>) {
    let (say, said) = mpsc::channel::<String>(8);
    let said = std::sync::Mutex::new(Some(said));
    let agent = Agent::raw(move |mut stream| {
        let said = said.lock().unwrap().take();
        async move {
            let mut said = said.unwrap();
            read_head(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            while let Some(text) = said.recv().await {
                stream.write_all(text.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (agent, say)
}

pub(crate) fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// A client that has read the head of what alice says.
pub(crate) async fn listening(edge: &Edge) -> TcpStream {
    let mut stream = edge.connect().await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(head_of(&mut stream).await.status, 200);
    stream
}

pub(crate) async fn heard(stream: &mut TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

/// All that still comes.
pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(HOUR, stream.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Alice goes to sleep, as the watch shows it.
pub(crate) async fn sleeps(edge: &Edge) {
    edge.sandbox("alice", OperatingMode::Suspended).await;
}

#[test]
fn a_stream_of_heartbeats_lets_its_sandbox_sleep_and_is_ended_with_it() {
    paused(async {
        let (mut edge, (agent, say)) = (Edge::start().await, speaking(EVENTS).await);
        edge.policy(|spec| spec.stream_idle = 60).await;
        edge.awake("alice", &agent).await;
        let mut client = listening(&edge).await;
        for round in 0..3 {
            let event = chunk(&format!("data: {round}\n\n"));
            say.send(event.clone()).await.unwrap();
            heard(&mut client, &event).await;
            edge.reported("alice", 1).await;
            let since = Instant::now();
            let beat = tokio::spawn({
                let say = say.clone();
                async move {
                    loop {
                        sleep(15 * SECOND).await;
                        // Whole, and in two pieces.
                        say.send(chunk(": ping\r\n\r\n")).await.unwrap();
                        say.send(chunk(": pi")).await.unwrap();
                        say.send(chunk("data: ng\n\n")).await.unwrap();
                    }
                }
            });
            edge.reported("alice", 0).await;
            assert!((59 * SECOND..63 * SECOND).contains(&since.elapsed()));
            beat.abort();
            while let Ok(Ok(_)) = timeout(SECOND, client.read_u8()).await {}
        }
        sleeps(&edge).await;
        let since = Instant::now();
        heard(&mut client, LAST_CHUNK).await;
        assert!(since.elapsed() < 2 * SECOND);
        soon("the agent's end", async {
            while say.send(chunk(": ping\n\n")).await.is_ok() {
                sleep(SECOND).await;
            }
        })
        .await;
    });
}

#[test]
fn a_stream_counts_for_as_long_as_it_is_open_unless_its_policy_says_otherwise() {
    paused(async {
        let (mut edge, (agent, say)) = (Edge::start().await, speaking(EVENTS).await);
        edge.awake("alice", &agent).await;
        let mut client = listening(&edge).await;
        edge.reported("alice", 1).await;
        assert!(
            timeout(HOUR, edge.reported("alice", 0)).await.is_err(),
            "silent for an hour, and still counted"
        );
        // The sandbox is put to sleep by somebody; its process ends in the middle of its answer.
        sleeps(&edge).await;
        edge.known().await;
        say.send(chunk("data: last\n\n")).await.unwrap();
        drop(say);
        heard(&mut client, &(chunk("data: last\n\n") + LAST_CHUNK)).await;
    });
}

#[test]
fn what_could_be_taken_for_whole_ends_visibly_broken() {
    paused(async {
        // One whose length was promised, one that is no stream of events.
        for fields in [COUNTED, LINES] {
            let (mut edge, (agent, _say)) = (Edge::start().await, speaking(fields).await);
            edge.policy(|spec| spec.stream_idle = 60).await;
            edge.awake("alice", &agent).await;
            let mut client = listening(&edge).await;
            edge.reported("alice", 1).await;
            edge.reported("alice", 0).await;
            sleeps(&edge).await;
            assert_eq!(rest(&mut client).await, "", "{fields}");
        }
        // One whose sandbox is up and breaks off.
        let (edge, (agent, say)) = (Edge::start().await, speaking(EVENTS).await);
        edge.awake("alice", &agent).await;
        let mut client = listening(&edge).await;
        drop(say);
        assert_eq!(rest(&mut client).await, "");
    });
}

#[test]
fn a_shutdown_leaves_streams_their_grace_and_ends_them_whole() {
    paused(async {
        let (agent, say) = speaking(EVENTS).await;
        let mut edge = Edge::with(|config| config.grace = 25 * SECOND).await;
        edge.awake("alice", &agent).await;
        let mut client = listening(&edge).await;
        edge.shutdown.cancel();
        let since = Instant::now();
        sleep(22 * SECOND).await;
        let event = chunk("data: still here\n\n");
        say.send(event.clone()).await.unwrap();
        heard(&mut client, &event).await;
        assert_eq!(rest(&mut client).await, LAST_CHUNK);
        edge.ended().await;
        assert!((23 * SECOND..=25 * SECOND).contains(&since.elapsed()));
    });
}

/// An agent that speaks gRPC enough: one message, then nothing.
async fn grpc() -> Agent {
    Agent::answering(true, |_| {
        let message = Bytes::from_static(b"\0\0\0\0\x02hi");
        let frames = futures_util::stream::once(async { Ok(hyper::body::Frame::data(message)) })
            .chain(futures_util::stream::pending());
        http::Response::builder()
            .header("content-type", "application/grpc")
            .body(BodyExt::boxed(http_body_util::StreamBody::new(frames)))
            .unwrap()
    })
    .await
}

#[test]
fn a_call_that_is_cut_has_a_status() {
    paused(async {
        for is_sleep in [true, false] {
            let agent = grpc().await;
            let mut edge = Edge::with(|config| config.grace = 25 * SECOND).await;
            edge.policy(|spec| spec.stream_idle = 60).await;
            edge.awake("alice", &agent).await;
            let io = TokioIo::new(edge.connect().await);
            let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
                .handshake(io)
                .await
                .unwrap();
            tokio::spawn(connection);
            let request = http::Request::post("http://alice.default.sandbox.localhost/a.B/C")
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Empty::<Bytes>::new())
                .unwrap();
            let mut response = sender.send_request(request).await.unwrap();
            let message = response.body_mut().frame().await.unwrap().unwrap();
            assert_eq!(message.into_data().unwrap().len(), 7);
            edge.reported("alice", 1).await;
            if is_sleep {
                edge.reported("alice", 0).await;
                sleeps(&edge).await;
            } else {
                edge.shutdown.cancel();
            }
            let last = response.body_mut().frame().await.unwrap().unwrap();
            let trailers = last.into_trailers().unwrap();
            assert_eq!(trailers["grpc-status"], "14");
            let reason = trailers["grpc-message"].to_str().unwrap();
            assert!(reason.contains(if is_sleep { "sleep" } else { "shutting down" }));
        }
    });
}

/// An agent that speaks WebSocket: says what it hears, and hangs up without a word when told to.
async fn websocket() -> Agent {
    Agent::raw(|stream| async move {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
            return;
        };
        while let Some(Ok(message)) = socket.next().await {
            if message == Message::text("die") {
                return;
            }
            if message.is_text() {
                socket.send(message).await.unwrap();
            }
        }
    })
    .await
}

async fn dial(edge: &Edge) -> WebSocketStream<TcpStream> {
    let stream = edge.connect().await;
    let url = "ws://alice.default.sandbox.localhost/";
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        Message::text("hello")
    );
    socket
}

/// The close frame that comes next, and then the end of the connection.
async fn closed(socket: &mut WebSocketStream<TcpStream>) -> (u16, String) {
    let frame = loop {
        match timeout(HOUR, socket.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
        {
            Message::Close(frame) => break frame.unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    };
    let end = timeout(HOUR, socket.next()).await.unwrap();
    assert!(end.is_none(), "{end:?}");
    (frame.code.into(), frame.reason.to_string())
}

#[test]
fn a_websocket_hears_why_it_ends() {
    paused(async {
        let agent = websocket().await;
        let mut edge = Edge::with(|config| config.grace = 25 * SECOND).await;
        edge.awake("alice", &agent).await;
        let mut left = dial(&edge).await;
        left.send(Message::text("die")).await.unwrap();
        assert_eq!(closed(&mut left).await.0, 1012);

        let mut asleep = dial(&edge).await;
        let since = Instant::now();
        edge.reported("alice", 1).await;
        let mut last_ping = Instant::now();
        while timeout(SECOND, edge.reported("alice", 0)).await.is_err() {
            // Kept up by pings, as browsers' libraries do.
            if last_ping.elapsed() > 20 * SECOND {
                asleep.send(Message::Ping(Bytes::new())).await.unwrap();
                assert!(asleep.next().await.unwrap().unwrap().is_pong());
                last_ping = Instant::now();
            }
            assert!(since.elapsed() < HOUR, "its pings count");
        }
        sleeps(&edge).await;
        let (code, reason) = closed(&mut asleep).await;
        assert_eq!((code, reason.contains("went to sleep")), (1012, true));

        edge.sandbox("alice", OperatingMode::Running).await;
        edge.known().await;
        let mut shut = dial(&edge).await;
        edge.shutdown.cancel();
        let since = Instant::now();
        for _ in 0..22 {
            sleep(SECOND).await;
            shut.send(Message::text("on")).await.unwrap();
            assert_eq!(shut.next().await.unwrap().unwrap(), Message::text("on"));
        }
        let (code, reason) = closed(&mut shut).await;
        assert_eq!((code, &*reason), (1001, "the proxy is shutting down"));
        assert!((23 * SECOND..=25 * SECOND).contains(&since.elapsed()));
        edge.ended().await;
    });
}

/// A server that takes no more in the middle of a message, says so, and closes over what it has not read:
/// its kernel then resets the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_word_of_a_sandbox_reaches_a_client_that_is_still_sending() {
    let agent = Agent::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let head = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let mut some = vec![0; 1 << 16];
        stream.read_exact(&mut some).await.unwrap();
        stream.write_all(b"\x88\x09\x03\xf1too big").await.unwrap();
    })
    .await;
    let edge = Edge::start().await;
    edge.awake("alice", &agent).await;
    for _ in 0..20 {
        let mut stream = edge.connect().await;
        let upgrade = GET.replace(
            "\r\n\r\n",
            "\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        );
        stream.write_all(upgrade.as_bytes()).await.unwrap();
        assert_eq!(head_of(&mut stream).await.status, 101);
        let (mut reads, mut writes) = stream.into_split();
        let sending = tokio::spawn(async move {
            // A message of 64 MiB.
            let mut head = vec![0x82, 0xFF];
            head.extend((64_u64 << 20).to_be_bytes());
            head.extend([0; 4]);
            writes.write_all(&head).await.unwrap();
            let block = vec![0; 1 << 16];
            while writes.write_all(&block).await.is_ok() {}
        });
        let mut last = vec![0; 11];
        soon("the last word", reads.read_exact(&mut last))
            .await
            .unwrap();
        assert_eq!(last, b"\x88\x09\x03\xf1too big");
        sending.abort();
    }
}
