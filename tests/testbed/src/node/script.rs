//! Pods without a process: phases and delays, as the pod's annotation has them.
//!
//! ```yaml
//! testbed.reveille.dev/script: |
//!   {"scheduledMs": 5, "runningMs": 20, "readyMs": 50, "terminateMs": 100}
//! ```
//! For tests that need thousands of pods, or one that fails in a certain way. Such a pod has an address
//! of its own, at which nobody listens.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ContainerStateTerminated;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use reveille_lifecycle::local::{Board, Slot, Stop};
use serde::Deserialize;

/// The annotation of pods that replay a script.
pub(super) const ANNOTATION: &str = "testbed.reveille.dev/script";

/// Exit code of a process that died of SIGKILL.
const KILLED: i32 = 137;

/// What such a pod does. Durations are milliseconds, each from the step before; all default to 0.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Script {
    /// From being bound to the node to its address.
    scheduled_ms: u64,
    /// From there to a running container.
    running_ms: u64,
    /// From there to Ready.
    ready_ms: u64,
    /// From its deletion to its end; its grace at the longest.
    terminate_ms: u64,
    /// Exit code when it is deleted; other than 0, the last phase is Failed.
    terminate_code: i32,
    /// Runs, and is never ready.
    never_ready: bool,
    /// Never runs, for this reason.
    fail: Option<Fault>,
    /// Ends by itself after it was ready.
    exit: Option<Exit>,
    /// As if the node were dead.
    pub(super) ignore: Option<Ignored>,
}

/// Why a container waits, and goes on waiting.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    /// `ImagePullBackOff`, `CrashLoopBackOff`, …
    reason: String,
    #[serde(default)]
    message: String,
}

/// An end that nobody asked for. The container stays ended, whatever the pod's restart policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Exit {
    code: i32,
    #[serde(default)]
    after_ms: u64,
}

/// What of a pod the node does not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Ignored {
    /// Anything: it stays Pending, and when deleted, Terminating.
    Pod,
    /// That it ended: it stays Terminating until it is deleted by force.
    Deletion,
}

impl Script {
    /// The script of a pod, if it has one.
    ///
    /// # Errors
    /// One sentence that says what is wrong with it.
    pub(super) fn of(annotations: &BTreeMap<String, String>) -> Result<Option<Self>, String> {
        let text = annotations.get(ANNOTATION);
        let script = text.map(|text| serde_json::from_str(text)).transpose();
        script.map_err(|error| format!("annotation {ANNOTATION}: {error}"))
    }

    /// Replays it until the pod is told to stop, and has stopped.
    pub(super) async fn play(&self, address: Ipv4Addr, board: &Board, stop: &Stop) {
        let began = Time(Timestamp::now());
        let started = tokio::select! {
            biased; // an end beats a start
            () = stop.begun() => false,
            started = self.start(address, board) => started,
        };
        if started && !stop.has_begun() {
            let exit = async {
                match &self.exit {
                    Some(exit) => {
                        wait(exit.after_ms).await;
                        exit.code
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased; // an end that was asked for is told as such
                () = stop.begun() => {}
                code = exit => return board.terminated(Slot::Main(0), ended(code, began)),
            }
        }
        stop.begun().await;
        let code = tokio::select! {
            biased; // an end in the last moment is an end
            () = wait(self.terminate_ms) => self.terminate_code,
            () = stop.overdue() => KILLED,
        };
        if started {
            board.terminated(Slot::Main(0), ended(code, began));
        }
    }

    /// Up to its last state; whether a container runs.
    async fn start(&self, address: Ipv4Addr, board: &Board) -> bool {
        wait(self.scheduled_ms).await;
        board.addressed(address, &[]);
        wait(self.running_ms).await;
        board.initialized();
        if let Some(Fault { reason, message }) = &self.fail {
            board.waiting(Slot::Main(0), reason, message.clone(), None);
            return false;
        }
        board.running(Slot::Main(0));
        wait(self.ready_ms).await;
        if self.never_ready {
            board.started(Slot::Main(0));
        } else {
            board.ready(Slot::Main(0), true);
        }
        true
    }
}

async fn wait(milliseconds: u64) {
    if milliseconds > 0 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}

fn ended(code: i32, began: Time) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: code,
        reason: Some(if code == 0 { "Completed" } else { "Error" }.to_owned()),
        started_at: Some(began),
        finished_at: Some(Time(Timestamp::now())),
        ..ContainerStateTerminated::default()
    }
}
