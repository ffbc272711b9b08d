//! Objects as a watch needs them: read out of their JSON with only what facts are made of.
//!
//! A Sandbox is mostly pod template, a pod mostly what its containers mount, and all carry the books of
//! the API server (`managedFields`) and perhaps the manifest once more (`last-applied-configuration`).
//! None of that is looked at, so that a fleet of ten thousand is read in a moment. The result has the
//! type of the whole object, the rest of it left empty: there is one way from objects to facts.
//!
//! Upstream's kinds are read in both of their versions: what `v1alpha1` says in other words is translated.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, ContainerStatus, Pod, PodCondition, PodIP, PodReadinessGate, PodSpec,
    PodStatus, Probe,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::claim::{BoundSandbox, SandboxClaim, SandboxClaimSpec, SandboxClaimStatus};
use crate::sandbox::{
    OperatingMode, PodTemplate, Sandbox, SandboxSpec, SandboxStatus, VolumeClaimTemplate,
};
use crate::warm_pool::NameRef;

use meta::Meta;

mod meta;
#[cfg(test)]
mod tests;

/// A pool of `v1alpha1` that is none: the claim starts cold.
const NO_POOL: &str = "none";
/// A pool of `v1alpha1` that is any of the claim's template.
const ANY_POOL: &str = "default";

/// A Sandbox of either version: metadata, mode, expiry, whether it has volumes, conditions; of its template
/// the ports, where they are the node's.
///
/// # Errors
/// If a part that is looked at has another type.
pub fn sandbox(json: &str) -> serde_json::Result<Sandbox> {
    let read: Whole<LightSandbox, Conditions> = serde_json::from_str(json)?;
    let spec = read.spec;
    let asleep = spec.replicas == Some(0);
    let mode = spec.operating_mode.unwrap_or(if asleep {
        OperatingMode::Suspended
    } else {
        OperatingMode::Running
    });
    let some = spec.volume_claim_templates.filter(|it| !it.is_empty());
    Ok(Sandbox {
        metadata: read.metadata.into(),
        spec: SandboxSpec {
            pod_template: spec.pod_template.map(PodTemplate::from).unwrap_or_default(),
            operating_mode: mode,
            shutdown_time: spec.shutdown_time,
            volume_claim_templates: some.map(|_| vec![VolumeClaimTemplate::default()]),
            ..SandboxSpec::default()
        },
        status: read.status.map(|status| SandboxStatus {
            conditions: status.conditions.unwrap_or_default(),
            ..SandboxStatus::default()
        }),
    })
}

/// A SandboxClaim of either version: metadata, pool, bound Sandbox, conditions. A claim of `v1alpha1` on
/// any pool of its template goes by the pool's name that an upgrade would give it.
///
/// # Errors
/// If a part that is looked at has another type.
pub fn claim(json: &str) -> serde_json::Result<SandboxClaim> {
    let read: Whole<LightClaim, LightClaimStatus> = serde_json::from_str(json)?;
    let spec = read.spec;
    let of_template = || match spec.warmpool.as_deref().unwrap_or(ANY_POOL) {
        NO_POOL => String::new(),
        ANY_POOL => spec
            .sandbox_template_ref
            .as_ref()
            .map_or_else(String::new, |it| format!("shadow-pool-{}", it.name)),
        named => named.to_owned(),
    };
    let pool = spec.warm_pool_ref.map_or_else(of_template, |it| it.name);
    Ok(SandboxClaim {
        metadata: read.metadata.into(),
        spec: SandboxClaimSpec {
            warm_pool_ref: NameRef {
                name: pool,
                ..NameRef::default()
            },
            ..SandboxClaimSpec::default()
        },
        status: read.status.map(|status| SandboxClaimStatus {
            conditions: status.conditions.unwrap_or_default(),
            sandbox: status.sandbox.map(|bound| BoundSandbox {
                name: bound.name.or(bound.before_0_3).unwrap_or_default(),
                ..BoundSandbox::default()
            }),
        }),
    })
}

/// A pod: metadata, ports and probes of its containers, its grace, status.
///
/// # Errors
/// If a part that is looked at has another type.
pub fn pod(json: &str) -> serde_json::Result<Pod> {
    let read: Whole<LightPod, LightPodStatus> = serde_json::from_str(json)?;
    let containers = read.spec.containers.unwrap_or_default();
    Ok(Pod {
        metadata: read.metadata.into(),
        spec: Some(PodSpec {
            containers: containers.into_iter().map(Container::from).collect(),
            host_network: read.spec.host_network,
            readiness_gates: read.spec.readiness_gates,
            termination_grace_period_seconds: read.spec.termination_grace_period_seconds,
            ..PodSpec::default()
        }),
        status: read.status.map(|status| PodStatus {
            phase: status.phase,
            reason: status.reason,
            message: status.message,
            pod_ip: status.pod_ip,
            pod_ips: status.pod_ips,
            conditions: status.conditions,
            init_container_statuses: status.init_container_statuses,
            container_statuses: status.container_statuses,
            ..PodStatus::default()
        }),
    })
}

/// An object, of whose spec and status some is looked at.
#[derive(Deserialize)]
struct Whole<Spec, Status> {
    metadata: Meta,
    spec: Spec,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Conditions {
    conditions: Option<Vec<Condition>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LightSandbox {
    pod_template: Option<LightTemplate>,
    operating_mode: Option<OperatingMode>,
    /// `v1alpha1`: 0 or 1.
    replicas: Option<i64>,
    shutdown_time: Option<Time>,
    volume_claim_templates: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
struct LightTemplate {
    spec: Option<LightTemplateSpec>,
}

/// Only containers are known to be a list of objects, as the CRD wants them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LightTemplateSpec {
    host_network: Option<Value>,
    containers: Option<Vec<LightTemplateContainer>>,
}

#[derive(Deserialize)]
struct LightTemplateContainer {
    ports: Option<Value>,
}

impl From<LightTemplate> for PodTemplate {
    fn from(light: LightTemplate) -> Self {
        let spec = light
            .spec
            .filter(|spec| spec.host_network == Some(Value::Bool(true)));
        let Some(spec) = spec else {
            return Self::default();
        };
        let containers = spec.containers.into_iter().flatten();
        let containers: Vec<Value> = containers.map(|it| json!({ "ports": it.ports })).collect();
        Self {
            spec: Map::from_iter([
                ("hostNetwork".to_owned(), Value::Bool(true)),
                ("containers".to_owned(), Value::Array(containers)),
            ]),
            ..Self::default()
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LightClaim {
    warm_pool_ref: Option<LightName>,
    /// `v1alpha1`.
    sandbox_template_ref: Option<LightName>,
    /// `v1alpha1`: a pool's name, or one of the two words for none and any.
    warmpool: Option<String>,
}

#[derive(Deserialize)]
struct LightName {
    name: String,
}

#[derive(Deserialize)]
struct LightClaimStatus {
    conditions: Option<Vec<Condition>>,
    sandbox: Option<LightBound>,
}

#[derive(Deserialize)]
struct LightBound {
    name: Option<String>,
    /// Up to 0.2 the key had a capital.
    #[serde(rename = "Name")]
    before_0_3: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LightPod {
    containers: Option<Vec<LightContainer>>,
    host_network: Option<bool>,
    readiness_gates: Option<Vec<PodReadinessGate>>,
    termination_grace_period_seconds: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LightContainer {
    name: String,
    ports: Option<Vec<ContainerPort>>,
    readiness_probe: Option<Probe>,
    startup_probe: Option<Probe>,
}

impl From<LightContainer> for Container {
    fn from(light: LightContainer) -> Self {
        Self {
            name: light.name,
            ports: light.ports,
            readiness_probe: light.readiness_probe,
            startup_probe: light.startup_probe,
            ..Self::default()
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LightPodStatus {
    phase: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIP>>,
    conditions: Option<Vec<PodCondition>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
    container_statuses: Option<Vec<ContainerStatus>>,
}

/// A map that may be `null`.
type Texts = Option<BTreeMap<String, String>>;
