//! What the server will never do: admission, rights, and validation.

use super::*;

/// Everything but this is allowed in the namespace.
async fn forbid(bench: &Bench, kind: Kind, operation: &str, expression: &str) {
    let (group, version) = kind
        .api_version()
        .split_once('/')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let plural = kind.all("x").rsplit('/').next().unwrap().to_owned();
    let name = bench.namespace.clone();
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [group], "apiVersions": [version], "operations": [operation], "resources": [plural],
            }]},
            "validations": [{"expression": expression, "message": "not on my watch"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name, "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}},
        },
    });
    for object in [policy, binding] {
        bench.testbed.apply(&object.to_string()).await.unwrap();
    }
}

#[tokio::test]
async fn admission_denies_a_wake_with_its_own_words_and_that_is_no_conflict() {
    let bench = Bench::new("admission").await;
    let object = bench.sandbox("alice", "Suspended", json!({})).await;
    forbid(
        &bench,
        SANDBOX,
        "UPDATE",
        "object.spec.operatingMode != 'Running'",
    )
    .await;
    let mut epoch = 0;
    // A policy takes effect a moment after it was created.
    let denied = timeout(PATIENCE, async {
        loop {
            let wake = change(&bench, &object, epoch, OperatingMode::Running);
            match bench.writer.set_mode(&wake, None, None, soon()).await {
                Ok(_) => {
                    let back = change(&bench, &object, epoch + 1, OperatingMode::Suspended);
                    epoch = bench
                        .writer
                        .set_mode(&back, None, None, soon())
                        .await
                        .unwrap();
                }
                Err(error) => return error,
            }
        }
    });
    let denied = denied.await.expect("the policy never took effect");
    assert!(
        matches!(&denied, Failure::Denied(why) if why.contains("not on my watch")),
        "{denied:?}"
    );
    // The fence is looked at first: what another has changed is not "denied".
    let stale = change(&bench, &object, epoch + 7, OperatingMode::Running);
    let conflict = bench.writer.set_mode(&stale, None, None, soon()).await;
    assert!(
        matches!(conflict, Err(Failure::Conflict(_))),
        "{conflict:?}"
    );
}

#[tokio::test]
async fn without_the_right_to_patch_it_is_denied() {
    let bench = Bench::new("rights").await;
    let object = bench.sandbox("alice", "Suspended", json!({})).await;
    let rules = json!([{"apiGroups": ["agents.x-k8s.io"], "resources": ["sandboxes"], "verbs": ["get", "list"]}]);
    let writer = bench.writer_with(rules).await;
    let wake = change(&bench, &object, 0, OperatingMode::Running);
    let denied = writer.set_mode(&wake, None, None, soon()).await;
    assert!(
        matches!(&denied, Err(Failure::Denied(why)) if why.contains("cannot patch")),
        "{denied:?}"
    );
}

#[tokio::test]
async fn an_object_that_would_not_be_valid_is_denied_with_the_field() {
    let bench = Bench::new("invalid").await;
    bench.sandbox("alice", "Suspended", json!({})).await;
    let path = SANDBOX.one(&bench.key("alice"));
    let body = json!([{"op": "add", "path": "/spec/operatingMode", "value": "Drowsy"}]);
    let denied = bench
        .call(Method::PATCH, &path, Some((Body::JsonPatch, body)))
        .await;
    assert!(
        matches!(&denied, Err(Failure::Denied(why)) if why.contains("operatingMode")),
        "{denied:?}"
    );
}

#[tokio::test]
async fn a_version_that_is_not_served_is_unavailable_and_looked_for_again() {
    let bench = Bench::new("version").await;
    let path = format!(
        "/apis/agents.x-k8s.io/v9/namespaces/{}/sandboxes/alice",
        bench.namespace
    );
    let missing = bench.call(Method::GET, &path, None).await;
    assert!(
        matches!(missing, Err(Failure::Unavailable(_))),
        "{missing:?}"
    );
    let unknown = Writer::new(bench.client.clone(), Discovery::new(), "test");
    let object = bench.sandbox("alice", "Suspended", json!({})).await;
    let wake = change(&bench, &object, 0, OperatingMode::Running);
    let refused = unknown.set_mode(&wake, None, None, soon()).await;
    assert!(
        matches!(refused, Err(Failure::Unavailable(_))),
        "{refused:?}"
    );
}
