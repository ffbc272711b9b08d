//! Nothing a user or a newer upstream wrote into a spec is lost on the way through these types.

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::claim::SandboxClaim;
use crate::sandbox::Sandbox;
use crate::template::SandboxTemplate;
use crate::warm_pool::SandboxWarmPool;

/// Objects with every field of upstream.
fn objects() -> Vec<(&'static str, Value)> {
    let specs = [
        ("Sandbox", sandbox()),
        ("SandboxTemplate", template()),
        ("SandboxClaim", claim()),
        ("SandboxWarmPool", pool()),
    ];
    let object = |(kind, spec): (&'static str, Value)| {
        let group = if kind == "Sandbox" {
            "agents.x-k8s.io"
        } else {
            "extensions.agents.x-k8s.io"
        };
        let meta = json!({"name": "alice", "namespace": "agents"});
        let api = format!("{group}/v1beta1");
        (
            kind,
            json!({"apiVersion": api, "kind": kind, "metadata": meta, "spec": spec}),
        )
    };
    specs.into_iter().map(object).collect()
}

fn pod_template() -> Value {
    let limits = json!({"limits": {"cpu": "500m"}});
    json!({
        "metadata": {"labels": {"a": "1"}, "annotations": {"b": "2"}},
        "spec": {"containers": [{"name": "agent", "image": "agent:1", "resources": limits}]},
    })
}

fn volumes() -> Value {
    json!([{
        "metadata": {"name": "home", "labels": {"c": "3"}, "annotations": {}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }])
}

fn sandbox() -> Value {
    json!({
        "podTemplate": pod_template(), "volumeClaimTemplates": volumes(), "service": false,
        "shutdownTime": "2026-01-02T03:04:05Z", "shutdownPolicy": "Delete", "operatingMode": "Suspended",
    })
}

fn template() -> Value {
    json!({
        "podTemplate": pod_template(), "volumeClaimTemplates": volumes(), "service": true,
        "networkPolicy": {"ingress": [{"from": [{"podSelector": {}}]}], "egress": []},
        "networkPolicyManagement": "Unmanaged", "envVarsInjectionPolicy": "Overrides",
        "volumeClaimTemplatesPolicy": "Allowed",
    })
}

fn claim() -> Value {
    json!({
        "warmPoolRef": {"name": "pool"},
        "lifecycle": {"shutdownTime": "2026-01-02T03:04:05Z", "ttlSecondsAfterFinished": 0,
                      "shutdownPolicy": "DeleteForeground"},
        "additionalPodMetadata": {"labels": {"sandbox.users.io/a": "1"}},
        "env": [{"name": "A", "value": "", "containerName": "agent"}, {"name": "B"}],
        "volumeClaimTemplates": volumes(),
    })
}

fn pool() -> Value {
    let strategy = json!({"type": "Recreate"});
    json!({"replicas": 0, "sandboxTemplateRef": {"name": "template"}, "updateStrategy": strategy})
}

fn through(kind: &str, value: &Value) -> Value {
    fn pass<T: Serialize + DeserializeOwned>(value: &Value) -> Value {
        let object: T = serde_json::from_value(value.clone()).unwrap();
        serde_json::to_value(object).unwrap()
    }
    match kind {
        "Sandbox" => pass::<Sandbox>(value),
        "SandboxTemplate" => pass::<SandboxTemplate>(value),
        "SandboxClaim" => pass::<SandboxClaim>(value),
        _ => pass::<SandboxWarmPool>(value),
    }
}

#[test]
fn every_field_of_upstream_passes_through() {
    for (kind, object) in objects() {
        assert_eq!(through(kind, &object), object, "{kind}");
    }
}

#[test]
fn the_least_that_can_be_said_gains_only_its_defaults() {
    let least = |kind: &str, spec: Value| {
        let value = json!({"apiVersion": "x/v1", "kind": kind, "metadata": {}, "spec": spec});
        through(kind, &value)["spec"].clone()
    };
    let pod = json!({"spec": {"containers": []}});
    let sandbox = least("Sandbox", json!({"podTemplate": pod}));
    assert_eq!(
        sandbox,
        json!({"podTemplate": pod, "operatingMode": "Running"})
    );
    assert_eq!(
        least("SandboxTemplate", json!({"podTemplate": pod})),
        json!({"podTemplate": pod})
    );
    let claim = json!({"warmPoolRef": {"name": "p"}});
    assert_eq!(least("SandboxClaim", claim.clone()), claim);
    let pool = least(
        "SandboxWarmPool",
        json!({"sandboxTemplateRef": {"name": "t"}}),
    );
    assert_eq!(
        pool,
        json!({"sandboxTemplateRef": {"name": "t"}, "replicas": 1})
    );
}

/// Any JSON, as deep as a PodSpec gets.
fn json_tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9_f64).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z$_.-]{0,12}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Puts `more` under names no schema has into every object below `value`, except where all names are
/// the user's (labels, annotations).
fn scatter(value: &mut Value, more: &Value) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                if key != "labels" && key != "annotations" {
                    scatter(inner, more);
                }
            }
            map.insert("zzNewer".to_owned(), more.clone());
        }
        Value::Array(items) => items.iter_mut().for_each(|item| scatter(item, more)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn unknown_fields_anywhere_in_a_spec_pass_through(more in json_tree()) {
        for (kind, mut object) in objects() {
            scatter(&mut object["spec"], &more);
            prop_assert_eq!(through(kind, &object), object);
        }
    }

    #[test]
    fn any_pod_spec_passes_through(
        spec in prop::collection::btree_map("[a-zA-Z]{1,12}", json_tree(), 0..8),
    ) {
        let spec: Value = Value::Object(spec.into_iter().collect());
        for (kind, mut object) in objects().into_iter().take(2) {
            object["spec"]["podTemplate"]["spec"] = spec.clone();
            object["spec"]["volumeClaimTemplates"][0]["spec"] = spec.clone();
            prop_assert_eq!(through(kind, &object), object);
        }
    }
}

#[test]
fn a_word_that_is_none_of_upstreams_is_refused_by_name() {
    let (_, mut object) = objects().remove(0);
    object["spec"]["operatingMode"] = json!("Paused");
    let error = serde_json::from_value::<Sandbox>(object)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`Paused`") && error.contains("`Suspended`"),
        "{error}"
    );
}
