//! The admission policy around what the scaler may patch.

use std::sync::atomic::{AtomicU32, Ordering};

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use reveille_testbed::Testbed;
use serde_json::{Value, json};

use crate::support::{CLAIM, SANDBOX, bed, client_of, objects, sandbox, until};

/// What the scaler writes to wake `alice`, who sleeps.
fn wake() -> Value {
    json!([
        {"op": "test", "path": "/spec/operatingMode", "value": "Suspended"},
        {"op": "replace", "path": "/spec/operatingMode", "value": "Running"},
        {"op": "add", "path": "/metadata/annotations/reveille.dev~1epoch", "value": "1"},
        {"op": "add", "path": "/metadata/annotations/reveille.dev~1wake-reason", "value": "http"},
    ])
}

/// What one does not do to `alice`, each with a word of the refusal.
fn forbidden() -> [(Value, &'static str); 8] {
    let template = "/spec/podTemplate/spec";
    [
        (
            json!([{"op": "replace", "path": format!("{template}/containers/0/image"), "value": "evil"}]),
            "operatingMode",
        ),
        (
            json!([{"op": "add", "path": format!("{template}/serviceAccountName"), "value": "admin"}]),
            "operatingMode",
        ),
        (
            json!([{"op": "add", "path": "/spec/shutdownTime", "value": "2020-01-01T00:00:00Z"}]),
            "operatingMode",
        ),
        (
            json!([
                {"op": "replace", "path": "/spec/operatingMode", "value": "Running"},
                {"op": "add", "path": format!("{template}/hostNetwork"), "value": true},
            ]),
            "operatingMode",
        ),
        (
            json!([{"op": "replace", "path": "/metadata/annotations/note", "value": "ours"}]),
            "annotation",
        ),
        (
            json!([{"op": "remove", "path": "/metadata/annotations/note"}]),
            "annotation",
        ),
        (
            json!([{"op": "add", "path": "/metadata/labels/team", "value": "ours"}]),
            "labels",
        ),
        (
            json!([{"op": "add", "path": "/metadata/finalizers", "value": ["reveille.dev/mine"]}]),
            "finalizers",
        ),
    ]
}

/// Tries a patch; the refusal as text.
async fn patched(objects: &Api<DynamicObject>, name: &str, patch: &Value) -> Result<(), String> {
    let patch = Patch::<()>::Json(serde_json::from_value(patch.clone()).unwrap());
    let done = objects.patch(name, &PatchParams::default(), &patch).await;
    done.map(drop).map_err(|error| error.to_string())
}

/// Waits until the policy is at work, which takes the API server a moment.
async fn fenced(bed: &Testbed, namespace: &str) -> Api<DynamicObject> {
    bed.apply_in(namespace, &sandbox("alice", "Suspended"))
        .await
        .unwrap();
    let sandboxes = objects(client_of(bed, "reveille-scaler").await, namespace, SANDBOX);
    // Another value each time: a patch that changes nothing is let through.
    let pokes = AtomicU32::new(0);
    until("the policy", || async {
        let value = pokes.fetch_add(1, Ordering::Relaxed).to_string();
        let poke = json!([{"op": "add", "path": "/metadata/labels/poke", "value": value}]);
        let refusal = patched(&sandboxes, "alice", &poke).await.err();
        // Not the refusal of a server that does not know the scaler's rights yet.
        refusal.filter(|refusal| refusal.contains("labels"))
    })
    .await;
    sandboxes
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scaler_may_wake_and_put_to_sleep_and_change_nothing_else() {
    let bed = bed().await;
    let namespace = bed.namespace("fence").await.unwrap();
    let sandboxes = fenced(bed, &namespace).await;
    for (patch, word) in forbidden() {
        let refusal = patched(&sandboxes, "alice", &patch).await.unwrap_err();
        assert!(refusal.contains(word), "{patch}: {refusal}");
        assert!(refusal.contains("reveille-scaler"), "{patch}: {refusal}");
    }
    patched(&sandboxes, "alice", &wake()).await.unwrap();
    let hold = json!([{"op": "add", "path": "/metadata/annotations/reveille.dev~1hold", "value": "awake"}]);
    patched(&sandboxes, "alice", &hold).await.unwrap();
    let unhold = json!([{"op": "remove", "path": "/metadata/annotations/reveille.dev~1hold"}]);
    patched(&sandboxes, "alice", &unhold).await.unwrap();
    let lease = json!([{"op": "add", "path": "/metadata/annotations/reveille.dev~1busy-until", "value": "2100-01-02T03:04:05Z"}]);
    patched(&sandboxes, "alice", &lease).await.unwrap();
    let alice = sandboxes.get("alice").await.unwrap();
    assert_eq!(alice.data["spec"]["operatingMode"], "Running");
    assert_eq!(
        alice.data["spec"]["podTemplate"]["spec"]["containers"][0]["image"],
        "agent"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_without_annotations_and_labels_can_be_woken_too() {
    let bed = bed().await;
    let namespace = bed.namespace("fence").await.unwrap();
    let sandboxes = fenced(bed, &namespace).await;
    let bare = sandbox("bare", "Suspended").replace(
        ", labels: {fleet: research}, annotations: {note: theirs}",
        "",
    );
    bed.apply_in(&namespace, &bare).await.unwrap();
    let wake = json!([
        {"op": "replace", "path": "/spec/operatingMode", "value": "Running"},
        {"op": "add", "path": "/metadata/annotations", "value": {"reveille.dev/epoch": "1"}},
    ]);
    patched(&sandboxes, "bare", &wake).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_claim_the_scaler_may_change_its_own_notes_alone() {
    let bed = bed().await;
    let namespace = bed.namespace("fence").await.unwrap();
    fenced(bed, &namespace).await;
    bed.apply_in(
        &namespace,
        "{apiVersion: extensions.agents.x-k8s.io/v1beta1, kind: SandboxClaim, \
         metadata: {name: carol, annotations: {note: theirs}}, spec: {warmPoolRef: {name: pool}}}",
    )
    .await
    .unwrap();
    let claims = objects(client_of(bed, "reveille-scaler").await, &namespace, CLAIM);
    for note in ["epoch", "stays-bound"] {
        let path = format!("/metadata/annotations/reveille.dev~1{note}");
        let note = json!([{"op": "add", "path": path, "value": "2"}]);
        patched(&claims, "carol", &note).await.unwrap();
    }
    let moved = json!([{"op": "replace", "path": "/spec/warmPoolRef/name", "value": "other"}]);
    let refusal = patched(&claims, "carol", &moved).await.unwrap_err();
    assert!(refusal.contains("of the spec"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_fenced() {
    let bed = bed().await;
    let namespace = bed.namespace("fence").await.unwrap();
    fenced(bed, &namespace).await;
    let sandboxes = objects(bed.client().unwrap(), &namespace, SANDBOX);
    for (patch, _) in forbidden() {
        let done = patched(&sandboxes, "alice", &patch).await;
        // The second removal of one annotation finds nothing; that is no refusal of the policy.
        assert!(done.is_ok(), "{patch}: {done:?}");
    }
}
