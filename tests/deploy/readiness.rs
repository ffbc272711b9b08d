//! When an activator says that it is ready.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::child::ask;
use crate::support::parts::Parts;
use crate::support::{PATIENCE, bed, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_activator_is_ready_once_settled_until_it_is_told_to_stop() {
    let bed = bed().await;
    let namespace = bed.namespace("ready").await.unwrap();
    // It says where it listens only once it serves, and this is about what comes before.
    // Bound and not listening: nobody else gets the port, and with SO_REUSEADDR on both it can have it.
    let held = TcpSocket::new_v4().unwrap();
    held.set_reuseaddr(true).unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let admin = held.local_addr().unwrap();
    let address = admin.to_string();
    let flags = ["--settle", "8s", "--listen", "127.0.0.1:0"];
    let flags = [&flags[..], &["--admin", &address]].concat();
    let mut activator = Parts::reveille(bed, "activator", &namespace, None, &flags).await;

    let settling = async || {
        let _ = TcpStream::connect(admin).await.ok()?;
        let (status, answer) = ask(admin, "/readyz", "").await;
        assert_eq!(status, 503, "ready before it has settled: {answer}");
        answer.contains("settling").then_some(())
    };
    until("the settling", settling).await;
    let listen = activator.address("listen").await;
    assert_eq!(ask(admin, "/readyz", "").await.0, 200);

    // A client that has said half of its request keeps the activator from ending at once.
    let mut client = TcpStream::connect(listen).await.unwrap();
    client
        .write_all(b"GET /healthz HTTP/1.1\r\n")
        .await
        .unwrap();
    // The other half is read before it is told to stop, since it is answered.
    assert_eq!(ask(listen, "/healthz", "").await.0, 200);
    activator.terminate();
    until("the end of readiness", async || {
        let (status, answer) = ask(admin, "/readyz", "").await;
        (status == 503 && answer.contains("stopping")).then_some(())
    })
    .await;
    client
        .write_all(b"host: any\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    let read = client.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(activator.ended().await.success());
    assert!(TcpStream::connect(listen).await.is_err());
}
