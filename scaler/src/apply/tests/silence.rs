//! An API server that is away, or that takes a request and never answers.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;

use reveille_crds::change::Hold;
use reveille_lifecycle::store::Store;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::super::{Change, Mark, Objects};
use super::*;

/// A client of whatever listens there, without TLS.
fn client_of(address: SocketAddr) -> kube::Client {
    let url = format!("http://{address}").parse().unwrap();
    let mut config = kube::Config::new(url);
    config.default_retry = false;
    kube::Client::try_from(config).unwrap()
}

fn wake() -> Change {
    Change::Mode(
        ModeChange {
            busy_until: None,
            key: SandboxKey::new("agents", "alice").unwrap(),
            uid: "uid".into(),
            epoch: 1,
            from: OperatingMode::Suspended,
            to: OperatingMode::Running,
            cause: "http",
        },
        None,
    )
}

#[tokio::test]
async fn a_refused_connection_is_certainly_no_write() {
    // Bound, and nobody listens.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = silent.local_addr().unwrap();
    let objects = Objects::Kubernetes(writer(client_of(address)));
    let refused =
        super::super::write(&objects, &wake(), Instant::now() + Duration::from_secs(5)).await;
    assert!(
        matches!(&refused, Err(Failure::Unavailable(why)) if why.contains("refused")),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up_at_the_deadline_and_the_write_counts_as_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hanging = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok(connection) = listener.accept().await {
            open.push(connection);
        }
    });
    let objects = Objects::Kubernetes(writer(client_of(address)));
    let (begun, limit) = (Instant::now(), Duration::from_secs(4));
    let lost = super::super::write(&objects, &wake(), Instant::now() + limit).await;
    assert!(matches!(lost, Err(Failure::Lost(_))), "{lost:?}");
    assert_eq!(begun.elapsed().as_secs(), 4);
    let key = SandboxKey::new("agents", "alice").unwrap();
    let pinned = Mark::Hold(Some(Hold::Awake));
    let hold = super::super::mark(&objects, &key, "uid", pinned, limit).await;
    assert!(matches!(hold, Err(Failure::Lost(_))), "{hold:?}");
    hanging.abort();
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_leaves_it_open_whether_it_was_done() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let breaking = tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            connection.readable().await.unwrap();
        }
    });
    let objects = Objects::Kubernetes(writer(client_of(address)));
    let lost =
        super::super::write(&objects, &wake(), Instant::now() + Duration::from_secs(20)).await;
    assert!(matches!(lost, Err(Failure::Lost(_))), "{lost:?}");
    breaking.abort();
}

#[tokio::test]
async fn the_server_is_told_the_time_that_is_left() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut text = Vec::new();
        while !text.windows(4).any(|end| end == b"\r\n\r\n") {
            let mut part = [0; 4096];
            let read = connection.read(&mut part).await.unwrap();
            text.extend_from_slice(&part[..read]);
        }
        let answer = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n";
        connection.write_all(answer).await.unwrap();
        String::from_utf8_lossy(&text).into_owned()
    });
    let objects = Objects::Kubernetes(writer(client_of(address)));
    let turned_away =
        super::super::write(&objects, &wake(), Instant::now() + Duration::from_secs(4)).await;
    assert!(
        matches!(turned_away, Err(Failure::Unavailable(_))),
        "{turned_away:?}"
    );
    let heard = heard.await.unwrap();
    let line = heard.lines().next().unwrap();
    assert!(
        line.starts_with("PATCH /apis/agents.x-k8s.io/v1beta1/namespaces/agents/sandboxes/alice?"),
        "{line}"
    );
    assert!(line.contains("fieldManager=reveille-scaler"), "{line}");
    let left = line
        .split("timeout=")
        .nth(1)
        .unwrap()
        .split("ms")
        .next()
        .unwrap();
    let left: u64 = left.parse().unwrap();
    assert!((1..=2000).contains(&left), "{line}");
}

/// Answers requests in this order, whatever they are; nothing: never. What was asked is handed over.
async fn play(answers: Vec<Option<(u16, Value)>>) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, questions) = mpsc::unbounded_channel();
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let (asked, answers) = (asked.clone(), Arc::clone(&answers));
            let service = service_fn(move |request: Request<Incoming>| {
                let (asked, answers) = (asked.clone(), Arc::clone(&answers));
                async move {
                    let method = request.method().clone();
                    let body = request.into_body().collect().await?.to_bytes();
                    let _ = asked.send(format!("{method} {}", String::from_utf8_lossy(&body)));
                    let answer = answers.lock().next().flatten();
                    let Some((status, body)) = answer else {
                        return std::future::pending().await;
                    };
                    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
                    *response.status_mut() = StatusCode::from_u16(status).unwrap();
                    Ok::<_, hyper::Error>(response)
                }
            });
            let serving = http1::Builder::new().serve_connection(TokioIo::new(connection), service);
            tokio::spawn(async move { drop(serving.await) });
        }
    });
    (address, questions)
}

fn sleep_of(name: &str) -> Change {
    Change::Mode(
        ModeChange {
            busy_until: None,
            key: SandboxKey::new("agents", name).unwrap(),
            uid: "uid".into(),
            epoch: 3,
            from: OperatingMode::Running,
            to: OperatingMode::Suspended,
            cause: "idle",
        },
        None,
    )
}

fn seen(epoch: &str, mode: &str) -> Value {
    json!({
        "metadata": {"uid": "uid", "annotations": {"reveille.dev/epoch": epoch}},
        "spec": {"operatingMode": mode},
    })
}

async fn put_to_sleep(answers: Vec<Option<(u16, Value)>>) -> Result<u64, Failure> {
    let (address, _questions) = play(answers).await;
    let objects = Objects::Kubernetes(writer(client_of(address)));
    let until = Instant::now() + Duration::from_secs(6);
    super::super::write(&objects, &sleep_of("alice"), until).await
}

#[tokio::test]
async fn a_sleep_without_an_answer_is_made_sure_not_to_be_done() {
    let (address, mut questions) = play(vec![None, Some((200, json!({})))]).await;
    let objects = Objects::Kubernetes(writer(client_of(address)));
    let until = Instant::now() + Duration::from_secs(6);
    let fenced = super::super::write(&objects, &sleep_of("alice"), until).await;
    assert!(matches!(fenced, Err(Failure::Conflict(_))), "{fenced:?}");
    assert!(questions.recv().await.unwrap().contains("Suspended"));
    let keep = questions.recv().await.unwrap();
    assert!(!keep.contains("Suspended"), "{keep}");
    for part in ["\"uid\"", "\"3\"", "\"4\"", "\"Running\""] {
        assert!(keep.contains(part), "{part} in {keep}");
    }
}

#[tokio::test]
async fn a_sleep_whose_answer_was_lost_is_found_done() {
    let refused = (422, json!({"kind": "Status", "code": 422}));
    let done = Some((200, seen("4", "Suspended")));
    assert_eq!(
        put_to_sleep(vec![None, Some(refused.clone()), done]).await,
        Ok(4)
    );
    let woken_since = Some((200, seen("5", "Running")));
    let moved_on = put_to_sleep(vec![None, Some(refused.clone()), woken_since]).await;
    assert!(matches!(moved_on, Err(Failure::Lost(_))), "{moved_on:?}");
    let unfenced = Some((200, seen("3", "Running")));
    let open = put_to_sleep(vec![None, Some(refused), unfenced]).await;
    assert!(matches!(open, Err(Failure::Lost(_))), "{open:?}");
    let silent = put_to_sleep(vec![None, None]).await;
    assert!(matches!(silent, Err(Failure::Lost(_))), "{silent:?}");
}

#[tokio::test]
async fn a_server_that_was_away_may_not_know_our_rights_yet() {
    let forbidden = |why: &str| {
        let message = format!("sandboxes \"alice\" is forbidden: {why}");
        Some((
            403,
            json!({"kind": "Status", "code": 403, "reason": "Forbidden", "message": message}),
        ))
    };
    let rights = forbidden("User \"reveille\" cannot patch resource \"sandboxes\"");
    let (address, _questions) = play(vec![
        rights.clone(),
        Some((
            503,
            json!({"kind": "Status", "code": 503, "message": "starting"}),
        )),
        rights,
        forbidden("not on my watch"),
    ])
    .await;
    let objects = Objects::Kubernetes(writer(client_of(address)));
    let mut answers = Vec::new();
    for _ in 0..4 {
        let until = Instant::now() + Duration::from_secs(5);
        answers.push(super::super::write(&objects, &wake(), until).await);
    }
    assert!(matches!(answers[0], Err(Failure::Denied(_))), "{answers:?}");
    assert!(matches!(answers[1], Err(Failure::Lost(_))), "{answers:?}");
    assert!(
        matches!(answers[2], Err(Failure::Unavailable(_))),
        "{answers:?}"
    );
    assert!(matches!(answers[3], Err(Failure::Denied(_))), "{answers:?}");
}

#[tokio::test]
async fn in_memory_nothing_is_published_and_nothing_left_over() {
    let objects = Objects::Memory(Store::new());
    assert!(!objects.has_events());
    let gone =
        super::super::write(&objects, &wake(), Instant::now() + Duration::from_secs(1)).await;
    assert!(matches!(gone, Err(Failure::NotFound(_))), "{gone:?}");
}

#[tokio::test]
async fn a_write_that_comes_to_its_turn_too_late_is_not_begun() {
    let objects = Objects::Memory(Store::new());
    let late = super::super::write(&objects, &wake(), Instant::now()).await;
    assert!(matches!(late, Err(Failure::Unavailable(_))), "{late:?}");
}
