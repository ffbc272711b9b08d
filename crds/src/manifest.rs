//! The CRDs: of Reveille's own kinds, and of upstream's four for clusters and machines without them.
//!
//! `deploy/crds/` holds the same texts, one file a kind; a test fails when they are stale.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::{Map, Number, Value};

use crate::claim::SandboxClaim;
use crate::released_claim::ReleasedClaim;
use crate::sandbox::Sandbox;
use crate::scaled_sandbox::ScaledSandbox;
use crate::template::SandboxTemplate;
use crate::warm_pool::SandboxWarmPool;

#[cfg(test)]
mod tests;

/// Pattern of `metav1.Condition`'s reason.
const REASON: &str = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$";
/// Pattern of `metav1.Condition`'s type: a CamelCase word, with or without a domain.
const CONDITION_TYPE: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$";

/// What `deploy/crds/` is refreshed with.
pub const REFRESH: &str = "cargo run -- crds --output deploy/crds";

/// All CRDs, upstream's first.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    let generated = [
        Sandbox::crd(),
        SandboxTemplate::crd(),
        SandboxClaim::crd(),
        SandboxWarmPool::crd(),
        ScaledSandbox::crd(),
        ReleasedClaim::crd(),
    ];
    generated.into_iter().map(finish).collect()
}

/// All CRDs in one YAML text, a document each.
#[must_use]
pub fn yaml() -> String {
    let documents: Vec<String> = files().into_iter().map(|(_, text)| text).collect();
    documents.join("---\n")
}

/// File name and text of each CRD.
#[must_use]
pub fn files() -> Vec<(String, String)> {
    let text = |crd: &CustomResourceDefinition| {
        let value = serde_json::to_value(crd).expect("a CRD has string keys only");
        serde_saphyr::to_string(&stable(value)).expect("JSON has a YAML form")
    };
    let name = |crd: &CustomResourceDefinition| {
        format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural)
    };
    crds().iter().map(|crd| (name(crd), text(crd))).collect()
}

/// The same text whatever features other packages switch on in `serde_json`: keys in order, and whole
/// numbers as such (the bounds of a schema are floats in Go and in `k8s-openapi`).
fn stable(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<String, Value> = map
                .into_iter()
                .map(|(key, value)| (key, stable(value)))
                .collect();
            sorted.into_iter().collect()
        }
        Value::Array(items) => items.into_iter().map(stable).collect(),
        Value::Number(number) => whole(&number).map_or(Value::Number(number), Value::from),
        other => other,
    }
}

/// No bound of ours is beyond what an `i32` holds.
fn whole(number: &Number) -> Option<i32> {
    let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
    format!("{float:.0}").parse().ok()
}

/// What the derive leaves to say.
fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        if let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|s| s.open_api_v3_schema.as_mut())
        {
            tidy(schema);
            for (name, part) in schema.properties.iter_mut().flatten() {
                if name == "status" {
                    observed(part);
                }
            }
        }
    }
    crd
}

/// A status has no defaults: what was not observed is not there.
fn observed(status: &mut JSONSchemaProps) {
    status.default = None;
    for (name, part) in status.properties.iter_mut().flatten() {
        observed(part);
        if let ("conditions", Some(JSONSchemaPropsOrArray::Schema(items))) =
            (name.as_str(), &mut part.items)
        {
            items
                .properties
                .iter_mut()
                .flatten()
                .for_each(|(name, field)| bound(name, field));
        }
    }
}

/// The bounds of `metav1.Condition`, which `k8s-openapi` does not carry.
fn bound(name: &str, field: &mut JSONSchemaProps) {
    match name {
        "message" => field.max_length = Some(32_768),
        "observedGeneration" => field.minimum = Some(0.0),
        "reason" => {
            (field.min_length, field.max_length) = (Some(1), Some(1024));
            field.pattern = Some(REASON.to_owned());
        }
        "status" => {
            let words = ["True", "False", "Unknown"];
            field.enum_ = Some(words.map(|word| JSON(word.into())).into());
        }
        "type" => {
            field.max_length = Some(316);
            field.pattern = Some(CONDITION_TYPE.to_owned());
        }
        _ => {}
    }
}

/// A paragraph of a doc comment on one line.
fn unwrapped(text: &str) -> String {
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(|paragraph| paragraph.replace('\n', " "))
        .collect();
    paragraphs.join("\n\n")
}

/// A null stands for nothing in every one of these kinds: without `nullable` the API server drops it and
/// fills in the default. `uintN` is no format of OpenAPI; the bounds say it.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.title = None;
    schema.default = schema
        .default
        .take()
        .filter(|JSON(value)| *value != Value::Object(Map::new()));
    if let Some(text) = &mut schema.description {
        *text = unwrapped(text);
    }
    if matches!(
        schema.additional_properties,
        Some(JSONSchemaPropsOrBool::Bool(_))
    ) {
        schema.additional_properties = None;
    }
    if schema
        .format
        .as_deref()
        .is_some_and(|format| format.starts_with("uint"))
    {
        schema.format = None;
    }
    schema
        .properties
        .iter_mut()
        .flat_map(|map| map.values_mut())
        .for_each(tidy);
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tidy(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(tidy),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}
