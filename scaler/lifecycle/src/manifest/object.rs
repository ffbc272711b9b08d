//! From a document to the objects it holds.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use reveille_crds::SandboxKey;
use reveille_crds::claim::SandboxClaim;
use reveille_crds::key::{MAX_LABEL, is_label};
use reveille_crds::names::DEFAULT_NAMESPACE;
use reveille_crds::sandbox::{PodTemplate, Sandbox, VolumeClaimTemplate};
use reveille_crds::scaled_sandbox::ScaledSandbox;
use reveille_crds::template::SandboxTemplate;
use reveille_crds::warm_pool::SandboxWarmPool;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::document::typed;
use super::read::Document;
use super::{Place, Report, pod, volumes};
use crate::object::Object;

/// Length of the suffix of a pool's members: `-` and five characters.
const MEMBER_SUFFIX: usize = 6;

const UNKNOWN: &str = "unknown field; correct its name or remove it";

/// Objects with where they stand, and which Sandboxes say no mode.
type Loaded<'a> = (&'a mut Vec<(Place, Object)>, &'a mut BTreeSet<SandboxKey>);

/// Adds the objects of a document: one, or those of a `v1 List`.
pub(super) fn objects(document: Document, mut loaded: Loaded<'_>, report: &mut Report) {
    let Document { place, mut value } = document;
    let kind = text(&value, "kind");
    if kind == "List" && text(&value, "apiVersion") == "v1" {
        let Some(Value::Array(items)) = value.get_mut("items").map(Value::take) else {
            return report.add(
                &place,
                "items",
                "missing; a List holds its objects in items",
            );
        };
        for (index, item) in items.into_iter().enumerate() {
            let mut inner = Report::new(report.policy);
            add(&place, item, &mut loaded, &mut inner);
            for mut problem in inner.problems {
                let dot = if problem.field.is_empty() { "" } else { "." };
                problem.field = format!("items[{index}]{dot}{}", problem.field);
                report.problems.push(problem);
            }
        }
        return;
    }
    add(&place, value, &mut loaded, report);
}

fn add(place: &Place, value: Value, (loaded, silent): &mut Loaded<'_>, report: &mut Report) {
    let is_silent = value.pointer("/spec/operatingMode").is_none();
    let Some(object) = object(place, value, report) else {
        return;
    };
    if let (Object::Sandbox(_), true, Ok(key)) = (&object, is_silent, object.key()) {
        silent.insert(key);
    }
    loaded.push((place.clone(), object));
}

fn object(place: &Place, mut value: Value, report: &mut Report) -> Option<Object> {
    let Value::Object(fields) = &mut value else {
        report.add(
            place,
            "",
            "not an object; write apiVersion, kind, metadata and spec",
        );
        return None;
    };
    // What a server would fill in and what `kubectl get -o yaml` shows of it.
    fields.remove("status");
    let before = report.problems.len();
    let object = match text(&value, "kind").as_str() {
        "Sandbox" => read::<Sandbox>(place, &value, report).map(|it| Object::Sandbox(Box::new(it))),
        "SandboxTemplate" => {
            read::<SandboxTemplate>(place, &value, report).map(|it| Object::Template(Box::new(it)))
        }
        "SandboxWarmPool" => {
            read::<SandboxWarmPool>(place, &value, report).map(|it| Object::Pool(Box::new(it)))
        }
        "SandboxClaim" => {
            read::<SandboxClaim>(place, &value, report).map(|it| Object::Claim(Box::new(it)))
        }
        "ScaledSandbox" => {
            read::<ScaledSandbox>(place, &value, report).map(|it| Object::Policy(Box::new(it)))
        }
        "" => {
            report.add(place, "kind", "missing; write Sandbox, SandboxTemplate, SandboxWarmPool, SandboxClaim or ScaledSandbox");
            None
        }
        other => {
            let text = format!(
                "unknown kind {other:?}; without a cluster there are Sandbox, SandboxTemplate, SandboxWarmPool, SandboxClaim and ScaledSandbox"
            );
            report.add(place, "kind", text);
            None
        }
    }?;
    check(place, &object, report);
    (report.problems.len() == before).then_some(object)
}

fn read<T>(place: &Place, value: &Value, report: &mut Report) -> Option<T>
where
    T: DeserializeOwned + Resource<DynamicType = ()>,
{
    let expected = T::api_version(&());
    let version = text(value, "apiVersion");
    if version != expected {
        report.add(
            place,
            "apiVersion",
            format!("is {version:?}; write {expected}"),
        );
        return None;
    }
    match typed::<T>(value) {
        Ok(mut typed) => {
            for path in typed.unknown.iter().filter(|path| path.starts_with("spec")) {
                report.add(place, path.as_str(), UNKNOWN);
            }
            metadata(place, typed.value.meta_mut(), report);
            Some(typed.value)
        }
        Err((path, text)) => {
            report.add(place, path, text);
            None
        }
    }
}

/// Checks names, and keeps what an author may set.
fn metadata(place: &Place, meta: &mut ObjectMeta, report: &mut Report) {
    let name = meta.name.take().unwrap_or_default();
    let namespace = meta
        .namespace
        .take()
        .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    if name.is_empty() {
        report.add(
            place,
            "metadata.name",
            "missing; write a name of a-z, 0-9 and '-'",
        );
    } else {
        label(place, "metadata.name", &name, report);
    }
    label(place, "metadata.namespace", &namespace, report);
    for label in meta.labels.iter().flat_map(|labels| labels.keys()) {
        if label.starts_with("agents.x-k8s.io/") {
            let field = format!("metadata.labels[{label}]");
            report.add(
                place,
                field,
                "is set by the sandbox controller alone; remove it",
            );
        }
    }
    let mut annotations = meta.annotations.take();
    if let Some(all) = &mut annotations {
        all.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    *meta = ObjectMeta {
        name: Some(name),
        namespace: Some(namespace),
        labels: meta.labels.take(),
        annotations,
        ..ObjectMeta::default()
    };
}

fn label(place: &Place, field: &str, name: &str, report: &mut Report) {
    if is_label(name) {
        return;
    }
    let text = if name.len() > MAX_LABEL {
        format!(
            "{} characters long; write at most {MAX_LABEL}, since it becomes part of a host name",
            name.len()
        )
    } else {
        format!(
            "{name:?} cannot be part of a host name; write 1 to {MAX_LABEL} of a-z, 0-9 and '-' (no dots), starting and ending with a letter or digit"
        )
    };
    report.add(place, field, text);
}

fn check(place: &Place, object: &Object, report: &mut Report) {
    match object {
        Object::Sandbox(sandbox) => {
            unknown(place, &sandbox.spec.rest, report);
            let vcts = sandbox
                .spec
                .volume_claim_templates
                .as_deref()
                .unwrap_or_default();
            blueprint(place, &sandbox.spec.pod_template, vcts, report);
        }
        Object::Template(template) => {
            unknown(place, &template.spec.rest, report);
            let vcts = template
                .spec
                .volume_claim_templates
                .as_deref()
                .unwrap_or_default();
            blueprint(place, &template.spec.pod_template, vcts, report);
        }
        Object::Claim(claim) => {
            unknown(place, &claim.spec.rest, report);
            if let Some(lifecycle) = &claim.spec.lifecycle {
                for field in lifecycle.rest.keys() {
                    report.add(place, format!("spec.lifecycle.{field}"), UNKNOWN);
                }
            }
        }
        Object::Pool(pool) => {
            unknown(place, &pool.spec.rest, report);
            if pool.spec.replicas < 0 {
                report.add(place, "spec.replicas", "negative; write 0 or more");
            }
            if pool
                .metadata
                .name
                .as_ref()
                .is_some_and(|name| name.len() + MEMBER_SUFFIX > MAX_LABEL)
            {
                let text = format!(
                    "too long for the names of its members; write at most {}",
                    MAX_LABEL - MEMBER_SUFFIX
                );
                report.add(place, "metadata.name", text);
            }
        }
        Object::Policy(policy) => {
            for error in (report.policy)(&policy.spec) {
                report.add(place, error.field, error.message);
            }
        }
    }
}

fn blueprint(
    place: &Place,
    template: &PodTemplate,
    vcts: &[VolumeClaimTemplate],
    report: &mut Report,
) {
    for field in template.rest.keys() {
        let text = "unknown field; a pod template has metadata and spec";
        report.add(place, format!("spec.podTemplate.{field}"), text);
    }
    volumes::check_templates(place, vcts, report);
    pod::check(place, template, vcts, report);
}

fn unknown(place: &Place, rest: &Map<String, Value>, report: &mut Report) {
    for field in rest.keys() {
        report.add(place, format!("spec.{field}"), UNKNOWN);
    }
}

fn text(value: &Value, field: &str) -> String {
    value
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
