use std::time::Duration;

use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::body::RequestBody;

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
    let (pool, endpoint) = (Arc::new(Upstream::new()), server().await);
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
    let (pool, endpoint) = (Arc::new(Upstream::new()), server().await);
    used(&pool, &endpoint).await.release();
    pool.drop_pod(&endpoint.pod);
    assert!(pool.reuse(&endpoint, Risk::Repeatable).is_none());
    assert_eq!(pool.idle.load(Ordering::Relaxed), 0);
    pool.close().await;
}

#[tokio::test]
async fn what_can_be_sent_only_once_takes_a_connection_used_a_moment_ago() {
    let (pool, endpoint) = (Arc::new(Upstream::new()), server().await);
    used(&pool, &endpoint).await.release();
    tokio::time::pause();
    tokio::time::advance(FRESH_FOR + Duration::from_millis(1)).await;
    assert!(pool.reuse(&endpoint, Risk::Once).is_none());
    assert!(pool.reuse(&endpoint, Risk::Repeatable).is_some());
}

#[tokio::test]
async fn idle_connections_are_limited() {
    let (pool, endpoint) = (Arc::new(Upstream::new()), server().await);
    let mut all = Vec::new();
    for _ in 0..IDLE_PER_PORT + 5 {
        all.push(used(&pool, &endpoint).await);
    }
    all.into_iter().for_each(Connection::release);
    assert_eq!(pool.idle.load(Ordering::Relaxed), IDLE_PER_PORT);
}
