//! How a pod that comes up shows that it answers.

use reveille_crds::change::Probe;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

#[tokio::test]
async fn a_pod_is_probed_as_its_readiness_probe_says() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = local_pod("alice", 2, listener.local_addr().unwrap());
    let mut world = World::asleep();
    let client = world.client("alice");
    world.heard_wake().await;
    let headers: Arc<[(String, String)]> = Arc::new([("X-Probe".to_owned(), "yes".to_owned())]);
    let probe = Probe::Http {
        port: PORT,
        path: "/ready?deep=1".into(),
        headers,
        timeout: PATIENCE,
    };
    world.sandbox("alice", 2, OperatingMode::Running);
    world.pod(
        "alice",
        2,
        &PodFacts {
            probe: Some(probe),
            ..local
        },
    );
    for status in ["503 Service Unavailable", "204 No Content"] {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 1024];
        let n = stream.read(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..n]).to_lowercase();
        assert!(
            head.starts_with("get /ready?deep=1 http/1.1\r\n") && head.contains("x-probe: yes\r\n")
        );
        assert!(!client.is_finished());
        stream
            .write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes())
            .await
            .unwrap();
    }
    assert!(answer(client).await.is_ok());
}

#[tokio::test]
async fn a_pod_without_a_probe_is_up_when_the_asked_port_accepts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = local_pod("alice", 2, listener.local_addr().unwrap());
    let mut world = World::asleep();
    let client = world.client("alice");
    world.heard_wake().await;
    world.sandbox("alice", 2, OperatingMode::Running);
    world.pod("alice", 2, &local);
    let admission = answer(client).await.unwrap();
    assert_eq!(admission.endpoint.address, listener.local_addr().unwrap());
}

#[tokio::test]
async fn a_wrong_port_asked_first_does_not_hold_up_the_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = listener.local_addr().unwrap();
    let (_silent, closed) = silent();
    let mut world = World::asleep();
    let first = world.client("alice");
    assert_eq!(world.heard_wake().await.port, Some(PORT));
    let (activator, slot) = (Arc::clone(&world.activator), world.slot("alice"));
    let second = tokio::spawn(async move {
        let activity = slot.begin();
        activator.parking.endpoint(&activity, 9000, None).await
    });
    let ports: Box<[(u16, u16)]> = Box::new([(PORT, closed.port()), (9000, open.port())]);
    world.sandbox("alice", 2, OperatingMode::Running);
    world.pod(
        "alice",
        2,
        &PodFacts {
            ready: true,
            ports: Some(ports),
            ..local_pod("alice", 2, open)
        },
    );
    assert_eq!(answer(second).await.unwrap().endpoint.address, open);
    assert!(answer(first).await.is_ok(), "its dial goes on by itself");
}

#[tokio::test]
async fn a_pod_that_is_ready_without_a_probe_keeps_requests_parked_until_its_port_accepts() {
    let (socket, address) = silent();
    let mut world = World::asleep();
    let client = world.client("alice");
    world.heard_wake().await;
    world.sandbox("alice", 2, OperatingMode::Running);
    let ready = PodFacts {
        ready: true,
        ..local_pod("alice", 2, address)
    };
    world.pod("alice", 2, &ready);
    assert!(
        matches!(world.heard().await, ToScaler::Wake(_)),
        "it asks on, nothing was found to answer"
    );
    assert!(!client.is_finished());
    let _listener = socket.listen(16).unwrap();
    assert!(answer(client).await.is_ok());
}

#[tokio::test]
async fn a_port_that_a_pod_does_not_declare_is_told_at_once() {
    let mut world = World::asleep();
    let client = world.client("alice");
    world.heard_wake().await;
    world.sandbox("alice", 2, OperatingMode::Running);
    let (ip, ports) = (
        Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Some(Box::from([(1, 1)])),
    );
    world.pod(
        "alice",
        2,
        &PodFacts {
            ip,
            ports,
            probe: None,
            ..pod("alice", 2)
        },
    );
    let (port, declared) = (8888, [1].into());
    assert_eq!(
        refusal(client).await,
        Refusal::PortNotDeclared { port, declared }
    );
}

#[tokio::test]
async fn a_port_that_a_sandbox_cannot_have_wakes_nothing() {
    let mut world = World::new();
    let asleep = SandboxFacts {
        ports: Some([1, 2].into()),
        ..sandbox("alice", 1, OperatingMode::Suspended)
    };
    let change = Change::Sandbox(key("alice"), Some(Arc::new(asleep)));
    world.projector.apply(change);
    let (port, declared) = (PORT, [1, 2].into());
    assert_eq!(
        refusal(world.client("alice")).await,
        Refusal::PortNotDeclared { port, declared }
    );
    assert!(world.slot("alice").turn().is_none(), "nobody is woken");
}

#[tokio::test]
async fn a_grpc_probe_is_a_health_check_that_says_serving() {
    use http::{HeaderMap, HeaderValue, Response};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = local_pod("alice", 2, listener.local_addr().unwrap());
    let mut world = World::asleep();
    let client = world.client("alice");
    world.heard_wake().await;
    let probe = Probe::Grpc {
        port: PORT,
        service: "agent".into(),
        timeout: PATIENCE,
    };
    world.sandbox("alice", 2, OperatingMode::Running);
    world.pod(
        "alice",
        2,
        &PodFacts {
            probe: Some(probe),
            ..local
        },
    );
    // Not serving yet, then serving.
    for status in [2, 1] {
        let (stream, _) = listener.accept().await.unwrap();
        assert!(!client.is_finished());
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        assert_eq!(request.uri().path(), reveille_crds::health::PATH);
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        let answer = vec![0, 0, 0, 0, 2, 8, status];
        stream.send_data(answer.into(), false).unwrap();
        let ok = (
            "grpc-status".parse().unwrap(),
            HeaderValue::from_static("0"),
        );
        stream.send_trailers(HeaderMap::from_iter([ok])).unwrap();
        // The prober hangs up once it has the answer.
        while connection.accept().await.is_some() {}
    }
    assert!(answer(client).await.is_ok());
}
