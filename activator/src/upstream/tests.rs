use std::time::Duration;

use http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::body::RequestBody;
use crate::server::Tasks;

/// A server that answers every request of every connection with 204.
async fn server() -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    stream
                        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                        .await
                        .unwrap();
                }
            });
        }
    });
    Endpoint {
        pod: "pod-1".into(),
        address,
        h2c: false,
        silence: Duration::ZERO,
        young_until: None,
    }
}

async fn used(pool: &Arc<Upstream>, endpoint: &Endpoint) -> Connection {
    let mut connection = pool.open(endpoint, false).await.unwrap();
    let Ok(response) = connection.send(Request::new(RequestBody::empty())).await else {
        panic!("no response");
    };
    assert_eq!(response.status(), 204);
    connection
}

#[tokio::test]
async fn a_released_connection_is_reused_by_the_same_pod_and_port_only() {
    let (pool, endpoint) = (Arc::new(Upstream::new(Gauge::default())), server().await);
    used(&pool, &endpoint).await.release();
    let heir = Endpoint {
        pod: "pod-2".into(),
        ..endpoint.clone()
    };
    assert!(
        pool.reuse(&heir, Risk::Repeatable).is_none(),
        "an address outlives its pod"
    );
    let other_port = Endpoint {
        address: ([127, 0, 0, 1], 1).into(),
        ..endpoint.clone()
    };
    assert!(pool.reuse(&other_port, Risk::Repeatable).is_none());
    let connection = pool.reuse(&endpoint, Risk::Once).unwrap();
    assert_eq!(connection.opened_in(), None);
    assert!(
        pool.reuse(&endpoint, Risk::Repeatable).is_none(),
        "it was taken"
    );
    drop(connection);
    assert_eq!(pool.idle.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn the_connections_of_a_pod_that_is_gone_go_with_it() {
    let (pool, endpoint) = (Arc::new(Upstream::new(Gauge::default())), server().await);
    used(&pool, &endpoint).await.release();
    pool.drop_pod(&endpoint.pod);
    assert!(pool.reuse(&endpoint, Risk::Repeatable).is_none());
    assert_eq!(pool.idle.load(Ordering::Relaxed), 0);
    pool.close().await;
}

#[tokio::test]
async fn what_can_be_sent_only_once_takes_a_connection_used_a_moment_ago() {
    let (pool, endpoint) = (Arc::new(Upstream::new(Gauge::default())), server().await);
    used(&pool, &endpoint).await.release();
    tokio::time::pause();
    tokio::time::advance(FRESH_FOR + Duration::from_millis(1)).await;
    assert!(pool.reuse(&endpoint, Risk::Once).is_none());
    assert!(pool.reuse(&endpoint, Risk::Repeatable).is_some());
}

#[tokio::test]
async fn idle_connections_are_limited() {
    let (pool, endpoint) = (Arc::new(Upstream::new(Gauge::default())), server().await);
    let mut all = Vec::new();
    for _ in 0..IDLE_PER_PORT + 5 {
        all.push(used(&pool, &endpoint).await);
    }
    all.into_iter().for_each(Connection::release);
    assert_eq!(pool.idle.load(Ordering::Relaxed), IDLE_PER_PORT);
}

/// A server that accepts, and answers nothing.
async fn mute(h2c: bool) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    Endpoint {
        pod: "pod-1".into(),
        address,
        h2c,
        silence: Duration::ZERO,
        young_until: None,
    }
}

#[tokio::test]
async fn what_waits_for_a_pod_that_is_gone_ends_with_its_grace() {
    for h2c in [false, true] {
        let (pool, endpoint) = (Arc::new(Upstream::new(Gauge::default())), mute(h2c).await);
        let mut connection = pool.open(&endpoint, false).await.unwrap();
        let other = Arc::from("pod-2");
        let sending = connection.send(Request::new(RequestBody::empty()));
        tokio::time::pause();
        let began = Instant::now();
        let grace = Duration::from_secs(30);
        pool.leave(&other, Duration::ZERO);
        pool.leave(&endpoint.pod, grace);
        assert!(sending.await.is_err(), "h2c {h2c}");
        let took = began.elapsed();
        let around = grace..grace + Duration::from_secs(10);
        assert!(around.contains(&took), "{took:?}, h2c {h2c}");
        let life = Arc::downgrade(connection.life());
        drop(connection);
        tokio::time::resume();
        tokio::time::timeout(Duration::from_secs(20), pool.close())
            .await
            .unwrap();
        assert_eq!(
            life.strong_count(),
            0,
            "nothing is kept of a pod without connections"
        );
    }
}

#[tokio::test]
async fn a_connection_of_h2_that_left_a_request_unanswered_gets_no_other() {
    let (pool, endpoint) = (Arc::new(Upstream::new(Gauge::default())), mute(true).await);
    let connection = pool.open(&endpoint, false).await.unwrap();
    assert!(pool.reuse(&endpoint, Risk::Once).is_some());
    connection.retire();
    assert!(pool.reuse(&endpoint, Risk::Repeatable).is_none());
    assert_eq!(pool.idle.load(Ordering::Relaxed), 0);
    drop(pool.open(&endpoint, false).await.unwrap());
    assert!(pool.reuse(&endpoint, Risk::Once).is_some(), "a new one");
}

#[tokio::test]
async fn a_connection_of_h2_carries_as_many_exchanges_as_its_server_allows() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(|_| async {
                let body = http_body_util::Empty::<bytes::Bytes>::new();
                Ok::<_, std::convert::Infallible>(http::Response::new(body))
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .max_concurrent_streams(2)
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    let endpoint = Endpoint {
        address,
        ..mute(true).await
    };
    let pool = Arc::new(Upstream::new(Gauge::default()));
    let mut first = pool.open(&endpoint, false).await.unwrap();
    // Its answer comes after the server's settings, and the next request is sent by them.
    assert!(first.send(Request::new(RequestBody::empty())).await.is_ok());
    let mut second = pool.reuse(&endpoint, Risk::Once).unwrap();
    assert!(
        second
            .send(Request::new(RequestBody::empty()))
            .await
            .is_ok()
    );
    assert!(
        pool.reuse(&endpoint, Risk::Once).is_none(),
        "two are all it allows"
    );
    let third = pool.open(&endpoint, false).await.unwrap();
    assert_eq!(
        pool.idle.load(Ordering::Relaxed),
        2,
        "both are known to the pool"
    );
    drop((first, second));
    assert!(pool.reuse(&endpoint, Risk::Once).is_some());
    drop(third);
}

#[tokio::test]
async fn ports_of_one_pod_that_speak_h2_are_asked_in_http1_too() {
    let (pool, endpoint) = (Arc::new(Upstream::new(Gauge::default())), server().await);
    used(&pool, &endpoint).await.release();
    let h2 = Endpoint {
        h2c: true,
        ..endpoint.clone()
    };
    assert!(pool.reuse(&h2, Risk::Once).is_none());
    assert!(pool.reuse(&endpoint, Risk::Once).is_some());
}

#[tokio::test]
async fn a_server_that_speaks_first_is_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        heard
    });
    let stream = dial(address, None).await.unwrap();
    let mut sender = Sender::http1(stream, &Arc::default(), Counted::on(&Gauge::default()));
    while !sender.is_closed() {
        tokio::task::yield_now().await;
    }
    let Sender::Http1(mut http1) = sender else {
        panic!("HTTP/1.1 was asked for");
    };
    let sent = http1.send(Request::new(RequestBody::empty())).await;
    let unanswered = sent.err().unwrap();
    assert!(unanswered.unsent.is_some());
    assert!(matches!(unanswered.error, Broken::Unasked));
    drop(http1);
    assert!(served.await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_answers_no_ping_ends_its_exchanges() {
    let (mine, mut theirs) = tokio::io::duplex(64 * 1024);
    let (life, counted) = (Arc::default(), Counted::on(&Gauge::default()));
    let Sender::Http2(mut sender) = Sender::http2(mine, &life, &Tasks::new(), counted)
        .await
        .unwrap()
    else {
        panic!("h2 was asked for");
    };
    // SETTINGS, and the confirmation of the client's; then nothing more.
    let settings = [[0, 0, 0, 4, 0, 0, 0, 0, 0], [0, 0, 0, 4, 1, 0, 0, 0, 0]].concat();
    theirs.write_all(&settings).await.unwrap();
    let mut request = Request::new(RequestBody::empty());
    *request.uri_mut() = "http://sandbox/".parse().unwrap();
    let began = Instant::now();
    let sending = sender.sender().send_request(request);
    let within = Duration::from_secs(3600);
    assert!(
        tokio::time::timeout(within, sending)
            .await
            .unwrap()
            .is_err()
    );
    assert!(
        began.elapsed() > Duration::from_secs(600),
        "{:?}",
        began.elapsed()
    );
}
