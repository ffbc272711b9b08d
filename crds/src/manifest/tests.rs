use super::*;

fn documents() -> Vec<Value> {
    files()
        .iter()
        .map(|(_, text)| serde_saphyr::from_str(text).unwrap())
        .collect()
}

/// Every schema within `value`, with where it is.
fn schemas(path: &str, value: &Value, found: &mut Vec<(String, Value)>) {
    if value.is_object() {
        found.push((path.to_owned(), value.clone()));
    }
    for (name, property) in value["properties"].as_object().into_iter().flatten() {
        schemas(&format!("{path}.{name}"), property, found);
    }
    for key in ["items", "additionalProperties"] {
        if value[key].is_object() {
            schemas(&format!("{path}.{key}"), &value[key], found);
        }
    }
}

fn all_schemas() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for crd in documents() {
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        schemas(&kind, schema, &mut found);
    }
    found
}

#[test]
fn checked_in_manifests_are_fresh() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/crds");
    let mut listed: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    listed.sort();
    let mut expected: Vec<String> = files().into_iter().map(|(name, _)| name).collect();
    expected.sort();
    assert_eq!(listed, expected, "refresh {folder} with: {REFRESH}");
    for (name, text) in files() {
        let present = std::fs::read_to_string(format!("{folder}/{name}")).unwrap();
        assert!(
            present == text,
            "{name} is stale, refresh it with: {REFRESH}"
        );
    }
}

#[test]
fn the_yaml_reads_back_as_the_same_crds() {
    let read: Vec<CustomResourceDefinition> = documents()
        .into_iter()
        .map(|value| serde_json::from_value(value).unwrap())
        .collect();
    assert_eq!(read, crds());
    assert_eq!(yaml().matches("\n---\n").count(), crds().len() - 1);
}

#[test]
fn schemas_are_structural() {
    let schemas = all_schemas();
    assert!(schemas.len() > 100, "{}", schemas.len());
    for (path, schema) in schemas {
        assert!(schema["type"].is_string(), "{path} has no type");
        for key in [
            "$ref",
            "anyOf",
            "oneOf",
            "allOf",
            "not",
            "nullable",
            "definitions",
            "$defs",
        ] {
            assert!(schema.get(key).is_none(), "{path} has {key}");
        }
        assert!(
            schema["additionalProperties"] != Value::Bool(true),
            "{path}"
        );
        let both =
            schema.get("properties").is_some() && schema.get("additionalProperties").is_some();
        assert!(!both, "{path} has both properties and additionalProperties");
        if schema["type"] == "array" {
            assert!(schema["items"].is_object(), "{path} has no items");
        }
    }
}

#[test]
fn every_field_a_user_sets_is_described() {
    for (path, schema) in all_schemas() {
        let generated = path.ends_with(".items") || path.ends_with(".additionalProperties");
        assert!(
            generated || schema["description"].is_string(),
            "{path} has no description"
        );
    }
}

#[test]
fn names_scopes_and_subresources_are_upstreams() {
    let seen: Vec<String> = documents()
        .iter()
        .map(|crd| {
            let version = &crd["spec"]["versions"][0];
            let columns = version["additionalPrinterColumns"].as_array();
            let columns: Vec<&str> = columns
                .into_iter()
                .flatten()
                .map(|c| c["name"].as_str().unwrap())
                .collect();
            let subresources = version["subresources"].as_object();
            let subresources: Vec<&str> = subresources
                .into_iter()
                .flatten()
                .map(|(name, _)| name.as_str())
                .collect();
            format!(
                "{} {} {} {} [{}] [{}]",
                crd["metadata"]["name"].as_str().unwrap(),
                version["name"].as_str().unwrap(),
                crd["spec"]["names"]["shortNames"][0].as_str().unwrap(),
                crd["spec"]["scope"].as_str().unwrap(),
                subresources.join(" "),
                columns.join(" "),
            )
        })
        .collect();
    let expected = [
        "sandboxes.agents.x-k8s.io v1beta1 sandbox Namespaced [status] [Ready Reason Age]",
        "sandboxtemplates.extensions.agents.x-k8s.io v1beta1 sandboxtemplate Namespaced [] []",
        "sandboxclaims.extensions.agents.x-k8s.io v1beta1 sandboxclaim Namespaced [status] \
         [Ready Sandbox Reason Age]",
        "sandboxwarmpools.extensions.agents.x-k8s.io v1beta1 swp Namespaced [scale status] \
         [Ready Desired Age]",
        "scaledsandboxes.reveille.dev v1alpha1 ssb Namespaced [status] \
         [Target Cooldown Awake Asleep Ready Age]",
        "releasedclaims.reveille.dev v1alpha1 rcl Namespaced [] [Pool Removal Age]",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn upstreams_fields_are_all_there() {
    let names: Vec<String> = all_schemas().into_iter().map(|(path, _)| path).collect();
    for path in [
        "Sandbox.spec.podTemplate.metadata.annotations",
        "Sandbox.spec.podTemplate.metadata.labels",
        "Sandbox.spec.podTemplate.spec",
        "Sandbox.spec.volumeClaimTemplates.items.metadata.name",
        "Sandbox.spec.volumeClaimTemplates.items.spec",
        "Sandbox.spec.service",
        "Sandbox.spec.shutdownTime",
        "Sandbox.spec.shutdownPolicy",
        "Sandbox.spec.operatingMode",
        "Sandbox.status.serviceFQDN",
        "Sandbox.status.service",
        "Sandbox.status.conditions.items.observedGeneration",
        "Sandbox.status.selector",
        "Sandbox.status.podIPs",
        "Sandbox.status.nodeName",
        "SandboxTemplate.spec.podTemplate.spec",
        "SandboxTemplate.spec.volumeClaimTemplates.items.spec",
        "SandboxTemplate.spec.service",
        "SandboxTemplate.spec.networkPolicy.ingress.items",
        "SandboxTemplate.spec.networkPolicy.egress.items",
        "SandboxTemplate.spec.networkPolicyManagement",
        "SandboxTemplate.spec.envVarsInjectionPolicy",
        "SandboxTemplate.spec.volumeClaimTemplatesPolicy",
        "SandboxClaim.spec.warmPoolRef.name",
        "SandboxClaim.spec.lifecycle.shutdownTime",
        "SandboxClaim.spec.lifecycle.ttlSecondsAfterFinished",
        "SandboxClaim.spec.lifecycle.shutdownPolicy",
        "SandboxClaim.spec.additionalPodMetadata.labels",
        "SandboxClaim.spec.env.items.containerName",
        "SandboxClaim.spec.volumeClaimTemplates.items.spec",
        "SandboxClaim.status.conditions",
        "SandboxClaim.status.sandbox.name",
        "SandboxClaim.status.sandbox.podIPs",
        "SandboxWarmPool.spec.replicas",
        "SandboxWarmPool.spec.sandboxTemplateRef.name",
        "SandboxWarmPool.spec.updateStrategy.type",
        "SandboxWarmPool.status.replicas",
        "SandboxWarmPool.status.readyReplicas",
        "SandboxWarmPool.status.selector",
        "SandboxWarmPool.status.observedGeneration",
    ] {
        assert!(names.iter().any(|name| name == path), "{path} is missing");
    }
}

#[test]
fn upstreams_defaults_are_in_the_schema() {
    let default = |path: &str| {
        let all = all_schemas();
        all.iter()
            .find(|(name, _)| name == path)
            .map(|(_, schema)| schema["default"].clone())
            .unwrap()
    };
    for (path, value) in [
        ("Sandbox.spec.operatingMode", "Running"),
        ("Sandbox.spec.shutdownPolicy", "Retain"),
        ("SandboxTemplate.spec.networkPolicyManagement", "Managed"),
        ("SandboxTemplate.spec.envVarsInjectionPolicy", "Disallowed"),
        (
            "SandboxTemplate.spec.volumeClaimTemplatesPolicy",
            "Disallowed",
        ),
        ("SandboxClaim.spec.lifecycle.shutdownPolicy", "Retain"),
        ("SandboxWarmPool.spec.updateStrategy.type", "OnReplenish"),
    ] {
        assert_eq!(default(path), value, "{path}");
    }
}
