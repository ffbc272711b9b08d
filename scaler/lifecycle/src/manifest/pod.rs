//! What a pod spec must be to run as processes.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use reveille_crds::key::is_label;
use reveille_crds::sandbox::{PodTemplate, VolumeClaimTemplate};
use serde_json::Value;

use super::document::typed;
use super::{Place, Report, volumes};
use crate::local::environment;

const SPEC: &str = "spec.podTemplate.spec";

pub(super) fn check(
    place: &Place,
    template: &PodTemplate,
    vcts: &[VolumeClaimTemplate],
    report: &mut Report,
) {
    let spec = match typed::<PodSpec>(&Value::Object(template.spec.clone())) {
        Ok(read) => {
            for path in read.unknown {
                report.add(
                    place,
                    format!("{SPEC}.{path}"),
                    "unknown field; correct its name or remove it",
                );
            }
            read.value
        }
        Err((path, text)) => {
            let dot = if path.is_empty() { "" } else { "." };
            return report.add(place, format!("{SPEC}{dot}{path}"), text);
        }
    };
    let mut checker = Checker {
        place,
        report,
        field: SPEC.to_owned(),
    };
    checker.pod(&spec);
    volumes::check_mounts(place, &spec, vcts, report);
}

/// Knows where it is while it goes down.
struct Checker<'a> {
    place: &'a Place,
    report: &'a mut Report,
    field: String,
}

impl Checker<'_> {
    fn add(&mut self, field: &str, text: impl Into<String>) {
        self.report
            .add(self.place, format!("{}.{field}", self.field), text);
    }

    fn within(&mut self, field: &str, check: impl FnOnce(&mut Self)) {
        let length = self.field.len();
        self.field.push('.');
        self.field.push_str(field);
        check(self);
        self.field.truncate(length);
    }

    fn pod(&mut self, spec: &PodSpec) {
        if let Some(policy) = &spec.restart_policy
            && !["Always", "OnFailure", "Never"].contains(&policy.as_str())
        {
            self.add(
                "restartPolicy",
                format!("is {policy:?}; write Always, OnFailure or Never"),
            );
        }
        if spec
            .termination_grace_period_seconds
            .is_some_and(i64::is_negative)
        {
            self.add("terminationGracePeriodSeconds", "negative; write 0 or more");
        }
        if spec.containers.is_empty() {
            self.add("containers", "empty; write at least one container");
        }
        let mut names = HashSet::new();
        let mut ports = HashSet::new();
        let init = spec.init_containers.as_deref().unwrap_or_default();
        let all = init.iter().map(|each| ("initContainers", each)).enumerate();
        let main = spec
            .containers
            .iter()
            .map(|each| ("containers", each))
            .enumerate();
        for (index, (list, container)) in all.chain(main) {
            let initial = list == "initContainers";
            self.within(&format!("{list}[{index}]"), |checker| {
                checker.container(container, initial);
                if !names.insert(container.name.clone()) {
                    checker.add(
                        "name",
                        format!("{:?} is used twice in this pod", container.name),
                    );
                }
                for (index, port) in container.ports.iter().flatten().enumerate() {
                    if !ports.insert(port.container_port) {
                        checker.add(
                            &format!("ports[{index}].containerPort"),
                            "used twice in this pod",
                        );
                    }
                }
            });
        }
    }

    fn container(&mut self, container: &Container, initial: bool) {
        if !is_label(&container.name) {
            self.add(
                "name",
                format!(
                    "{:?} is not a DNS-1123 label; write a-z, 0-9 and '-'",
                    container.name
                ),
            );
        }
        if container
            .command
            .as_ref()
            .is_none_or(|command| command.first().is_none_or(String::is_empty))
        {
            self.add("command", "missing; the image is not pulled here, so write the command to run on this machine");
        }
        if container
            .env_from
            .as_ref()
            .is_some_and(|sources| !sources.is_empty())
        {
            self.add(
                "envFrom",
                "ConfigMaps and Secrets need a cluster; write the values in env",
            );
        }
        if container.lifecycle.is_some() {
            self.add(
                "lifecycle",
                "hooks are not run on this machine; remove it, and let the command handle SIGTERM",
            );
        }
        self.container_lists(container);
        match container.restart_policy.as_deref() {
            None => {}
            Some("Always") if initial => {}
            Some(_) if initial => {
                self.add("restartPolicy", "write Always (a sidecar) or remove it")
            }
            Some(_) => self.add("restartPolicy", "belongs to the pod; remove it here"),
        }
    }

    fn container_lists(&mut self, container: &Container) {
        for (index, env) in container.env.iter().flatten().enumerate() {
            self.within(&format!("env[{index}]"), |checker| checker.env(env));
        }
        for (index, port) in container.ports.iter().flatten().enumerate() {
            self.within(&format!("ports[{index}]"), |checker| {
                if !(1..=65535).contains(&port.container_port) {
                    checker.add("containerPort", "write 1 to 65535");
                }
                if port
                    .protocol
                    .as_deref()
                    .is_some_and(|protocol| protocol != "TCP")
                {
                    checker.add(
                        "protocol",
                        "only TCP ports are mapped; write TCP or remove it",
                    );
                }
            });
        }
        let probes = [
            ("readinessProbe", &container.readiness_probe),
            ("startupProbe", &container.startup_probe),
            ("livenessProbe", &container.liveness_probe),
        ];
        for (field, probe) in probes {
            if let Some(probe) = probe {
                self.within(field, |checker| checker.probe(probe, container));
            }
        }
    }

    fn env(&mut self, env: &EnvVar) {
        if env.name.is_empty() || env.name.contains(['=', '\0']) {
            self.add(
                "name",
                format!("{:?} cannot be the name of a variable", env.name),
            );
        }
        let Some(from) = &env.value_from else { return };
        if let Some(field) = &from.field_ref {
            if !environment::is_known_field(&field.field_path) {
                let text = format!(
                    "{:?} is not known here; write metadata.name, metadata.namespace, metadata.uid, metadata.labels['x'], metadata.annotations['x'] or status.podIP",
                    field.field_path
                );
                self.add("valueFrom.fieldRef.fieldPath", text);
            }
            return;
        }
        let source = if from.secret_key_ref.is_some() {
            "a Secret needs a cluster"
        } else if from.config_map_key_ref.is_some() {
            "a ConfigMap needs a cluster"
        } else {
            "only fieldRef is known on this machine"
        };
        self.add(
            "valueFrom",
            format!("{source}; write value, or pass the variable with the command"),
        );
    }

    fn probe(&mut self, probe: &Probe, container: &Container) {
        let handlers = [
            probe.http_get.is_some(),
            probe.tcp_socket.is_some(),
            probe.exec.is_some(),
            probe.grpc.is_some(),
        ];
        if handlers.iter().filter(|present| **present).count() != 1 {
            return self.report.add(
                self.place,
                self.field.clone(),
                "write exactly one of httpGet, tcpSocket, grpc and exec",
            );
        }
        if let Some(http) = &probe.http_get {
            if http
                .scheme
                .as_deref()
                .is_some_and(|scheme| scheme != "HTTP")
            {
                self.add(
                    "httpGet.scheme",
                    "only HTTP is probed on this machine; write HTTP or remove it",
                );
            }
            self.port("httpGet.port", &http.port, container);
        }
        if let Some(tcp) = &probe.tcp_socket {
            self.port("tcpSocket.port", &tcp.port, container);
        }
        if let Some(grpc) = &probe.grpc {
            self.port("grpc.port", &IntOrString::Int(grpc.port), container);
        }
        if probe
            .exec
            .as_ref()
            .is_some_and(|exec| exec.command.as_ref().is_none_or(Vec::is_empty))
        {
            self.add("exec.command", "missing; write the command to run");
        }
        let numbers = [
            ("initialDelaySeconds", probe.initial_delay_seconds, 0),
            ("periodSeconds", probe.period_seconds, 1),
            ("timeoutSeconds", probe.timeout_seconds, 1),
            ("failureThreshold", probe.failure_threshold, 1),
            ("successThreshold", probe.success_threshold, 1),
        ];
        for (field, number, least) in numbers {
            if number.is_some_and(|number| number < least) {
                self.add(field, format!("write {least} or more"));
            }
        }
    }

    fn port(&mut self, field: &str, port: &IntOrString, container: &Container) {
        let known = match port {
            IntOrString::Int(port) => (1..=65535).contains(port),
            IntOrString::String(name) => {
                let mut ports = container.ports.iter().flatten();
                ports.any(|port| port.name.as_ref() == Some(name))
            }
        };
        if !known {
            self.add(
                field,
                "write 1 to 65535, or the name of a port of this container",
            );
        }
    }
}
