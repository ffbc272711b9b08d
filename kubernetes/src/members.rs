//! Who is a member: the pods that match a selector and have a running container.
//!
//! A pod that is being deleted, or whose node is lost, is one for as long as a container of it may run: it
//! may still hold requests. A pod that ended, or has not begun, is none.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use reveille_crds::subject::activator_token;
use reveille_crds::trimmed;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::health::{Health, Reporter};
use crate::kind::{Head, Read, Reading};
use crate::reflect::{News, Reflection};

/// News between the watch and the list of names; a page is 500 of these.
const NEWS: usize = 64;

/// Keeps the names up to date until `shutdown`, and tells by `health` whether they are. Names are as activators report themselves
/// ([`activator_token`]), in order. Nothing is sent before the first list is whole, and nothing is taken
/// back while the API is away: whoever starts with an empty list has to know that it says nothing yet.
pub async fn follow(
    client: kube::Client,
    namespace: String,
    selector: String,
    names: watch::Sender<Vec<Arc<str>>>,
    health: watch::Sender<Health>,
    shutdown: CancellationToken,
) {
    let (news, arrivals) = mpsc::channel(NEWS);
    let what = format!("pods ({selector}) in {namespace}").into();
    let reporter = Reporter::new(what, health.clone());
    let reading = Reading {
        selector: Some(selector),
        key: |head| Some(Arc::from(head.name.as_str())),
        read,
    };
    let mut reflection = Reflection::new(client, reading, 0, news, reporter);
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let told = tell(arrivals, names, health);
    let watching = reflection.forever(&path, || ());
    let both = async {
        // Both go on without end; which is looked at first makes no difference.
        tokio::select! {
            () = told => {}
            never = watching => match never {},
        }
    };
    let _ = shutdown.run_until_cancelled(both).await;
}

type Name = Arc<str>;

fn read(json: &str) -> serde_json::Result<Read<bool>> {
    let pod = trimmed::pod(json)?;
    Ok((Head::from(&pod.metadata), Some(is_running(&pod))))
}

/// Whether a container runs, or may run as far as anybody can tell: a pod whose node is lost keeps the
/// state that its kubelet told last.
fn is_running(pod: &Pod) -> bool {
    let Some(status) = &pod.status else {
        return false;
    };
    let running = |container: &ContainerStatus| {
        let state = container.state.as_ref();
        state.is_some_and(|state| state.running.is_some())
    };
    status.container_statuses.iter().flatten().any(running)
}

async fn tell(
    mut arrivals: mpsc::Receiver<(usize, News<Name, bool>)>,
    names: watch::Sender<Vec<Name>>,
    health: watch::Sender<Health>,
) {
    let mut pods: BTreeMap<Name, bool> = BTreeMap::new();
    let mut listed = false;
    while let Some((_, news)) = arrivals.recv().await {
        match news {
            News::Present(name, running) => drop(pods.insert(name, running)),
            News::Gone(name) => drop(pods.remove(&name)),
            News::Listed => listed = true,
        }
        if !listed {
            continue;
        }
        let running = pods.iter().filter(|(_, running)| **running);
        let mut present: Vec<Name> = running
            .map(|(name, _)| activator_token(name).as_str().into())
            .collect();
        present.sort();
        names.send_if_modified(|names| {
            let news = *names != present;
            if news {
                *names = present;
            }
            news
        });
        // After the names: whoever finds them whole may believe them.
        health.send_if_modified(|health| !std::mem::replace(&mut health.synced, true));
    }
}
