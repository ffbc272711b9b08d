//! Every timer of the client's edge, crossed in both directions. The clock is paused: it moves on when
//! nothing else can happen, so that minutes cost nothing.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::support::frames::{Frames, GOAWAY, PING, SETTINGS, Silence, WINDOW_UPDATE};
use crate::support::{Agent, Edge, head_of, paused};

const GET: &str = "GET /count HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\n\r\n";
const UPGRADE: &str = "GET /upgrade HTTP/1.1\r\nhost: p\r\nx-sandbox-id: alice\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n";
const SECOND: Duration = Duration::from_secs(1);
/// Longer than any timer of the edge.
const HOUR: Duration = Duration::from_secs(3600);

async fn edge() -> (Edge, Agent) {
    let (edge, agent) = (Edge::start().await, Agent::start().await);
    edge.awake("alice", &agent).await;
    (edge, agent)
}

/// Time until the other side ends the connection.
async fn until_end(stream: &mut (impl AsyncRead + Unpin)) -> Duration {
    let since = Instant::now();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(HOUR, stream.read_to_end(&mut rest)).await;
    since.elapsed()
}

async fn echo(tunnel: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &[u8]) {
    tunnel.write_all(bytes).await.unwrap();
    tunnel.flush().await.unwrap();
    let mut back = vec![0; bytes.len()];
    tunnel.read_exact(&mut back).await.unwrap();
    assert_eq!(back, bytes);
}

async fn over_h1(edge: &Edge) -> TcpStream {
    let mut stream = edge.connect().await;
    stream.write_all(UPGRADE.as_bytes()).await.unwrap();
    assert_eq!(head_of(&mut stream).await.status, 101);
    stream
}

/// A tunnel by extended CONNECT (RFC 8441).
async fn over_h2(edge: &Edge) -> TokioIo<Upgraded> {
    let io = TokioIo::new(edge.connect().await);
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .handshake(io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = |method: &str, path: &str| {
        http::Request::builder()
            .method(method)
            .uri(format!("http://alice.default.sandbox.localhost{path}"))
    };
    // The server's SETTINGS, which allow it, have arrived with the first answer.
    let first = request("GET", "/").body(Empty::<bytes::Bytes>::new().boxed());
    sender.send_request(first.unwrap()).await.unwrap();
    let connect = request("CONNECT", "/upgrade")
        .extension(Protocol::from_static("websocket"))
        .body(Empty::new().boxed());
    let mut response = sender.send_request(connect.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap())
}

/// What a tunnel has to live through: bytes that look like half a head, a stream of them, and silence.
async fn live_long(tunnel: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    echo(tunnel, b"GET / HT").await;
    for _ in 0..600 {
        sleep(SECOND).await;
        echo(tunnel, b"x").await;
    }
    for pause in [11 * SECOND, 76 * SECOND, HOUR] {
        sleep(pause).await;
        echo(tunnel, b"PRI * HTTP/2.0\r\n\r\n").await;
    }
}

#[test]
fn a_tunnel_lives_until_one_side_ends_it_whatever_is_sent() {
    paused(async {
        let (edge, _agent) = edge().await;
        let mut stream = over_h1(&edge).await;
        live_long(&mut stream).await;
        stream.shutdown().await.unwrap();
        assert!(until_end(&mut stream).await < SECOND);
    });
}

#[test]
fn a_tunnel_over_h2_lives_until_one_side_ends_it_whatever_is_sent() {
    paused(async {
        let (edge, _agent) = edge().await;
        let mut tunnel = over_h2(&edge).await;
        live_long(&mut tunnel).await;
        tunnel.shutdown().await.unwrap();
        assert!(until_end(&mut tunnel).await < SECOND);
    });
}

/// By the clock on the wall: a second or two, and five minutes with `REVEILLE_LONG=1`.
#[tokio::test]
async fn tunnels_live_through_real_time() {
    let is_long = std::env::var_os("REVEILLE_LONG").is_some_and(|value| value != "0");
    let until = Instant::now() + if is_long { 300 * SECOND } else { SECOND };
    let (edge, _agent) = edge().await;
    let mut over_h1 = over_h1(&edge).await;
    let mut over_h2 = over_h2(&edge).await;
    while Instant::now() < until {
        echo(&mut over_h1, b"GET / HT").await;
        echo(&mut over_h2, b"x").await;
        sleep(SECOND / 2).await;
    }
}

#[test]
fn an_idle_h2_connection_lives_its_time_from_its_last_stream_and_ends_with_goaway() {
    paused(async {
        let (edge, _agent) = edge().await;
        let mut frames = Frames::connect(&edge).await;
        // What is no request neither shortens its life nor lengthens it.
        for _ in 0..74 {
            assert_eq!(frames.next_within(SECOND).await, Err(Silence));
            frames.send(PING, 0, 0, &[7; 8]).await.unwrap();
            frames.send(SETTINGS, 0, 0, &[]).await.unwrap();
            frames
                .send(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())
                .await
                .unwrap();
        }
        frames.get(1, "/count", &[]).await;
        frames.answer(1).await;
        for _ in 0..74 {
            frames.send(PING, 0, 0, &[7; 8]).await.unwrap();
            assert_eq!(frames.next_within(SECOND).await, Err(Silence));
        }
        frames.get(3, "/count", &[]).await;
        frames.answer(3).await;
        let since = Instant::now();
        let end = frames.next_within(HOUR).await.unwrap().unwrap();
        assert_eq!((end.kind, since.elapsed().as_secs()), (GOAWAY, 75));
        let last = frames.next_within(HOUR).await.unwrap().unwrap();
        assert_eq!((last.kind, &last.payload[..4]), (GOAWAY, &[0, 0, 0, 3][..]));
        assert_eq!(frames.next_within(HOUR).await, Ok(None));
        assert!(since.elapsed() < 77 * SECOND);
    });
}

#[test]
fn a_request_that_crosses_the_goaway_of_an_idle_connection_is_served() {
    paused(async {
        let (edge, _agent) = edge().await;
        let mut frames = Frames::connect(&edge).await;
        let end = frames.next_within(HOUR).await.unwrap().unwrap();
        assert_eq!(end.kind, GOAWAY);
        frames.answers_pings = false;
        frames.get(1, "/count", &[]).await;
        frames.answer(1).await;
        // It never agrees to the end, and is left.
        let since = Instant::now();
        assert_eq!(frames.next_within(HOUR).await, Ok(None));
        assert_eq!(since.elapsed().as_secs(), 10);
    });
}

#[test]
fn a_stream_lasts_while_its_client_answers_pings_and_no_longer() {
    paused(async {
        let (edge, _agent) = edge().await;
        let mut frames = Frames::connect(&edge).await;
        frames.get(1, "/hang", &[]).await;
        assert_eq!(frames.next_within(250 * SECOND).await, Err(Silence));
        frames.answers_pings = false;
        let since = Instant::now();
        while let Some(frame) = frames.next_within(HOUR).await.unwrap() {
            assert_eq!(frame.kind, GOAWAY);
        }
        let took = since.elapsed();
        assert!((20 * SECOND..=52 * SECOND).contains(&took), "{took:?}");
    });
}

#[test]
fn the_head_of_a_request_has_its_time_from_its_first_byte() {
    paused(async {
        let (edge, _agent) = edge().await;
        let mut stream = edge.connect().await;
        // Idle for long, then slow, then in time.
        for pause in [9, 70, 70] {
            sleep(pause * SECOND).await;
            let (first, second) = GET.split_at(9);
            stream.write_all(first.as_bytes()).await.unwrap();
            sleep(9 * SECOND).await;
            stream.write_all(second.as_bytes()).await.unwrap();
            assert_eq!(head_of(&mut stream).await.status, 200);
            stream.read_u8().await.unwrap();
        }
        sleep(30 * SECOND).await;
        stream.write_all(b"GET /").await.unwrap();
        // A byte now and then is no more time.
        sleep(9 * SECOND).await;
        stream.write_all(b"c").await.unwrap();
        let took = until_end(&mut stream).await;
        assert!((SECOND..2 * SECOND).contains(&took), "{took:?}");
    });
}

#[test]
fn a_client_that_says_nothing_has_the_time_of_a_head() {
    paused(async {
        let (edge, _agent) = edge().await;
        let mut silent = edge.connect().await;
        assert_eq!(until_end(&mut silent).await.as_secs(), 10);
        let mut half = edge.connect().await;
        half.write_all(b"PRI * HTTP/2.0\r\n\r\n").await.unwrap();
        assert_eq!(until_end(&mut half).await.as_secs(), 10);
    });
}

#[test]
fn an_idle_connection_lives_its_time_between_requests() {
    paused(async {
        let (edge, _agent) = edge().await;
        let mut stream = edge.connect().await;
        for _ in 0..3 {
            stream.write_all(GET.as_bytes()).await.unwrap();
            assert_eq!(head_of(&mut stream).await.status, 200);
            stream.read_u8().await.unwrap();
            sleep(74 * SECOND).await;
        }
        let took = until_end(&mut stream).await;
        assert!((SECOND..3 * SECOND).contains(&took), "{took:?}");
    });
}

#[test]
fn a_closed_connection_is_read_for_a_moment_so_that_its_answer_arrives() {
    paused(async {
        let (edge, _agent) = edge().await;
        let mut stream = edge.connect().await;
        stream.write_all(b"BAD\r\n\r\n").await.unwrap();
        assert_eq!(head_of(&mut stream).await.status, 400);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        // The other side has hung up, and takes what still comes, for a second.
        sleep(SECOND / 2).await;
        stream.write_all(b"more").await.unwrap();
        sleep(SECOND / 4).await;
        stream.write_all(b"more").await.unwrap();
        sleep(SECOND).await;
        let _ = stream.write_all(b"more").await;
        sleep(SECOND).await;
        assert!(stream.write_all(b"more").await.is_err());
    });
}
