//! A namespace of the shared testbed, and words to speak with its API.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::DeleteParams;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use reveille_testbed::Testbed;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Far above what anything here takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

pub(crate) struct Bench<'a> {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    testbed: &'a Testbed,
    /// For containers, at the same path.
    pub(crate) shared: tempfile::TempDir,
}

impl Bench<'static> {
    pub(crate) async fn new(prefix: &str) -> Self {
        Self::on(Testbed::shared().await.unwrap(), prefix).await
    }
}

impl<'a> Bench<'a> {
    pub(crate) async fn on(testbed: &'a Testbed, prefix: &str) -> Self {
        Self {
            client: testbed.client().unwrap(),
            namespace: testbed.namespace(prefix).await.unwrap(),
            testbed,
            shared: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) async fn apply(&self, yaml: &str) {
        self.testbed.apply_in(&self.namespace, yaml).await.unwrap();
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        self.api()
    }

    pub(crate) async fn delete(&self, name: &str) {
        let deleted = self.pods().delete(name, &DeleteParams::default()).await;
        deleted.unwrap();
    }

    /// By force where it is 0 seconds.
    pub(crate) async fn delete_within(&self, name: &str, seconds: u32) {
        let params = DeleteParams::default().grace_period(seconds);
        self.pods().delete(name, &params).await.unwrap();
    }

    /// A file that containers write: `$SHARED/<name>`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.shared.path().join(name)
    }

    /// A pod that runs a shell script; `container` and `pod` are further lines of the two.
    pub(crate) fn shell(&self, name: &str, script: &str, container: &str, pod: &str) -> String {
        // Kubernetes makes one dollar of two.
        let script = serde_json::to_string(&script.replace('$', "$$")).unwrap();
        let shared = self.shared.path().display();
        format!(
            "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  {pod}
  containers:
  - name: main
    image: none
    command: [sh, -c, {script}]
    env: [{{name: SHARED, value: '{shared}'}}]
    {container}
"
        )
    }

    pub(crate) async fn ready(&self, name: &str) -> Pod {
        until(&self.pods(), name, "ready", |pod| {
            pod.filter(|pod| is_ready(pod)).cloned()
        })
        .await
    }

    pub(crate) async fn gone(&self, name: &str) {
        until(&self.pods(), name, "gone", |pod| {
            pod.is_none().then_some(())
        })
        .await;
    }
}

/// Watches one object until `look` sees it.
pub(crate) async fn until<K, T>(
    api: &Api<K>,
    name: &str,
    what: &str,
    mut look: impl FnMut(Option<&K>) -> Option<T>,
) -> T
where
    K: Resource + Clone + Serialize + DeserializeOwned + Debug + Send + 'static,
{
    let mut last = None;
    let wait = async {
        let mut objects = std::pin::pin!(watcher::watch_object(api.clone(), name));
        loop {
            // An API that is away comes back, or the deadline does.
            let Some(Ok(object)) = objects.next().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            if let Some(seen) = look(object.as_ref()) {
                return seen;
            }
            last = object;
        }
    };
    match tokio::time::timeout(DEADLINE, wait).await {
        Ok(seen) => seen,
        Err(_) => panic!(
            "{name} was not seen {what}; last: {}",
            serde_json::to_string(&last).unwrap()
        ),
    }
}

/// Waits for the content of a file.
pub(crate) async fn written(path: &Path, text: &str) -> String {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    let wait = async {
        while !read().contains(text) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(DEADLINE, wait).await.is_err() {
        panic!("{} never said {text:?}: {:?}", path.display(), read());
    }
    read()
}

/// Waits until nothing holds it any more.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.expect(what);
}

pub(crate) fn condition(pod: &Pod, kind: &str) -> Option<(bool, String)> {
    let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let found = conditions.find(|condition| condition.type_ == kind)?;
    Some((
        found.status == "True",
        found.reason.clone().unwrap_or_default(),
    ))
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|(on, _)| on)
}

pub(crate) fn phase(pod: &Pod) -> &str {
    let status = pod.status.as_ref();
    status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

pub(crate) fn ip(pod: &Pod) -> String {
    pod.status.clone().unwrap().pod_ip.unwrap()
}

/// The only container.
pub(crate) fn main_container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

pub(crate) fn exit_code(pod: &Pod) -> Option<i32> {
    let state = main_container(pod)?.state.as_ref()?;
    Some(state.terminated.as_ref()?.exit_code)
}

/// Whether a process lives.
pub(crate) fn is_alive(pid: &str) -> bool {
    assert!(pid.trim().parse::<u32>().is_ok(), "{pid:?}");
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// The body of an answer; `None` if nobody listens.
pub(crate) async fn get(host: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect((host, 8888)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    Some(body.to_owned())
}
