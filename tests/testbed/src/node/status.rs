//! Statuses of a pod on their way to the API: only changes, the latest one, in order.

use std::time::Duration;

use k8s_openapi::api::core::v1::{HostIP, Pod, PodStatus};
use kube::Api;
use kube::api::{Patch, PatchParams};
use reveille_lifecycle::local::Report;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::api::{MANAGER, insist};

/// Pause after a conflict.
const AFTER_CONFLICT: Duration = Duration::from_millis(100);

/// Where a board reports to, and what it reported last. The writer ends when the report is dropped.
pub(super) fn channel() -> (Report, watch::Receiver<Option<PodStatus>>) {
    let (tx, rx) = watch::channel(None);
    let report = move |status: &PodStatus, _: &[_]| {
        let status = ours(status);
        tx.send_if_modified(|last| {
            let changed = last.as_ref() != Some(&status);
            if changed {
                *last = Some(status);
            }
            changed
        });
    };
    (Box::new(report), rx)
}

/// Which pod a status is of.
pub(super) struct Target {
    pub(super) api: Api<Pod>,
    pub(super) name: String,
    pub(super) uid: String,
}

impl Target {
    /// Writes until the last status has been written, or until the pod is `gone`. What comes about
    /// during a write or an outage is written as one.
    pub(super) async fn write(
        &self,
        mut statuses: watch::Receiver<Option<PodStatus>>,
        slots: &Semaphore,
        gone: &CancellationToken,
    ) {
        while tokio::select! {
            biased; // nobody reads the status of what is gone
            () = gone.cancelled() => false,
            changed = statuses.changed() => changed.is_ok(),
        } {
            let Ok(_slot) = slots.acquire().await else {
                return;
            };
            let answer = insist("status of a pod", gone, || {
                // Again with each try: it may have changed since.
                let status = statuses.borrow_and_update().clone();
                self.patch(status)
            });
            match answer.await {
                Some(Ok(())) => {}
                Some(Err(failure)) if failure.code() == Some(404) => return,
                // Too many writers at once; or another pod of that name, of which the watch will tell.
                Some(Err(failure)) if failure.code() == Some(409) => {
                    statuses.mark_changed();
                    tokio::time::sleep(AFTER_CONFLICT).await;
                }
                Some(Err(failure)) => {
                    let pod = &self.name;
                    tracing::error!(%pod, %failure, "the API refuses the status of pod {pod}: {failure}");
                }
                None => return,
            }
        }
    }

    async fn patch(&self, status: Option<PodStatus>) -> Result<(), kube::Error> {
        let Some(status) = status else {
            return Ok(());
        };
        let mut status = serde_json::to_value(status).map_err(kube::Error::SerdeError)?;
        // The list is merged by address otherwise, and a pod of an earlier run of ours had another.
        if let Some(Value::Array(ips)) = status.get_mut("podIPs") {
            ips.insert(0, json!({"$patch": "replace"}));
        }
        let patch = Patch::Strategic(json!({"metadata": {"uid": self.uid}, "status": status}));
        let params = PatchParams::apply(MANAGER);
        self.api
            .patch_status(&self.name, &params, &patch)
            .await
            .map(|_| ())
    }
}

/// What a kubelet says, without what the scheduler does.
fn ours(status: &PodStatus) -> PodStatus {
    let mut status = status.clone();
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != "PodScheduled");
    }
    status.host_ips = status.host_ip.clone().map(|ip| vec![HostIP { ip }]);
    status
}
