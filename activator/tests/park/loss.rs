//! The whole activator while its NATS server is away.

use std::net::SocketAddr;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use reveille_activator::{Carrier, Config, Metrics, Watch, nats};
use reveille_crds::SandboxKey;
use reveille_crds::change::{Change, PodFacts, SandboxFacts};
use reveille_crds::message::{ToActivator, ToScaler};
use reveille_crds::sandbox::OperatingMode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::PATIENCE;
use crate::carrier::{everything, next, say};
use crate::server::Server;

/// An agent that answers every connection once.
async fn agent(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut head = [0; 4096];
            if stream.read(&mut head).await.unwrap_or(0) > 0 {
                let answer =
                    b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
                stream.write_all(answer).await.unwrap();
            }
        });
    }
}

fn sandbox(name: &str, mode: OperatingMode) -> Change {
    let facts = SandboxFacts {
        uid: format!("uid-{name}").into(),
        mode,
        epoch: 1,
        ..SandboxFacts::default()
    };
    Change::Sandbox(
        SandboxKey::new("agents", name).unwrap(),
        Some(Arc::new(facts)),
    )
}

fn pod(name: &str, address: SocketAddr) -> Change {
    let facts = PodFacts {
        uid: format!("pod-{name}").into(),
        sandbox: name.into(),
        sandbox_uid: format!("uid-{name}").into(),
        ip: Some(address.ip()),
        ports: Some(Box::new([(8888, address.port())])),
        ready: true,
        ..PodFacts::default()
    };
    Change::Pod(
        SandboxKey::new("agents", name).unwrap(),
        Some(Arc::new(facts)),
    )
}

async fn get(address: SocketAddr, name: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {name}.agents.sandbox.localhost\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("an answer in time")
        .unwrap();
    answer
}

/// An activator with `bob` awake and `alice` asleep, its carrier over that server.
async fn activator(
    server: &Server,
    tasks: &mut JoinSet<()>,
) -> (SocketAddr, watch::Receiver<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let agents = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (changes_tx, changes) = mpsc::channel(16);
    for change in [
        sandbox("alice", OperatingMode::Suspended),
        sandbox("bob", OperatingMode::Running),
        pod("bob", agents.local_addr().unwrap()),
        Change::Synced,
    ] {
        changes_tx.send(change).await.unwrap();
    }
    tasks.spawn(agent(agents));
    let (to_scaler, rx) = mpsc::channel(64);
    let (tx, from_scaler) = mpsc::channel(64);
    let (link_tx, link) = watch::channel(false);
    let shutdown = CancellationToken::new();
    let (client, connection) = server.connect_counted().await;
    tasks.spawn(nats::carry(
        client,
        connection,
        "one".into(),
        rx,
        tx,
        link_tx,
        shutdown.clone(),
    ));
    let carrier = Carrier {
        to_scaler,
        from_scaler,
        link: link.clone(),
    };
    let metrics = Metrics::register(&mut Registry::default());
    let mut config = Config {
        name: "one".to_owned(),
        ..Config::default()
    };
    config.unmanaged.max_wait = std::time::Duration::from_secs(3);
    tasks.spawn(async move {
        // The watch lasts as long as the activator.
        let _watch = changes_tx;
        let serving = watch::channel(false).0;
        let current = watch::channel(true).1;
        let watch = Watch { changes, current };
        reveille_activator::run(config, listener, watch, carrier, metrics, serving, shutdown)
            .await
            .unwrap();
    });
    (address, link)
}

#[tokio::test]
async fn a_lost_carrier_leaves_warm_traffic_alone_tells_who_waits_and_heals() {
    let mut tasks = JoinSet::new();
    let server = Server::start().await;
    let (address, mut link) = activator(&server, &mut tasks).await;
    tokio::time::timeout(PATIENCE, link.wait_for(|up| *up))
        .await
        .unwrap()
        .unwrap();
    assert!(get(address, "bob").await.starts_with("HTTP/1.1 200"));

    let port = server.port.clone();
    drop(server);
    tokio::time::timeout(PATIENCE, link.wait_for(|up| !*up))
        .await
        .unwrap()
        .unwrap();
    assert!(
        get(address, "bob").await.ends_with("hello"),
        "what is awake is served"
    );
    let refused = get(address, "alice").await;
    // Not the 504 of who has waited for nothing.
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(
        refused.to_lowercase().contains("retry-after: "),
        "{refused}"
    );

    let server = Server::start_on(port).await;
    let scaler = server.connect().await;
    let mut heard = everything(&scaler).await;
    // As a scaler that is back: either the activator is back already and hears it, or its own full
    // report is still to come.
    say(&scaler, &ToActivator::Sync).await;
    let (mut full, mut woke) = (false, false);
    tasks.spawn(async move {
        // The back-off after the failure is over by the second or third time.
        loop {
            drop(get(address, "alice").await);
        }
    });
    let healed = async {
        while !(full && woke) {
            match next(&mut heard).await {
                ToScaler::Activity(report) => full |= report.full,
                ToScaler::Wake(wake) => woke |= wake.key.name() == "alice",
                _ => {}
            }
        }
    };
    let outcome = tokio::time::timeout(PATIENCE, healed).await;
    assert!(outcome.is_ok(), "full report: {full}, wake: {woke}");
    tasks.shutdown().await;
}
