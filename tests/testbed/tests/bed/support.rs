//! Waiting for events, looking at processes, and asking the API server by hand.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use http::Request;
use kube::Client;
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use tokio::time::{Instant, sleep, timeout};

/// Longest wait for anything. Generous: tests share a few cores with each other and with a compiler.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Looks until there is something to see.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        sleep(LOOK).await;
    }
}

/// Waits for a future, or fails the test and says what was waited for.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// `GET` of a path of the API server.
pub(crate) async fn get(client: &Client, path: &str) -> kube::Result<String> {
    let request = Request::get(path).body(Vec::new()).unwrap();
    client.request_text(request).await
}

/// The code of a refusal by the API server.
pub(crate) fn code<T: std::fmt::Debug>(answer: kube::Result<T>) -> u16 {
    match answer {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("not refused: {other:?}"),
    }
}

/// Upstream's kind.
pub(crate) fn sandboxes(client: &Client, namespace: &str) -> kube::Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("agents.x-k8s.io", "v1beta1", "Sandbox");
    let resource = ApiResource::from_gvk_with_plural(&gvk, "sandboxes");
    kube::Api::namespaced_with(client.clone(), namespace, &resource)
}

/// Whether a process lives; zombies don't.
pub(crate) fn lives(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    !matches!(state, Some('Z' | 'X'))
}

/// Ids of the living processes that belong to a testbed, by the folder in their environment.
pub(crate) fn belonging_to(dir: &Path) -> Vec<u32> {
    let wanted = format!("REVEILLE_TESTBED={}", dir.display());
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| lives(*pid))
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|all| {
                all.split(|byte| *byte == 0)
                    .any(|one| one == wanted.as_bytes())
            })
        })
        .collect()
}

/// Waits until nothing of a testbed is left: none of these processes, none that carries its mark, no folder.
pub(crate) async fn nothing_is_left(dir: &Path, pids: &[u32]) {
    until("the end of all processes", || async {
        let known = pids.iter().any(|pid| lives(*pid));
        (!known && belonging_to(dir).is_empty()).then_some(())
    })
    .await;
    until("the end of the folder", || async {
        (!dir.exists()).then_some(())
    })
    .await;
}
