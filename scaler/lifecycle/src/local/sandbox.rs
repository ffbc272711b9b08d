//! One Sandbox: its pod as its mode says, its status, its end.
//!
//! ```text
//! Running    no pod -> start one · pod being deleted -> wait for its end · pod ended by itself -> leave it
//! Suspended  pod -> end it
//! expired    pod -> end it; Delete: the object too
//! deleted    pod -> end it, then the volumes, then the object
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaimVolumeSource, Pod, PodSpec, PodStatus, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use reveille_crds::SandboxKey;
use reveille_crds::names::{annotation, label, name_hash};
use reveille_crds::sandbox::{OperatingMode, Sandbox, SandboxStatus, ShutdownPolicy};
use serde_json::Value;

use super::board::{Board, Report};
use super::conditions::{self, NODE, Verdict};
use super::environment::{Identity, PortMap};
use super::pod::{self, Address};
use super::reconcile::{Handle, Reconciler};
use super::stop::Stop;
use super::volumes::{Access, Folder};
use crate::store::{Kind, SandboxObject, Store};

/// Labels of a Sandbox that its pod carries too.
const SHARED_LABELS: [&str; 3] = [label::CLAIM_UID, label::WARM_POOL, label::TEMPLATE_REF_HASH];

impl Reconciler {
    /// Makes one Sandbox so.
    pub(super) fn sandbox(&mut self, key: &SandboxKey) {
        let Some(object) = self.store.get::<SandboxObject>(key) else {
            self.journal.sandbox(key, None);
            if self.pods.contains_key(key) {
                self.end_pod(key);
            }
            return;
        };
        self.journal.sandbox(key, Some(&object));
        let spec = &object.sandbox.spec;
        if object.sandbox.metadata.deletion_timestamp.is_some() {
            return self.finalize(key, &object);
        }
        if let Some(Time(expiry)) = spec.shutdown_time {
            if expiry <= Timestamp::now() {
                return self.expire(key, &object);
            }
            self.look_at(Kind::Sandbox, key, expiry);
        }
        let pod = self.store.get::<Pod>(key);
        let mut fault = None;
        match (spec.operating_mode, pod) {
            (OperatingMode::Running, None) => fault = self.start_pod(key, &object).err(),
            (OperatingMode::Running, Some(_)) if self.is_of_an_earlier_wake(key, &object) => {
                self.end_pod(key);
                return self.sandbox(key);
            }
            (OperatingMode::Suspended, Some(pod)) if pod.metadata.deletion_timestamp.is_none() => {
                self.end_pod(key)
            }
            (OperatingMode::Running, Some(_)) | (OperatingMode::Suspended, _) => {}
        }
        let pod = self.store.get::<Pod>(key);
        let mut status = conditions::sandbox(&object, pod.as_deref());
        if let Some(fault) = fault {
            let generation = object.sandbox.metadata.generation;
            let verdict = Verdict::new("Ready", false, "InvalidConfiguration", fault);
            status.conditions =
                conditions::conditions(&status.conditions, generation, vec![verdict]);
        }
        self.write_status(key, status, pod.is_some());
        self.tell_owner(key, &object);
    }

    /// A pod that ended by itself is replaced by a sleep and a wake, also where both came between two looks.
    fn is_of_an_earlier_wake(&self, key: &SandboxKey, object: &SandboxObject) -> bool {
        self.pods
            .get(key)
            .is_some_and(|pod| pod.ended && pod.generation != object.sandbox.metadata.generation)
    }

    fn write_status(&self, key: &SandboxKey, status: SandboxStatus, pod: bool) {
        self.store.update(key, |object: &mut SandboxObject| {
            object.sandbox.status = Some(status);
            let meta = &mut object.sandbox.metadata;
            if pod {
                let annotations = meta.annotations.get_or_insert_default();
                annotations.insert(annotation::POD_NAME.to_owned(), key.name().to_owned());
            } else if let Some(annotations) = &mut meta.annotations {
                annotations.remove(annotation::POD_NAME);
            }
        });
    }

    /// The claim or pool that this Sandbox belongs to looks at it.
    fn tell_owner(&mut self, key: &SandboxKey, object: &SandboxObject) {
        let Some(owner) = owner(&object.sandbox.metadata) else {
            return;
        };
        let Ok(owner_key) = key.sibling(&owner.name) else {
            return;
        };
        match owner.kind.as_str() {
            "SandboxClaim" => self.claim(&owner_key),
            "SandboxWarmPool" => self.pool(&owner_key),
            _ => {}
        }
    }

    fn expire(&mut self, key: &SandboxKey, object: &SandboxObject) {
        if self
            .store
            .get::<Pod>(key)
            .is_some_and(|pod| pod.metadata.deletion_timestamp.is_none())
        {
            self.end_pod(key);
        }
        self.write_status(
            key,
            conditions::expired(object),
            self.pods.contains_key(key),
        );
        if object.sandbox.spec.shutdown_policy == Some(ShutdownPolicy::Delete) {
            self.store.delete::<SandboxObject>(key);
        }
        self.tell_owner(key, object);
    }

    fn finalize(&mut self, key: &SandboxKey, object: &SandboxObject) {
        if self
            .store
            .get::<Pod>(key)
            .is_some_and(|pod| pod.metadata.deletion_timestamp.is_none())
        {
            self.end_pod(key);
        }
        if self.store.get::<Pod>(key).is_some() {
            return;
        }
        for template in volume_templates(&object.sandbox) {
            self.machine
                .state
                .discard(&self.machine.state.volume(key, &template));
        }
        let logs = self.machine.state.logs(key.namespace(), key.name());
        self.machine.state.discard(&logs);
        self.trash = true;
        self.store.remove::<SandboxObject>(key);
        self.journal.sandbox(key, None);
        for members in self.members.values_mut() {
            members.remove(key);
        }
        self.tell_owner(key, object);
        // A claim may have waited for this name.
        self.claim(key);
    }

    /// # Errors
    /// If the pod template cannot be run here, which the manifest's check let pass.
    fn start_pod(&mut self, key: &SandboxKey, object: &SandboxObject) -> Result<(), String> {
        let spec: PodSpec = serde_json::from_value(Value::Object(object.template.spec.clone()))
            .map_err(|error| format!("spec.podTemplate.spec: {error}"))?;
        let templates = volume_templates(&object.sandbox);
        let pod = new_pod(key, object, with_volumes(spec.clone(), &templates, key));
        let meta = &pod.metadata;
        let identity = Identity {
            name: key.name().to_owned(),
            namespace: key.namespace().to_owned(),
            uid: meta.uid.clone().unwrap_or_default(),
            labels: meta.labels.clone().unwrap_or_default(),
            annotations: meta.annotations.clone().unwrap_or_default(),
        };
        let report = report(self.store.clone(), key.clone(), identity.uid.clone());
        self.store.insert(key, pod);
        let (stop, grace) = (Stop::default(), pod::grace(&spec));
        let folders = templates.into_iter().map(|volume| Folder {
            path: self.machine.state.volume(key, &volume),
            volume,
            access: Access::Sole,
        });
        let pod = pod::Pod {
            machine: Arc::clone(&self.machine),
            identity,
            folders: folders.collect(),
            address: Address::Shared,
            board: Arc::new(Board::new(&spec, None, report)),
            spec,
            stop: stop.clone(),
        };
        let task = self.tasks.spawn(pod.run());
        self.by_task.insert(task.id(), key.clone());
        let generation = object.sandbox.metadata.generation;
        self.pods.insert(
            key.clone(),
            Handle {
                stop,
                grace,
                ended: false,
                generation,
            },
        );
        Ok(())
    }
}

/// Writes statuses, and where the ports are, into the store's pod while it is this one.
fn report(store: Store, key: SandboxKey, uid: String) -> Report {
    Box::new(move |status, ports| {
        store.update(&key, |pod: &mut Pod| {
            if pod.metadata.uid.as_deref() != Some(&uid) {
                return;
            }
            if !ports.is_empty()
                && let Ok(ports) = port_map(ports)
            {
                let annotations = pod.metadata.annotations.get_or_insert_default();
                annotations.insert(annotation::PORTS.to_owned(), ports);
            }
            pod.status = Some(status.clone());
        });
    })
}

fn port_map(ports: &[PortMap]) -> serde_json::Result<String> {
    let map: BTreeMap<u16, u16> = ports
        .iter()
        .map(|port| (port.container, port.local))
        .collect();
    serde_json::to_string(&map)
}

/// The controlling owner.
pub(super) fn owner(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .as_deref()?
        .iter()
        .find(|owner| owner.controller == Some(true))
}

/// Names of the volume claim templates.
pub(super) fn volume_templates(sandbox: &Sandbox) -> Vec<String> {
    let templates = sandbox.spec.volume_claim_templates.iter().flatten();
    templates
        .filter_map(|template| template.metadata.name.clone())
        .collect()
}

fn new_pod(key: &SandboxKey, object: &SandboxObject, spec: PodSpec) -> Pod {
    let template = object.template.metadata.clone().unwrap_or_default();
    let mut labels = template.labels.unwrap_or_default();
    labels.insert(label::NAME_HASH.to_owned(), name_hash(key.name()));
    for shared in SHARED_LABELS {
        let value = object
            .sandbox
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(shared));
        labels.extend(value.map(|value| (shared.to_owned(), value.clone())));
    }
    let owner = OwnerReference {
        api_version: Sandbox::api_version(&()).into_owned(),
        kind: Sandbox::kind(&()).into_owned(),
        name: key.name().to_owned(),
        uid: object.sandbox.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    Pod {
        metadata: ObjectMeta {
            name: Some(key.name().to_owned()),
            namespace: Some(key.namespace().to_owned()),
            uid: Some(uuid::Uuid::new_v4().to_string()),
            labels: Some(labels),
            annotations: Some(template.annotations.unwrap_or_default())
                .filter(|all: &BTreeMap<_, _>| !all.is_empty()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: Some(PodStatus {
            phase: Some("Pending".to_owned()),
            ..PodStatus::default()
        }),
    }
}

/// The volumes of templates in the spec, by name, as a StatefulSet's.
fn with_volumes(mut spec: PodSpec, templates: &[String], key: &SandboxKey) -> PodSpec {
    spec.node_name = Some(NODE.to_owned());
    let volumes = spec.volumes.get_or_insert_default();
    volumes.retain(|volume| !templates.contains(&volume.name));
    volumes.extend(templates.iter().map(|template| Volume {
        name: template.clone(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: format!("{template}-{}", key.name()),
            read_only: None,
        }),
        ..Volume::default()
    }));
    spec
}
