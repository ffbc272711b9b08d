//! The routes, without a socket, and the bad starts.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use clap::Parser;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

/// A router in front of an agent that forgets.
fn agent(ready_at: Option<Instant>) -> Router {
    let (notebook, _writer) = Notebook::open(None).unwrap();
    let identity = Identity {
        name: "test".to_owned(),
        hostname: "host".to_owned(),
        started: "now".to_owned(),
    };
    let options = Options::try_parse_from(["agent", "--allow-execute"]).unwrap();
    router(
        &Agent::new(identity, notebook, ready_at, CancellationToken::new()),
        &options,
    )
}

async fn ask(
    router: &Router,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> (StatusCode, Value) {
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(body);
    let response = router.clone().oneshot(request.unwrap()).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn what_was_said_is_remembered_and_listed() {
    let router = agent(Some(Instant::now()));
    ask(
        &router,
        "POST",
        "/chat",
        Some(json!({"message": "my name is Ada"})),
    )
    .await;
    let (status, reply) = ask(
        &router,
        "POST",
        "/chat",
        Some(json!({"message": "who am I?"})),
    )
    .await;
    assert_eq!(
        (status, reply),
        (
            StatusCode::OK,
            json!({"reply": "You are Ada.", "turn": 2, "remembered": 2})
        )
    );
    let (_, history) = ask(&router, "GET", "/history?limit=1", None).await;
    assert_eq!(history[0]["message"], "who am I?");
    let (_, about) = ask(&router, "GET", "/", None).await;
    assert_eq!(
        (&about["remembered"], &about["last_message"]),
        (&json!(2), &json!("who am I?"))
    );
}

#[tokio::test]
async fn an_oversized_or_missing_message_is_refused() {
    let router = agent(None);
    let long = "a".repeat(65 * 1024);
    assert_eq!(
        ask(&router, "POST", "/chat", Some(json!({"message": long})))
            .await
            .0,
        StatusCode::BAD_REQUEST
    );
    assert!(
        ask(&router, "POST", "/chat", Some(json!({})))
            .await
            .0
            .is_client_error()
    );
    assert_eq!(
        ask(&router, "POST", "/busy", Some(json!({"seconds": -1})))
            .await
            .0,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn counts_are_numbered_by_value_and_by_arrival() {
    let router = agent(None);
    for number in 1..=3 {
        let (_, counted) = ask(&router, "POST", "/count", None).await;
        assert_eq!(counted, json!({"value": number, "order": number}));
    }
    assert_eq!(
        ask(&router, "GET", "/count", None).await.1,
        json!({"value": 3})
    );
}

#[tokio::test(start_paused = true)]
async fn background_work_makes_the_agent_busy_until_it_is_over() {
    let router = agent(None);
    let (status, answer) = ask(
        &router,
        "POST",
        "/work",
        Some(json!({"seconds": 10, "background": true})),
    )
    .await;
    assert_eq!(
        (status, answer),
        (StatusCode::ACCEPTED, json!({"busyForSeconds": 10}))
    );
    tokio::time::advance(Duration::from_millis(9_500)).await;
    assert_eq!(
        ask(&router, "GET", "/busy", None).await.1,
        json!({"busyForSeconds": 1})
    );
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(
        ask(&router, "GET", "/busy", None).await.1,
        json!({"busyForSeconds": 0})
    );
}

#[tokio::test(start_paused = true)]
async fn readiness_comes_late_or_never_where_asked() {
    let late = agent(Some(Instant::now() + Duration::from_secs(3)));
    assert_eq!(
        ask(&late, "GET", "/readyz", None).await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(ask(&late, "GET", "/readyz", None).await.0, StatusCode::OK);
    let never = agent(None);
    assert_eq!(
        ask(&never, "GET", "/readyz", None).await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(ask(&never, "GET", "/healthz", None).await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_upload_is_measured_and_an_echo_shows_the_raw_path() {
    let router = agent(None);
    let (_, uploaded) = ask(&router, "POST", "/upload", Some(json!("abc"))).await;
    let sha256 = "6cc43f858fbb763301637b5af970e2a46b46f461f27e5a0f41e009c59b827b25";
    assert_eq!(uploaded, json!({"bytes": 5, "sha256": sha256}));
    let (_, echo) = ask(&router, "DELETE", "/echo/a%2Fb//c?x=%20", None).await;
    assert_eq!(
        (&echo["method"], &echo["path"], &echo["query"]),
        (&json!("DELETE"), &json!("/echo/a%2Fb//c"), &json!("x=%20"))
    );
}

#[tokio::test]
async fn a_download_has_the_length_asked_for() {
    let request = Request::get("/download?bytes=100001")
        .body(Body::empty())
        .unwrap();
    let response = agent(None).oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-length"], "100001");
    assert_eq!(
        to_bytes(response.into_body(), 1 << 20).await.unwrap().len(),
        100_001
    );
}

#[tokio::test]
async fn events_are_numbered_and_end() {
    let request = Request::get("/events?n=2&interval_ms=1")
        .body(Body::empty())
        .unwrap();
    let response = agent(None).oneshot(request).await.unwrap();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    assert_eq!(body, "id: 1\ndata: test 1\n\nid: 2\ndata: test 2\n\n");
}

#[tokio::test]
async fn a_command_answers_as_the_runtime_api_does() {
    let command = json!({"command": "echo out; echo err >&2; exit 3"});
    let (_, output) = ask(&agent(None), "POST", "/execute", Some(command)).await;
    assert_eq!(
        output,
        json!({"stdout": "out\n", "stderr": "err\n", "exit_code": 3, "timed_out": false})
    );
}

#[test]
fn a_start_fails_as_often_as_asked_and_then_works() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let options =
        Options::try_parse_from(["example-agent", "--data", data, "--crash-on-start", "2"])
            .unwrap();
    let starts: Vec<bool> = (0..3).map(|_| crashes_now(&options).unwrap()).collect();
    assert_eq!(starts, [true, true, false]);
}

#[tokio::test]
async fn files_of_the_workspace_are_stored_listed_and_read_and_commands_run_there() {
    let folder = tempfile::tempdir().unwrap();
    let workspace = folder.path().join("workspace");
    std::fs::create_dir(&workspace).unwrap();
    std::fs::write(folder.path().join("secret"), "not yours").unwrap();
    let router = files::router(workspace.clone()).merge(execute::router(Some(workspace)));
    let form = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a/note.txt\"\r\n\r\nhello\r\n--b--\r\n";
    let upload = Request::post("/upload")
        .header("content-type", "multipart/form-data; boundary=b")
        .body(Body::from(form));
    let response = router.clone().oneshot(upload.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);

    let (_, listed) = ask(&router, "GET", "/list/a", None).await;
    assert_eq!(
        (&listed[0]["name"], &listed[0]["size"], &listed[0]["type"]),
        (&json!("note.txt"), &json!(5), &json!("file"))
    );
    let (_, exists) = ask(&router, "GET", "/exists/a%2Fnote.txt", None).await;
    assert_eq!(exists["exists"], true);
    let command = json!({"command": "cat a/note.txt"});
    let (_, ran) = ask(&router, "POST", "/execute", Some(command)).await;
    assert_eq!(
        (&ran["stdout"], &ran["timed_out"]),
        (&json!("hello"), &json!(false))
    );
    for path in [
        "/download/..%2Fsecret",
        "/list/%2Fetc",
        "/exists/..%2Fsecret",
    ] {
        let (status, _) = ask(&router, "GET", path, None).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
    }
    let (status, _) = ask(&router, "GET", "/download/none", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_command_past_its_limit_is_ended_and_said_to_be() {
    let endless = json!({"command": "sleep 1000", "timeout_seconds": 0.05});
    let (status, ran) = ask(&agent(None), "POST", "/execute", Some(endless)).await;
    assert_eq!(
        (status, &ran["timed_out"], &ran["exit_code"]),
        (StatusCode::OK, &json!(true), &json!(124))
    );
}
