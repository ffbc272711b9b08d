//! Facts out of a core/v1 Pod.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, HTTPGetAction, Pod, PodSpec, PodStatus, Probe as KubeProbe,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::change::{Fault, PodFacts, Probe};
use crate::facts::{annotated, controller, created, uid};
use crate::names::annotation;

#[cfg(test)]
mod tests;

/// Reasons for which the kubelet keeps a container waiting and that end only by somebody's doing.
const STUCK: [&str; 7] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
];

/// Seconds the processes of a pod get to end, where it names none (core/v1 `terminationGracePeriodSeconds`).
const GRACE: u32 = 30;
/// Time for one attempt of a probe that names none (core/v1 `timeoutSeconds`).
const PROBE_TIMEOUT: i32 = 1;

impl PodFacts {
    /// What is kept of `pod`; `None` where no Sandbox controls it.
    #[must_use]
    pub fn of(pod: &Pod) -> Option<Self> {
        let meta = &pod.metadata;
        let owner = controller(meta).filter(|owner| {
            owner.kind == "Sandbox" && owner.api_version.starts_with("agents.x-k8s.io/")
        })?;
        let containers = pod.spec.as_ref().map_or(&[][..], |spec| &spec.containers);
        let status = pod.status.as_ref();
        Some(Self {
            uid: uid(meta),
            sandbox: owner.name.as_str().into(),
            sandbox_uid: owner.uid.as_str().into(),
            ip: status.and_then(address),
            ports: annotated(meta, annotation::PORTS)
                .map(port_map)
                .or_else(|| of_the_node(pod)),
            h2c: h2c_ports(containers),
            ready: status
                .is_some_and(|status| condition(status, "Ready").is_some_and(|(on, ..)| on)),
            terminating: meta.deletion_timestamp.is_some(),
            grace: grace(pod),
            fault: status.and_then(fault),
            probe: pod.spec.as_ref().and_then(probe),
            created: created(meta),
        })
    }
}

fn grace(pod: &Pod) -> u32 {
    let spec = pod.spec.as_ref();
    let seconds = (pod.metadata.deletion_grace_period_seconds)
        .or_else(|| spec?.termination_grace_period_seconds);
    seconds.map_or(GRACE, |seconds| {
        u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
    })
}

fn address(status: &PodStatus) -> Option<IpAddr> {
    let first = || status.pod_ips.as_ref()?.first().map(|ip| ip.ip.clone());
    status.pod_ip.clone().or_else(first)?.parse().ok()
}

/// A pod with `hostNetwork` is reached at its declared ports alone: all others are its node's.
fn of_the_node(pod: &Pod) -> Option<Box<[(u16, u16)]>> {
    let spec = pod
        .spec
        .as_ref()
        .filter(|it| it.host_network == Some(true))?;
    let ports = spec
        .containers
        .iter()
        .flat_map(|it| it.ports.iter().flatten());
    let numbers = ports.filter_map(|port| u16::try_from(port.container_port).ok());
    Some(numbers.map(|port| (port, port)).collect())
}

/// A map that cannot be read maps nothing: to guess "the same port" could reach a stranger's.
fn port_map(text: &str) -> Box<[(u16, u16)]> {
    let map: std::collections::BTreeMap<u16, u16> = serde_json::from_str(text).unwrap_or_default();
    map.into_iter().collect()
}

fn h2c_ports(containers: &[Container]) -> Box<[u16]> {
    let speaks = |name: &str| {
        // gRPC-Web is spoken over HTTP/1.1 as well, and by servers that speak nothing else.
        let is_web = name.starts_with("grpc-web") || name.starts_with("grpcweb");
        !is_web && ["h2c", "grpc"].iter().any(|word| name.starts_with(word))
    };
    containers
        .iter()
        .flat_map(|container| container.ports.iter().flatten())
        .filter(|port| port.name.as_deref().is_some_and(speaks))
        .filter_map(|port| u16::try_from(port.container_port).ok())
        .collect()
}

/// Status and the words of a pod condition.
fn condition<'a>(status: &'a PodStatus, kind: &str) -> Option<(bool, &'a str, &'a str)> {
    let found = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == kind)?;
    Some((
        found.status == "True",
        found.reason.as_deref().unwrap_or_default(),
        found.message.as_deref().unwrap_or_default(),
    ))
}

fn fault(status: &PodStatus) -> Option<Fault> {
    finished(status)
        .or_else(|| stuck(status))
        .or_else(|| unschedulable(status))
}

/// A pod that ended is not started again by its controller; only a sleep and a wake replace it.
fn finished(status: &PodStatus) -> Option<Fault> {
    let reason = match status.phase.as_deref()? {
        "Failed" => "PodFailed",
        "Succeeded" => "PodSucceeded",
        _ => return None,
    };
    let told = [status.reason.as_deref(), status.message.as_deref()];
    let told: Vec<&str> = told
        .into_iter()
        .flatten()
        .filter(|text| !text.is_empty())
        .collect();
    let message = if told.is_empty() {
        last_exit(status)
    } else {
        told.join(": ")
    };
    Some(Fault {
        reason: reason.into(),
        message: message.into(),
    })
}

fn last_exit(status: &PodStatus) -> String {
    let ended = statuses(status).filter_map(|container| {
        let state = container.state.as_ref()?.terminated.as_ref()?;
        Some((
            container.name.as_str(),
            state.exit_code,
            state.message.as_deref().unwrap_or_default(),
        ))
    });
    // The first failure says more than the first end.
    let Some((name, code, message)) = ended.min_by_key(|(_, code, _)| *code == 0) else {
        return "all containers ended".to_owned();
    };
    let message = message.trim();
    let colon = if message.is_empty() { "" } else { ": " };
    format!("container {name} exited with code {code}{colon}{message}")
}

fn stuck(status: &PodStatus) -> Option<Fault> {
    statuses(status).find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting
            .reason
            .as_deref()
            .filter(|reason| STUCK.contains(reason))?;
        let told = waiting.message.as_deref().unwrap_or_default().trim();
        let colon = if told.is_empty() { "" } else { ": " };
        let message = format!("container {}{colon}{told}", container.name);
        Some(Fault {
            reason: reason.into(),
            message: message.into(),
        })
    })
}

/// An autoscaler may yet bring a node; the client is told why it waits, and whoever reads this decides
/// how long to go on.
fn unschedulable(status: &PodStatus) -> Option<Fault> {
    let (scheduled, reason, message) = condition(status, "PodScheduled")?;
    (!scheduled && reason == "Unschedulable").then(|| Fault {
        reason: reason.into(),
        message: message.into(),
    })
}

fn statuses(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten())
}

/// The readiness probe of the first container that has one; else the startup probe likewise, since the
/// kubelet calls such a pod ready the moment that one succeeds. Readiness gates are only seen in the
/// Ready condition.
fn probe(spec: &PodSpec) -> Option<Probe> {
    if spec
        .readiness_gates
        .as_ref()
        .is_some_and(|gates| !gates.is_empty())
    {
        return Some(Probe::Kubelet);
    }
    let of = |pick: fn(&Container) -> Option<&KubeProbe>| {
        spec.containers
            .iter()
            .find_map(|container| Some(translate(container, pick(container)?)))
    };
    of(|container| container.readiness_probe.as_ref())
        .or_else(|| of(|container| container.startup_probe.as_ref()))
}

/// What the activator cannot do exactly as the kubelet would is left to the kubelet.
fn translate(container: &Container, probe: &KubeProbe) -> Probe {
    let seconds = probe
        .timeout_seconds
        .unwrap_or(PROBE_TIMEOUT)
        .max(PROBE_TIMEOUT);
    let timeout = Duration::from_secs(u64::from(seconds.unsigned_abs()));
    let translated = match (&probe.http_get, &probe.tcp_socket, &probe.grpc) {
        (Some(get), ..) => http(container, get, timeout),
        (None, Some(socket), _) if socket.host.is_none() => {
            port(container, &socket.port).map(|port| Probe::Tcp { port })
        }
        (None, None, Some(grpc)) => {
            let port = port(container, &IntOrString::Int(grpc.port));
            port.map(|port| Probe::Grpc {
                port,
                service: grpc.service.as_deref().unwrap_or_default().into(),
                timeout,
            })
        }
        _ => None,
    };
    translated.unwrap_or(Probe::Kubelet)
}

fn http(container: &Container, get: &HTTPGetAction, timeout: Duration) -> Option<Probe> {
    let plain = get.scheme.as_deref().is_none_or(|scheme| scheme == "HTTP");
    if !plain || get.host.as_deref().is_some_and(|host| !host.is_empty()) {
        return None;
    }
    let path = get.path.as_deref().unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let headers = get.http_headers.iter().flatten();
    Some(Probe::Http {
        port: port(container, &get.port)?,
        path: format!("{slash}{path}").into(),
        headers: headers
            .map(|header| (header.name.clone(), header.value.clone()))
            .collect::<Arc<[_]>>(),
        timeout,
    })
}

fn port(container: &Container, port: &IntOrString) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container
                .ports
                .iter()
                .flatten()
                .find(|port| port.name.as_ref() == Some(name));
            named
                .map(|port| port.container_port)
                .or_else(|| name.parse().ok())?
        }
    };
    u16::try_from(number).ok().filter(|port| *port > 0)
}
