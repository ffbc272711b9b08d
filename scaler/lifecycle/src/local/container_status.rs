//! The parts of a pod's status: what is said of one container, and conditions.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    PodCondition, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) fn fresh(
    container: &Container,
    reason: &str,
    previous: &[ContainerStatus],
) -> ContainerStatus {
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        started: Some(false),
        state: Some(waiting(reason, None)),
        ..ContainerStatus::default()
    };
    let before = previous.iter().find(|before| before.name == status.name);
    if let Some(before) = before.filter(|before| has_run(before)) {
        status.restart_count = before.restart_count;
        let state = before.state.clone().unwrap_or_default();
        let ended = state.terminated.unwrap_or_else(|| unknown(None));
        ended_last(&mut status, Some(ended));
    }
    status
}

/// The end of a container of which nothing is known, as the kubelet has it.
pub(super) fn unknown(message: Option<String>) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: 137,
        reason: Some("ContainerStatusUnknown".to_owned()),
        message,
        ..ContainerStateTerminated::default()
    }
}

/// Whether it was started at least once.
pub(super) fn has_run(status: &ContainerStatus) -> bool {
    status.restart_count > 0
        || status.last_state.is_some()
        || status
            .state
            .as_ref()
            .is_some_and(|state| state.waiting.is_none())
}

pub(super) fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    let waiting = ContainerStateWaiting {
        reason: Some(reason.to_owned()),
        message,
    };
    ContainerState {
        waiting: Some(waiting),
        ..ContainerState::default()
    }
}

pub(super) fn ended_last(status: &mut ContainerStatus, ended: Option<ContainerStateTerminated>) {
    if let Some(ended) = ended {
        status.last_state = Some(ContainerState {
            terminated: Some(ended),
            ..ContainerState::default()
        });
        status.restart_count += 1;
    }
}

pub(super) fn exit_code(status: &ContainerStatus) -> Option<i32> {
    Some(status.state.as_ref()?.terminated.as_ref()?.exit_code)
}

pub(super) fn condition(old: &PodStatus, kind: &str, on: bool, reason: &str) -> PodCondition {
    let text = if on { "True" } else { "False" };
    let same = old
        .conditions
        .iter()
        .flatten()
        .find(|it| it.type_ == kind && it.status == text)
        .and_then(|it| it.last_transition_time.clone());
    PodCondition {
        type_: kind.to_owned(),
        status: text.to_owned(),
        reason: (!on).then(|| reason.to_owned()),
        last_transition_time: same.or_else(|| Some(Time(Timestamp::now()))),
        ..PodCondition::default()
    }
}
