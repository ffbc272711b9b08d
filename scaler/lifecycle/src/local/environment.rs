//! What a container of a pod sees: variables, paths and ports, from the pod's point of view to this machine's.
//!
//! Values, not effects: everything here is a function of the pod and of what was reserved for it.
//!
//! ```text
//! env, in order      $(VAR) of what stands before it; a path under a mount -> the volume's folder
//! PORT, HOST         where the pod sets them to what it would listen on in its own network
//! command, args      $(VAR) of the finished environment, then the path
//! ```

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Container, EnvVar};
use reveille_crds::names::DEFAULT_PORT;
use reveille_crds::sandbox::PodTemplate;
use serde_json::Value;

use super::expand::expand;
use super::mounts::Mounts;

/// Address of this machine, and of pods that have none of their own.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Marks every process of a pod, so that those that leave its process group are found.
pub(crate) const POD_UID: &str = "REVEILLE_POD_UID";

/// Variables handed on from our own environment.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// What a pod is, for `fieldRef`.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// `metadata.name`
    pub name: String,
    /// `metadata.namespace`
    pub namespace: String,
    /// Of the pod; marks its processes, so no two pods of this machine have the same.
    pub uid: String,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`
    pub annotations: BTreeMap<String, String>,
}

/// A container port and where it is on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMap {
    /// As the container names it.
    pub name: Option<String>,
    /// `containerPort`
    pub container: u16,
    /// On the pod's address.
    pub local: u16,
}

/// The ports that the containers declare, or the default one.
pub(crate) fn declared_ports<'a>(
    containers: impl Iterator<Item = &'a Container>,
) -> Vec<(Option<String>, u16)> {
    let mut ports: Vec<(Option<String>, u16)> = Vec::new();
    for port in containers.flat_map(|container| container.ports.iter().flatten()) {
        if let Ok(number) = u16::try_from(port.container_port)
            && ports.iter().all(|(_, known)| *known != number)
        {
            ports.push((port.name.clone(), number));
        }
    }
    if ports.is_empty() {
        ports.push((None, DEFAULT_PORT));
    }
    ports
}

/// The numbers of [`declared_ports`], of a pod that has not been read yet.
pub(crate) fn ports(template: &PodTemplate) -> Vec<u16> {
    let declared = written_ports(template);
    match declared.is_empty() {
        true => vec![DEFAULT_PORT],
        false => declared,
    }
}

/// The container ports that the template itself names.
pub(crate) fn written_ports(template: &PodTemplate) -> Vec<u16> {
    let lists = ["containers", "initContainers"].map(|list| template.spec.get(list));
    let containers = lists
        .into_iter()
        .flatten()
        .filter_map(Value::as_array)
        .flatten();
    let ports = containers.filter_map(|container| container.get("ports")?.as_array());
    let numbers = ports
        .flatten()
        .filter_map(|port| port.get("containerPort")?.as_u64());
    numbers
        .filter_map(|number| u16::try_from(number).ok())
        .collect()
}

/// Whether `fieldRef.fieldPath` can be answered here.
pub(crate) fn is_known_field(path: &str) -> bool {
    field(path, &Identity::default(), HOST).is_some()
}

fn field(path: &str, identity: &Identity, address: Ipv4Addr) -> Option<String> {
    let entry = |map: &BTreeMap<String, String>, rest: &str| {
        let key = rest.strip_prefix("['")?.strip_suffix("']")?;
        Some(map.get(key).cloned().unwrap_or_default())
    };
    match path {
        "metadata.name" => Some(identity.name.clone()),
        "metadata.namespace" => Some(identity.namespace.clone()),
        "metadata.uid" => Some(identity.uid.clone()),
        "status.podIP" => Some(address.to_string()),
        "status.hostIP" => Some(HOST.to_string()),
        _ => {
            if let Some(rest) = path.strip_prefix("metadata.labels") {
                entry(&identity.labels, rest)
            } else {
                entry(
                    &identity.annotations,
                    path.strip_prefix("metadata.annotations")?,
                )
            }
        }
    }
}

/// The environment of one container, and its command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub(crate) command: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) working_dir: Option<String>,
}

/// What all containers of a pod share.
pub(crate) struct Surroundings<'a> {
    pub(crate) identity: &'a Identity,
    /// Of the pod.
    pub(crate) address: Ipv4Addr,
    pub(crate) ports: &'a [PortMap],
    /// Our own environment.
    pub(crate) inherited: &'a BTreeMap<String, String>,
    /// Volume name to folder.
    pub(crate) volumes: &'a BTreeMap<String, String>,
}

impl Surroundings<'_> {
    /// What to run for `container`.
    pub(crate) fn invocation(&self, container: &Container, mounts: &Mounts) -> Invocation {
        let env = self.env(container.env.as_deref().unwrap_or_default(), mounts);
        let lookup = |name: &str| env.get(name).cloned();
        let words = container
            .command
            .iter()
            .flatten()
            .chain(container.args.iter().flatten());
        let command = words
            .map(|word| mounts.map(&expand(word, lookup)))
            .collect();
        let working_dir = container
            .working_dir
            .as_deref()
            .filter(|dir| !dir.is_empty());
        Invocation {
            command,
            working_dir: working_dir.map(|dir| mounts.map(dir)),
            env,
        }
    }

    /// A command that runs beside a container, as an exec probe does.
    pub(crate) fn beside(base: &Invocation, command: &[String], mounts: &Mounts) -> Invocation {
        let command = command.iter().map(|word| mounts.map(word)).collect();
        Invocation {
            command,
            ..base.clone()
        }
    }

    fn env(&self, pod: &[EnvVar], mounts: &Mounts) -> BTreeMap<String, String> {
        let mut env: BTreeMap<String, String> = INHERITED
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), self.inherited.get(*name)?.clone())))
            .collect();
        let ours = self.ours();
        env.extend(
            ours.iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        for var in pod {
            let value = match (&var.value, &var.value_from) {
                (None, Some(from)) => {
                    let path = from
                        .field_ref
                        .as_ref()
                        .map(|field| field.field_path.as_str());
                    path.and_then(|path| field(path, self.identity, self.address))
                        .unwrap_or_default()
                }
                (value, _) => {
                    let value = value.as_deref().unwrap_or_default();
                    mounts.map(&expand(value, |name| env.get(name).cloned()))
                }
            };
            if !self.means_ours(&var.name, &value) {
                env.insert(var.name.clone(), value);
            }
        }
        env.insert(POD_UID.to_owned(), self.identity.uid.clone());
        env
    }

    fn ours(&self) -> HashMap<String, String> {
        let mut ours = HashMap::from([
            ("HOST".to_owned(), self.address.to_string()),
            ("HOSTNAME".to_owned(), self.identity.name.clone()),
        ]);
        if let Some(first) = self.ports.first() {
            ours.insert("PORT".to_owned(), first.local.to_string());
        }
        for port in self.ports {
            if let Some(name) = &port.name {
                ours.insert(format!("PORT_{}", shout(name)), port.local.to_string());
            }
        }
        for (name, folder) in self.volumes {
            ours.insert(format!("REVEILLE_VOLUME_{}", shout(name)), folder.clone());
        }
        ours
    }

    /// Whether the pod's own setting is what ours stands for: the container port in `PORT`, any address
    /// in `HOST`. Then ours stays, so that a manifest written for a cluster runs unchanged.
    fn means_ours(&self, name: &str, value: &str) -> bool {
        let container_port = || {
            self.ports
                .iter()
                .any(|port| port.container.to_string() == value)
        };
        match name {
            "HOST" => ["0.0.0.0", "::", "[::]"].contains(&value),
            "PORT" => container_port(),
            _ => name.starts_with("PORT_") && container_port(),
        }
    }
}

/// `http-main` as `HTTP_MAIN`.
fn shout(name: &str) -> String {
    name.chars()
        .map(|each| {
            if each.is_ascii_alphanumeric() {
                each.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn invocation(container: serde_json::Value) -> Invocation {
        let container: Container = serde_json::from_value(container).unwrap();
        let identity = Identity {
            name: "alice".into(),
            namespace: "agents".into(),
            uid: "u-1".into(),
            labels: BTreeMap::from([("fleet".into(), "research".into())]),
            annotations: BTreeMap::new(),
        };
        let ports = [
            PortMap {
                name: None,
                container: 8888,
                local: 40001,
            },
            PortMap {
                name: Some("web-ui".into()),
                container: 80,
                local: 40002,
            },
        ];
        let inherited = BTreeMap::from([
            ("PATH".to_owned(), "/bin".to_owned()),
            ("SECRET".to_owned(), "x".to_owned()),
        ]);
        let volumes = BTreeMap::from([("data".to_owned(), "/state/data-alice".to_owned())]);
        let mounts = Mounts::new([("/data", "/state/data-alice".to_owned())]);
        let around = Surroundings {
            identity: &identity,
            address: HOST,
            ports: &ports,
            inherited: &inherited,
            volumes: &volumes,
        };
        around.invocation(&container, &mounts)
    }

    #[test]
    fn a_container_sees_its_identity_ports_and_volumes_and_nothing_of_ours() {
        let seen = invocation(json!({
            "name": "a", "command": ["agent", "--port=$(PORT)", "--db=/data/x.db", "$$(PORT)", "$(NOBODY)"],
            "args": ["/data", "/database", "$(GREETING)"], "workingDir": "/data/work",
            "env": [
                {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "FLEET", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['fleet']"}}},
                {"name": "GREETING", "value": "hello $(ME)"},
                {"name": "DB", "value": "/data/x.db"},
            ],
        }));
        let expected = [
            "agent",
            "--port=40001",
            "--db=/state/data-alice/x.db",
            "$(PORT)",
            "$(NOBODY)",
            "/state/data-alice",
            "/database",
            "hello alice",
        ];
        assert_eq!(seen.command, expected);
        assert_eq!(seen.working_dir.as_deref(), Some("/state/data-alice/work"));
        for (name, value) in [
            ("ME", "alice"),
            ("FLEET", "research"),
            ("DB", "/state/data-alice/x.db"),
            ("HOST", "127.0.0.1"),
            ("HOSTNAME", "alice"),
            ("PORT", "40001"),
            ("PORT_WEB_UI", "40002"),
            ("PATH", "/bin"),
            ("REVEILLE_VOLUME_DATA", "/state/data-alice"),
            (POD_UID, "u-1"),
        ] {
            assert_eq!(
                seen.env.get(name).map(String::as_str),
                Some(value),
                "{name}"
            );
        }
        assert!(!seen.env.contains_key("SECRET"));
    }

    #[test]
    fn a_manifest_that_sets_its_own_container_port_gets_the_local_one() {
        let seen = invocation(json!({"name": "a", "command": ["a"], "env": [
            {"name": "PORT", "value": "8888"}, {"name": "HOST", "value": "0.0.0.0"}, {"name": "PORT_DB", "value": "5432"},
        ]}));
        assert_eq!(seen.env["PORT"], "40001");
        assert_eq!(seen.env["HOST"], "127.0.0.1");
        assert_eq!(seen.env["PORT_DB"], "5432");
    }

    #[test]
    fn a_pod_without_ports_gets_the_default_one() {
        let container: Container = serde_json::from_value(json!({"name": "a"})).unwrap();
        assert_eq!(
            declared_ports([&container].into_iter()),
            [(None, DEFAULT_PORT)]
        );
    }
}
