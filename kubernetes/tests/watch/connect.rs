//! Finding and reaching an API server.

use std::time::Duration;

use reveille_kubernetes::connect::{Error, Options, client, dead_after};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::bench::write_kubeconfig;

fn options(path: std::path::PathBuf) -> Options {
    Options {
        kubeconfig: Some(path),
        user_agent: "reveille-test/1".to_owned(),
    }
}

#[tokio::test]
async fn a_kubeconfig_says_where_and_a_request_says_who() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    write_kubeconfig(&path, &format!("http://{}", listener.local_addr().unwrap()));
    let (client, namespace) = client(options(path)).await.unwrap();
    assert_eq!(namespace, "home");
    let asking = tokio::spawn(async move { client.apiserver_version().await });
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut request = vec![0; 1024];
    let read = socket.read(&mut request).await.unwrap();
    let request = String::from_utf8_lossy(&request[..read]).to_lowercase();
    assert!(request.contains("user-agent: reveille-test/1"), "{request}");
    asking.abort();
}

#[tokio::test]
async fn a_kubeconfig_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let Err(error) = client(options(missing.clone())).await.map(|_| ()) else {
        panic!("there is no such file");
    };
    assert!(matches!(error, Error::Kubeconfig { .. }), "{error}");
    assert!(
        error.to_string().contains(missing.to_str().unwrap()),
        "{error}"
    );
    let garbage = folder.path().join("garbage");
    std::fs::write(&garbage, "clusters: 7").unwrap();
    assert!(client(options(garbage)).await.is_err());
}

#[tokio::test]
async fn a_proxy_that_would_be_passed_by_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    let text = r#"{"current-context": "it", "clusters": [{"name": "it", "cluster": {"server": "http://127.0.0.1:1",
        "proxy-url": "http://127.0.0.1:2"}}], "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "users": [{"name": "it", "user": {}}]}"#;
    std::fs::write(&path, text).unwrap();
    let Err(error) = client(options(path)).await.map(|_| ()) else {
        panic!("a proxy was passed by");
    };
    assert!(error.to_string().contains("proxy-url"), "{error}");
}

#[test]
fn a_dead_connection_is_noticed_before_a_gate_opens_that_was_shut_for_a_sleep() {
    assert!(dead_after() < Duration::from_secs(6));
}
