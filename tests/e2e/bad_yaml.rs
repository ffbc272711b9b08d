//! Manifests that cannot be run are refused at the start, with file, document, field and remedy.

use serde_json::{Value, json};

use crate::support::home::Home;
use crate::support::manifests::{Agent, Manifests};
use crate::support::reveille::refused;

/// Starts Reveille on a text of manifests: it must end with the code of a bad configuration, without
/// a panic, naming the file and every one of `words`.
async fn names(text: &str, words: &[&str]) {
    let home = Home::with(&Manifests::new());
    std::fs::write(home.manifests().join("all.yaml"), text).unwrap();
    let (status, said) = refused(&home, &[]).await;
    assert_eq!(status.code(), Some(78), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    for word in words.iter().chain(&["all.yaml"]) {
        assert!(said.contains(word), "no {word:?} in {said:?}\nfor\n{text}");
    }
}

/// The YAML of one agent, changed.
fn changed(change: impl FnOnce(&mut Value)) -> String {
    let mut object =
        serde_json::from_str(&Manifests::new().agent(Agent::asleep("alice")).yaml("")).unwrap();
    change(&mut object);
    object.to_string()
}

#[tokio::test]
async fn what_is_not_yaml_is_told_with_its_place() {
    names("a: [1, 2", &[]).await;
    names("a: 1\n  b: 2\n", &[]).await;
    names("just words\n", &["document 1"]).await;
    names("\u{0}\u{1}\u{2}", &[]).await;
    names(
        &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        &[],
    )
    .await;
}

#[tokio::test]
async fn an_unknown_kind_or_version_is_named() {
    names(
        &changed(|object| object["kind"] = "Sandbux".into()),
        &["document 1", "Sandbux", "Sandbox"],
    )
    .await;
    names(
        &changed(|object| object["apiVersion"] = "agents.x-k8s.io/v9".into()),
        &["v9", "v1beta1"],
    )
    .await;
    names(&changed(|object| object["kind"] = Value::Null), &["kind"]).await;
}

#[tokio::test]
async fn the_document_of_an_error_is_counted() {
    let good = Manifests::new().agent(Agent::asleep("alice")).yaml("");
    let bad = changed(|object| object["spec"]["operatingMode"] = "Sleeping".into());
    names(
        &format!("{good}\n---\n{bad}"),
        &["document 2", "operatingMode", "Suspended"],
    )
    .await;
}

#[tokio::test]
async fn an_unknown_field_of_a_policy_is_named() {
    let policy = |spec: Value| Manifests::new().policy(spec).yaml("");
    names(&policy(json!({"coolDownPeriod": 5})), &["coolDownPeriod"]).await;
    names(&policy(json!({"cooldownPeriod": -1})), &["cooldownPeriod"]).await;
    names(
        &policy(json!({"cooldownPeriod": "5m"})),
        &["cooldownPeriod"],
    )
    .await;
    names(
        &policy(json!({"scaleTargetRef": {"name": "alice"}})),
        &["scaleTargetRef", "selector"],
    )
    .await;
}

#[tokio::test]
async fn duplicate_and_impossible_names_are_refused() {
    let twice = Manifests::new()
        .agent(Agent::asleep("alice"))
        .agent(Agent::awake("alice"));
    names(&twice.yaml(""), &["document 2", "alice"]).await;
    let named = |name: &str| changed(|object| object["metadata"]["name"] = name.into());
    names(&named(&"a".repeat(64)), &["metadata.name", "63"]).await;
    names(&named("a.b"), &["metadata.name", "a.b"]).await;
    names(&named("Alice"), &["metadata.name"]).await;
    names(&named("-a"), &["metadata.name"]).await;
    names(&named(""), &["metadata.name"]).await;
    names(&named("../../etc"), &["metadata.name"]).await;
}

#[tokio::test]
async fn what_cannot_run_on_this_machine_is_named() {
    let container = |change: fn(&mut Value)| {
        changed(|object| change(&mut object["spec"]["podTemplate"]["spec"]["containers"][0]))
    };
    let secret = |container: &mut Value| {
        container["env"] =
            json!([{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
    };
    names(&container(secret), &["env[0]", "Secret"]).await;
    names(
        &container(|container| container["command"] = Value::Null),
        &["command"],
    )
    .await;
    names(
        &changed(|object| object["spec"]["podTemplate"]["spec"]["containers"] = json!([])),
        &["containers"],
    )
    .await;
}

#[tokio::test]
async fn a_missing_file_or_reference_is_named() {
    let mut home = Home::new();
    home.read_from("/no/such/folder");
    let (status, said) = refused(&home, &[]).await;
    assert_eq!(status.code(), Some(78), "{said}");
    assert!(said.contains("/no/such/folder"), "{said}");
    names(&Manifests::new().claim("alice").yaml(""), &["pool"]).await;
}
