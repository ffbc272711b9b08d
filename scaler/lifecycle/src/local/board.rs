//! The status of one pod, as a kubelet would set it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, Pod, PodCondition, PodIP, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;
use reveille_crds::SandboxKey;
use reveille_crds::names::annotation;
use tokio_util::sync::CancellationToken;

use super::environment::{HOST, PortMap};
use crate::store::Store;

/// Which container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Init(usize),
    Main(usize),
}

/// Keeps the containers' states and writes the pod's status with each change.
pub(super) struct Board {
    store: Store,
    key: SandboxKey,
    uid: String,
    state: Mutex<State>,
    /// Cancelled when the pod is ready for the first time.
    first_ready: CancellationToken,
}

struct State {
    init: Vec<ContainerStatus>,
    main: Vec<ContainerStatus>,
    /// Sidecars count for readiness, other init containers do not.
    sidecars: Vec<bool>,
    initialized: bool,
    init_failed: bool,
    ports: Option<String>,
}

impl Board {
    pub(super) fn new(store: Store, key: SandboxKey, uid: String, spec: &PodSpec) -> Self {
        let init = spec.init_containers.as_deref().unwrap_or_default();
        let reason = if init.is_empty() {
            "ContainerCreating"
        } else {
            "PodInitializing"
        };
        let state = State {
            init: init
                .iter()
                .map(|container| status(container, "PodInitializing"))
                .collect(),
            main: spec
                .containers
                .iter()
                .map(|container| status(container, reason))
                .collect(),
            sidecars: init
                .iter()
                .map(|container| container.restart_policy.is_some())
                .collect(),
            initialized: false,
            init_failed: false,
            ports: None,
        };
        Self {
            store,
            key,
            uid,
            state: Mutex::new(state),
            first_ready: CancellationToken::new(),
        }
    }

    pub(super) const fn first_ready(&self) -> &CancellationToken {
        &self.first_ready
    }

    pub(super) fn running(&self, slot: Slot) {
        self.change(slot, |status| {
            let running = ContainerStateRunning {
                started_at: Some(Time(Timestamp::now())),
            };
            status.state = Some(ContainerState {
                running: Some(running),
                ..ContainerState::default()
            });
            status.ready = false;
            status.started = Some(false);
        });
    }

    pub(super) fn started(&self, slot: Slot) {
        self.change(slot, |status| status.started = Some(true));
    }

    pub(super) fn ready(&self, slot: Slot, ready: bool) {
        self.change(slot, |status| {
            status.started = Some(true);
            status.ready = ready;
        });
    }

    /// It waits for its next start; `ended` tells of its last run, if it had one.
    pub(super) fn waiting(
        &self,
        slot: Slot,
        reason: &str,
        message: String,
        ended: Option<ContainerStateTerminated>,
    ) {
        self.change(slot, |status| {
            status.state = Some(waiting(reason, Some(message)));
            status.ready = false;
            status.started = Some(false);
            last(status, ended);
        });
    }

    /// It ended, and is started again at once.
    pub(super) fn restarting(&self, slot: Slot, ended: ContainerStateTerminated) {
        self.change(slot, |status| last(status, Some(ended)));
    }

    /// It ended for good.
    pub(super) fn terminated(&self, slot: Slot, ended: ContainerStateTerminated) {
        self.change(slot, |status| {
            status.state = Some(ContainerState {
                terminated: Some(ended),
                ..ContainerState::default()
            });
            // A finished init container is ready, as the kubelet has it.
            status.ready = matches!(slot, Slot::Init(_)) && status_code(status) == Some(0);
            status.started = Some(false);
        });
    }

    /// No container can start, for a reason of the whole pod.
    pub(super) fn cannot_start(&self, message: &str) {
        self.write(|state| {
            for status in state.init.iter_mut().chain(&mut state.main) {
                status.state = Some(waiting(
                    "CreateContainerConfigError",
                    Some(message.to_owned()),
                ));
            }
        });
    }

    /// An init container failed and is not started again.
    pub(super) fn init_failed(&self) {
        self.write(|state| state.init_failed = true);
    }

    /// The init containers are done: the pod has its address from now on.
    pub(super) fn initialized(&self, ports: &[PortMap]) {
        let map: std::collections::BTreeMap<u16, u16> = ports
            .iter()
            .map(|port| (port.container, port.local))
            .collect();
        self.write(|state| {
            state.initialized = true;
            // A map of integers always serializes.
            state.ports = serde_json::to_string(&map).ok();
            for status in state
                .main
                .iter_mut()
                .filter(|status| status.restart_count == 0)
            {
                status.state = Some(waiting("ContainerCreating", None));
            }
        });
    }

    fn change(&self, slot: Slot, change: impl FnOnce(&mut ContainerStatus)) {
        self.write(|state| {
            let status = match slot {
                Slot::Init(index) => state.init.get_mut(index),
                Slot::Main(index) => state.main.get_mut(index),
            };
            if let Some(status) = status {
                change(status);
            }
        });
    }

    fn write(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        // Under the lock, so that statuses are written in the order in which they came about.
        let ready = self.store.update(&self.key, |pod: &mut Pod| {
            if pod.metadata.uid.as_deref() != Some(&self.uid) {
                return false;
            }
            if let Some(ports) = &state.ports {
                pod.metadata
                    .annotations
                    .get_or_insert_default()
                    .insert(annotation::PORTS.to_owned(), ports.clone());
            }
            let status = state.status(pod.status.as_ref());
            pod.status
                .insert(status)
                .conditions
                .iter()
                .flatten()
                .any(|it| it.type_ == "Ready" && it.status == "True")
        });
        if ready == Some(true) {
            self.first_ready.cancel();
        }
    }
}

impl State {
    fn status(&self, old: Option<&PodStatus>) -> PodStatus {
        let sidecars = self
            .init
            .iter()
            .zip(&self.sidecars)
            .filter(|(_, sidecar)| **sidecar);
        let mut counted = self.main.iter().chain(sidecars.map(|(status, _)| status));
        let ready = self.initialized && counted.all(|status| status.ready);
        let unready = if self.finished() {
            "PodCompleted"
        } else {
            "ContainersNotReady"
        };
        let conditions = [
            ("PodScheduled", true, ""),
            ("Initialized", self.initialized, "ContainersNotInitialized"),
            ("ContainersReady", ready, unready),
            ("Ready", ready, unready),
        ];
        let conditions = conditions.map(|(kind, on, reason)| condition(old, kind, on, reason));
        let address = self.ports.as_ref().map(|_| HOST.to_owned());
        PodStatus {
            phase: Some(self.phase().to_owned()),
            conditions: Some(conditions.into()),
            init_container_statuses: (!self.init.is_empty()).then(|| self.init.clone()),
            container_statuses: Some(self.main.clone()),
            host_ip: Some(HOST.to_owned()),
            pod_ips: address.clone().map(|ip| vec![PodIP { ip }]),
            pod_ip: address,
            start_time: old
                .and_then(|old| old.start_time.clone())
                .or_else(|| Some(Time(Timestamp::now()))),
            ..PodStatus::default()
        }
    }

    fn finished(&self) -> bool {
        self.init_failed
            || (self.initialized && self.main.iter().all(|status| status_code(status).is_some()))
    }

    fn phase(&self) -> &'static str {
        let waits = |status: &ContainerStatus| {
            status.restart_count == 0
                && status.last_state.is_none()
                && status
                    .state
                    .as_ref()
                    .is_some_and(|state| state.waiting.is_some())
        };
        if self.init_failed {
            "Failed"
        } else if !self.initialized || self.main.iter().any(waits) {
            "Pending"
        } else if !self.finished() {
            "Running"
        } else if self
            .main
            .iter()
            .all(|status| status_code(status) == Some(0))
        {
            "Succeeded"
        } else {
            "Failed"
        }
    }
}

fn status(container: &Container, reason: &str) -> ContainerStatus {
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        started: Some(false),
        state: Some(waiting(reason, None)),
        ..ContainerStatus::default()
    }
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    let waiting = ContainerStateWaiting {
        reason: Some(reason.to_owned()),
        message,
    };
    ContainerState {
        waiting: Some(waiting),
        ..ContainerState::default()
    }
}

fn last(status: &mut ContainerStatus, ended: Option<ContainerStateTerminated>) {
    if let Some(ended) = ended {
        status.last_state = Some(ContainerState {
            terminated: Some(ended),
            ..ContainerState::default()
        });
        status.restart_count += 1;
    }
}

fn status_code(status: &ContainerStatus) -> Option<i32> {
    Some(status.state.as_ref()?.terminated.as_ref()?.exit_code)
}

fn condition(old: Option<&PodStatus>, kind: &str, on: bool, reason: &str) -> PodCondition {
    let text = if on { "True" } else { "False" };
    let same = old
        .and_then(|old| {
            old.conditions
                .iter()
                .flatten()
                .find(|it| it.type_ == kind && it.status == text)
        })
        .and_then(|it| it.last_transition_time.clone());
    PodCondition {
        type_: kind.to_owned(),
        status: text.to_owned(),
        reason: (!on).then(|| reason.to_owned()),
        last_transition_time: same.or_else(|| Some(Time(Timestamp::now()))),
        ..PodCondition::default()
    }
}
