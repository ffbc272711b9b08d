//! The status of one pod, as a kubelet would set it.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStatus, PodIP,
    PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::container_status::{condition, ended_last, exit_code, fresh, has_run, unknown, waiting};
use super::environment::{HOST, PortMap};

/// Which container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Of the init containers, from 0.
    Init(usize),
    /// Of the others, from 0.
    Main(usize),
}

/// Takes each status of a pod, in the order in which they come about, with the pod's ports once it has
/// an address. Called under a lock, so it must neither block nor come back to the board.
pub type Report = Box<dyn Fn(&PodStatus, &[PortMap]) + Send + Sync>;

/// Keeps the containers' states and reports the pod's status with each change.
pub struct Board {
    report: Report,
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
    closed: bool,
    address: Option<Ipv4Addr>,
    ports: Vec<PortMap>,
    /// As reported last.
    last: PodStatus,
}

impl Board {
    /// `previous` is what an earlier run of the same pod reported: its containers are started once more.
    #[must_use]
    pub fn new(spec: &PodSpec, previous: Option<&PodStatus>, report: Report) -> Self {
        let init = spec.init_containers.as_deref().unwrap_or_default();
        let reason = if init.is_empty() {
            "ContainerCreating"
        } else {
            "PodInitializing"
        };
        let before = |list: fn(&PodStatus) -> &Option<Vec<ContainerStatus>>| {
            let list = previous.and_then(|previous| list(previous).as_deref());
            list.unwrap_or_default()
        };
        let (init_before, main_before) = (
            before(|status| &status.init_container_statuses),
            before(|status| &status.container_statuses),
        );
        let state = State {
            init: init
                .iter()
                .map(|container| fresh(container, "PodInitializing", init_before))
                .collect(),
            main: spec
                .containers
                .iter()
                .map(|container| fresh(container, reason, main_before))
                .collect(),
            sidecars: init
                .iter()
                .map(|container| container.restart_policy.is_some())
                .collect(),
            initialized: false,
            init_failed: false,
            closed: false,
            address: None,
            ports: Vec::new(),
            last: previous.cloned().unwrap_or_default(),
        };
        Self {
            report,
            state: Mutex::new(state),
            first_ready: CancellationToken::new(),
        }
    }

    pub(super) const fn first_ready(&self) -> &CancellationToken {
        &self.first_ready
    }

    /// A container's process runs.
    pub fn running(&self, slot: Slot) {
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

    /// Its startup probe succeeded, or it has none.
    pub fn started(&self, slot: Slot) {
        self.change(slot, |status| status.started = Some(true));
    }

    /// What its readiness probe says; true where it has none.
    pub fn ready(&self, slot: Slot, ready: bool) {
        self.change(slot, |status| {
            status.started = Some(true);
            status.ready = ready;
        });
    }

    /// It waits for its next start; `ended` tells of its last run, if it had one.
    pub fn waiting(
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
            ended_last(status, ended);
        });
    }

    /// It ended, and is started again at once.
    pub(super) fn restarting(&self, slot: Slot, ended: ContainerStateTerminated) {
        self.change(slot, |status| ended_last(status, Some(ended)));
    }

    /// It ended for good.
    pub fn terminated(&self, slot: Slot, ended: ContainerStateTerminated) {
        self.change(slot, |status| {
            status.state = Some(ContainerState {
                terminated: Some(ended),
                ..ContainerState::default()
            });
            // A finished init container is ready, as the kubelet has it.
            status.ready = matches!(slot, Slot::Init(_)) && exit_code(status) == Some(0);
            status.started = Some(false);
        });
    }

    /// No container can start, for a reason of the whole pod.
    pub fn cannot_start(&self, message: &str) {
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

    /// The pod has this address from now on.
    pub fn addressed(&self, address: Ipv4Addr, ports: &[PortMap]) {
        self.write(|state| {
            state.address = Some(address);
            ports.clone_into(&mut state.ports);
        });
    }

    /// The pod is over: what has not ended by itself counts as failed.
    pub fn close(&self) {
        self.write(|state| {
            state.closed = true;
            let started = state.main.iter().any(has_run);
            let containers = state.init.iter_mut().chain(
                // Before any of them ran, the others just never came to be.
                started.then_some(&mut state.main).into_iter().flatten(),
            );
            for status in containers.filter(|status| exit_code(status).is_none()) {
                let why = "the pod was ended before this container was";
                status.state = Some(ContainerState {
                    terminated: Some(unknown(Some(why.to_owned()))),
                    ..ContainerState::default()
                });
                status.ready = false;
                status.started = Some(false);
            }
        });
    }

    /// The init containers are done.
    pub fn initialized(&self) {
        self.write(|state| {
            state.initialized = true;
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
        state.last = state.status();
        // Under the lock, so that statuses are reported in the order in which they came about.
        (self.report)(&state.last, &state.ports);
        let mut conditions = state.last.conditions.iter().flatten();
        if conditions.any(|it| it.type_ == "Ready" && it.status == "True") {
            self.first_ready.cancel();
        }
    }
}

impl State {
    fn status(&self) -> PodStatus {
        let sidecars = self
            .init
            .iter()
            .zip(&self.sidecars)
            .filter(|(_, sidecar)| **sidecar);
        let mut counted = self.main.iter().chain(sidecars.map(|(status, _)| status));
        let ready = self.initialized && counted.all(|status| status.ready);
        let phase = self.phase();
        let unready = match phase {
            "Succeeded" => "PodCompleted",
            "Failed" => "PodFailed",
            _ => "ContainersNotReady",
        };
        let conditions = [
            ("PodScheduled", true, ""),
            ("Initialized", self.initialized, "ContainersNotInitialized"),
            ("ContainersReady", ready, unready),
            ("Ready", ready, unready),
        ];
        let conditions =
            conditions.map(|(kind, on, reason)| condition(&self.last, kind, on, reason));
        let address = self.address.map(|address| address.to_string());
        PodStatus {
            phase: Some(phase.to_owned()),
            conditions: Some(conditions.into()),
            init_container_statuses: (!self.init.is_empty()).then(|| self.init.clone()),
            container_statuses: Some(self.main.clone()),
            host_ip: Some(HOST.to_string()),
            pod_ips: address.clone().map(|ip| vec![PodIP { ip }]),
            pod_ip: address,
            start_time: self
                .last
                .start_time
                .clone()
                .or_else(|| Some(Time(Timestamp::now()))),
            ..PodStatus::default()
        }
    }

    fn finished(&self) -> bool {
        self.init_failed
            || (self.initialized && self.main.iter().all(|status| exit_code(status).is_some()))
    }

    fn phase(&self) -> &'static str {
        if self.init_failed || (self.closed && !self.finished()) {
            "Failed"
        } else if !self.initialized || !self.main.iter().all(has_run) {
            "Pending"
        } else if !self.finished() {
            "Running"
        } else if self.main.iter().all(|status| exit_code(status) == Some(0)) {
            "Succeeded"
        } else {
            "Failed"
        }
    }
}
