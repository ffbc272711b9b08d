//! What users write that cannot be followed: refused by the API server with a sentence where it can tell, else
//! told by a condition and an Event.

use kube::api::{DynamicObject, PostParams};

use super::*;

/// Tries to create a policy, which is not kept.
async fn admitted(cluster: &Cluster, spec: &Value) -> Result<(), String> {
    let policy: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "reveille.dev/v1alpha1", "kind": "ScaledSandbox", "metadata": {"name": "tried"},
        "spec": spec,
    }))
    .unwrap();
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let created = cluster.policies().create(&dry, &policy).await;
    created.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_selector_that_selects_nothing_by_its_form_is_refused_at_admission_with_what_to_write() {
    let cluster = Cluster::new("selectors").await;
    let label = |key: &str, value: &str| json!({"matchLabels": {key: value}});
    let expression = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    let long = |length: usize| "x".repeat(length);
    let good = [
        json!({}),
        label("fleet", "research"),
        label("example.com/fleet", "a.B_c-9"),
        label("fleet", ""),
        label(&format!("{}/{}", long(63), long(63)), &long(63)),
        expression("fleet", "In", json!(["a", ""])),
        expression("example.com/fleet", "DoesNotExist", json!([])),
    ];
    for selector in good {
        let spec = json!({"selector": selector});
        assert_eq!(admitted(&cluster, &spec).await, Ok(()), "{spec}");
    }
    let domain = [long(63), long(63), long(63), long(63)].join(".");
    let no_key = "no key of a label: write";
    let no_value = "no value of a label: write";
    let bad = [
        (label("", "x"), no_key),
        (label("a fleet", "x"), no_key),
        (label("fleet\n", "x"), no_key),
        (label("-fleet", "x"), no_key),
        (label("fl\u{e4}che", "x"), no_key),
        (label(&long(64), "x"), no_key),
        (label("Example.com/fleet", "x"), no_key),
        (label("a/b/c", "x"), no_key),
        (label("/fleet", "x"), no_key),
        (label("example.com/", "x"), no_key),
        (label(&format!("{domain}/fleet"), "x"), no_key),
        (label("fleet", "re search"), no_value),
        (label("fleet", "x-"), no_value),
        (label("fleet", &long(64)), "Too long"),
        (expression("fleet!", "Exists", json!([])), no_key),
        (expression("fleet", "In", json!(["a", "b c"])), no_value),
        (expression("fleet", "In", json!([])), "at least one value"),
        (expression("fleet", "Exists", json!(["a"])), "write values"),
        (expression("fleet", "in", json!(["a"])), "\"NotIn\""),
        (expression("fleet", "Equals", json!(["a"])), "\"NotIn\""),
    ];
    for (selector, part) in bad {
        let spec = json!({"selector": selector});
        let refused = admitted(&cluster, &spec).await.unwrap_err();
        assert!(refused.contains(part), "{spec}: {refused}");
        // Where there is no API server, the same is refused.
        let spec = serde_json::from_value(spec).unwrap();
        assert!(!reveille_scaler::policy::check(&spec).is_empty(), "{part}");
    }
}

#[tokio::test]
async fn a_path_that_no_agent_could_be_asked_at_is_refused_at_admission_with_what_to_write() {
    let cluster = Cluster::new("paths").await;
    for path in [
        "/is busy",
        " /busy",
        "/busy ",
        "/busy\t",
        "/busy\n",
        "busy",
        "/busy#now",
    ] {
        let spec = json!({"selector": {}, "busy": {"path": path}});
        let refused = admitted(&cluster, &spec).await.unwrap_err();
        assert!(
            refused.contains("spec.busy.path") && refused.contains("write an absolute path"),
            "{path:?}: {refused}"
        );
    }
    let spec = json!({"selector": {}, "busy": {"path": "/is%20busy?who=all"}});
    assert_eq!(admitted(&cluster, &spec).await, Ok(()));
}

#[tokio::test]
async fn annotations_and_waits_that_cannot_be_followed_are_told_with_what_to_write() {
    let cluster = Cluster::new("mistakes").await;
    cluster
        .policy(json!({"cooldownPeriod": 600, "wake": {"deadline": 10}, "park": {"maxWait": 120}}))
        .await;
    cluster.sandbox("alice", json!({})).await;
    let scaler = Scaler::start(
        cluster.client.clone(),
        &cluster.namespace,
        Config::default(),
    )
    .await;
    let (note, about) = cluster.event("MaxWaitBeyondDeadline").await;
    assert_eq!(about["kind"], "ScaledSandbox");
    assert!(note.contains("write wake.deadline: 120"), "{note}");
    let policies = cluster.policies();
    let ready = |policy: &Value| {
        let conditions = policy["status"]["conditions"].as_array();
        let ready = conditions?.iter().find(|it| it["type"] == "Ready")?;
        Some(ready.clone())
    };
    let told = cluster
        .until(&policies, "fleet", |it| ready(it).is_some())
        .await;
    let message = ready(&told).unwrap()["message"].clone();
    let message = message.as_str().unwrap();
    assert!(message.contains("no request waits 120 s"), "{message}");

    let annotations = json!({"reveille.dev/hold": "bogus", "reveille.dev/busy-until": "yesterday"});
    let sandboxes = cluster.sandboxes();
    cluster
        .patch(
            &sandboxes,
            "alice",
            json!({"metadata": {"annotations": annotations}}),
        )
        .await;
    let (note, about) = cluster.event("InvalidAnnotation").await;
    assert_eq!(about["kind"], "Sandbox");
    for part in [
        "\"bogus\"",
        "write awake or asleep",
        "\"yesterday\"",
        "write an instant",
    ] {
        assert!(note.contains(part), "{part}: {note}");
    }
    scaler.stop().await;
}
