use serde_json::{Value, json};

use super::*;
use crate::change::{ClaimFacts, PodFacts, SandboxFacts};

fn of_sandbox(object: &Value) -> SandboxFacts {
    SandboxFacts::of(&sandbox(&object.to_string()).unwrap())
}

fn of_claim(object: &Value) -> ClaimFacts {
    ClaimFacts::of(&claim(&object.to_string()).unwrap())
}

/// Metadata as the API server gives it, books and foreign annotations included.
fn meta(name: &str) -> Value {
    json!({
        "name": name, "namespace": "agents", "uid": "u1", "generation": 3, "resourceVersion": "77",
        "creationTimestamp": "2026-01-02T03:04:05Z", "deletionTimestamp": "2026-01-02T03:04:06Z",
        "labels": {"fleet": "research", "agents.x-k8s.io/warm-pool-sandbox": "0a1b2c3d"},
        "annotations": {
            "reveille.dev/epoch": "17", "reveille.dev/hold": "awake", "reveille.dev/ports": "{\"8888\": 41234}",
            "reveille.dev/busy-until": "2026-01-02T04:00:00Z",
            "agents.x-k8s.io/sandbox-name": "pool-a", "quoted \"key\"": "é",
            "kubectl.kubernetes.io/last-applied-configuration": "{\"spec\": {}}",
        },
        "ownerReferences": [{
            "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox", "name": "alice", "uid": "s1",
            "controller": true, "blockOwnerDeletion": true,
        }],
        "managedFields": [{"manager": "m", "operation": "Update", "fieldsV1": {"f:spec": {}}}],
        "finalizers": ["example.com/hold"],
    })
}

fn conditions() -> Value {
    json!([
        {"type": "Suspended", "status": "True", "reason": "PodTerminated", "message": "",
         "lastTransitionTime": "2026-01-02T03:04:05Z"},
        {"type": "Ready", "status": "False", "reason": "MultiplePods", "message": "2 pods", "observedGeneration": 3,
         "lastTransitionTime": "2026-01-02T03:04:05Z"},
    ])
}

#[test]
fn the_facts_of_a_trimmed_sandbox_are_those_of_the_whole_one() {
    let object = json!({
        "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox", "metadata": meta("alice"),
        "spec": {
            "operatingMode": "Suspended", "shutdownTime": "2026-02-01T00:00:00Z", "shutdownPolicy": "Delete",
            "service": true, "fieldOfANewerUpstream": {"a": [1]},
            "podTemplate": {"spec": {
                "hostNetwork": true,
                "containers": [
                    {"name": "agent", "ports": [{"containerPort": 8888, "name": "http"}, {"containerPort": 9999}]},
                    {"name": "sidecar", "image": "i"},
                ],
            }},
            "volumeClaimTemplates": [{"metadata": {"name": "home"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
        },
        "status": {"conditions": conditions(), "podIPs": ["10.0.0.1"], "selector": "a=b"},
    });
    let whole: Sandbox = serde_json::from_value(object.clone()).unwrap();
    let facts = of_sandbox(&object);
    assert_eq!(facts, SandboxFacts::of(&whole));
    assert_eq!(facts.ports.as_deref(), Some(&[8888, 9999][..]));
    assert!(facts.has_volumes && facts.deleting && facts.fault.is_some());
    let read = sandbox(&object.to_string()).unwrap();
    assert_eq!(read.metadata.resource_version.as_deref(), Some("77"));
    assert_eq!(read.metadata.annotations.unwrap().len(), 5);
}

#[test]
fn the_facts_of_a_trimmed_claim_are_those_of_the_whole_one() {
    let object = json!({
        "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxClaim", "metadata": meta("bob"),
        "spec": {"warmPoolRef": {"name": "pool", "more": 1}, "env": [{"name": "A", "value": "b"}],
                 "lifecycle": {"shutdownPolicy": "DeleteForeground"}},
        "status": {"conditions": conditions(), "sandbox": {"name": "pool-b", "podIPs": ["10.0.0.1"]}},
    });
    let whole: SandboxClaim = serde_json::from_value(object.clone()).unwrap();
    let facts = of_claim(&object);
    assert_eq!(facts, ClaimFacts::of(&whole));
    assert_eq!(
        (facts.sandbox.as_deref(), &*facts.pool),
        (Some("pool-b"), "pool")
    );
}

#[test]
fn the_facts_of_a_trimmed_pod_are_those_of_the_whole_one() {
    let container = |name: &str| {
        json!({
            "name": name, "image": "agent:1", "command": ["serve"], "env": [{"name": "A", "value": "b"}],
            "ports": [{"containerPort": 8888, "name": "h2c", "protocol": "TCP"}],
            "resources": {"limits": {"cpu": "1"}}, "volumeMounts": [{"name": "home", "mountPath": "/data"}],
            "readinessProbe": {"httpGet": {"port": "h2c", "path": "/ready", "scheme": "HTTP"}, "timeoutSeconds": 2},
            "startupProbe": {"tcpSocket": {"port": 8888}}, "livenessProbe": {"exec": {"command": ["true"]}},
        })
    };
    let status = |name: &str| {
        json!({"name": name, "ready": false, "restartCount": 3, "image": "agent:1", "imageID": "sha256:0",
               "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
               "lastState": {"terminated": {"exitCode": 1}}})
    };
    for (gates, phase) in [
        (json!([]), "Running"),
        (json!([{"conditionType": "a/b"}]), "Pending"),
        (json!(null), "Failed"),
    ] {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": meta("alice"),
            "spec": {
                "containers": [container("agent"), {"name": "sidecar"}], "initContainers": [container("first")],
                "readinessGates": gates, "terminationGracePeriodSeconds": 7, "volumes": [{"name": "home", "emptyDir": {}}], "nodeName": "n",
                "tolerations": [{"operator": "Exists"}],
            },
            "status": {
                "phase": phase, "podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}],
                "hostIP": "10.0.0.1", "qosClass": "Guaranteed", "startTime": "2026-01-02T03:04:05Z",
                "reason": "Evicted", "message": "low on memory",
                "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "False",
                                "reason": "Unschedulable", "message": "0/3 nodes"}],
                "containerStatuses": [status("agent")], "initContainerStatuses": [status("first")],
            },
        });
        let whole: Pod = serde_json::from_value(object.clone()).unwrap();
        let read = pod(&object.to_string()).unwrap();
        let facts = PodFacts::of(&read).unwrap();
        assert_eq!(facts, PodFacts::of(&whole).unwrap());
        assert!(facts.fault.is_some() && facts.probe.is_some() && facts.terminating);
        assert_eq!(facts.grace, 7);
    }
}

fn old(replicas: Value) -> Value {
    json!({
        "apiVersion": "agents.x-k8s.io/v1alpha1", "kind": "Sandbox", "metadata": {"name": "alice", "uid": "u1"},
        "spec": {"replicas": replicas, "podTemplate": {"spec": {"containers": []}}},
    })
}

#[test]
fn replicas_are_the_mode_of_the_old_version() {
    for (replicas, mode) in [
        (json!(0), OperatingMode::Suspended),
        (json!(1), OperatingMode::Running),
        (json!(null), OperatingMode::Running),
    ] {
        assert_eq!(of_sandbox(&old(replicas)).mode, mode);
    }
    let mut missing = old(json!(1));
    missing["spec"].as_object_mut().unwrap().remove("replicas");
    assert_eq!(of_sandbox(&missing).mode, OperatingMode::Running);
    // Where both are said, the field of the newer version is the one that counts.
    let mut both = old(json!(0));
    both["spec"]["operatingMode"] = json!("Running");
    assert_eq!(of_sandbox(&both).mode, OperatingMode::Running);
}

/// Up to 0.4.6 a sandbox that sleeps is Ready; up to 0.5.3 one that woke is still Suspended, and one that
/// falls asleep says at once that its pod is gone.
#[test]
fn no_condition_makes_a_sandbox_sleep_or_wake() {
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": message,
               "lastTransitionTime": "2026-01-02T03:04:05Z"})
    };
    let ready = condition(
        "Ready",
        "True",
        "DependenciesReady",
        "Pod does not exist, replicas is 0",
    );
    let stale = condition("Suspended", "True", "PodTerminated", "");
    for (replicas, mode) in [(0, OperatingMode::Suspended), (1, OperatingMode::Running)] {
        for condition in [&ready, &stale] {
            let mut object = old(json!(replicas));
            object["status"] = json!({"replicas": 1 - replicas, "conditions": [condition]});
            let facts = of_sandbox(&object);
            assert_eq!((facts.mode, facts.fault), (mode, None), "{object}");
        }
    }
}

#[test]
fn a_claim_of_the_old_version_draws_from_a_pool_or_from_its_template() {
    for (warmpool, pool) in [
        (json!("none"), ""),
        (json!("default"), "shadow-pool-python"),
        (json!(null), "shadow-pool-python"),
        (json!("big"), "big"),
    ] {
        let object = json!({
            "apiVersion": "extensions.agents.x-k8s.io/v1alpha1", "metadata": {"name": "bob", "uid": "c1"},
            "spec": {"sandboxTemplateRef": {"name": "python"}, "warmpool": warmpool},
        });
        assert_eq!(&*of_claim(&object).pool, pool, "{warmpool}");
    }
}

#[test]
fn a_claim_of_an_old_controller_is_bound_by_a_capital_key_or_by_a_label() {
    let claim = |labels: Value, status: Value| {
        of_claim(&json!({
            "metadata": {"name": "bob", "uid": "c1", "labels": labels},
            "spec": {"sandboxTemplateRef": {"name": "python"}}, "status": status,
        }))
    };
    let by_status = claim(
        json!({}),
        json!({"sandbox": {"Name": "bob", "podIPs": null}}),
    );
    assert_eq!(by_status.sandbox.as_deref(), Some("bob"));
    let by_label = claim(
        json!({"agents.x-k8s.io/sandbox-name": "pool-a", "fleet": "a"}),
        json!(null),
    );
    assert_eq!(by_label.sandbox.as_deref(), Some("pool-a"));
    assert_eq!(by_label.labels.iter().collect::<Vec<_>>(), [("fleet", "a")]);
    assert_eq!(claim(json!(null), json!({})).sandbox, None);
}

#[test]
fn what_has_another_type_is_an_error() {
    for object in [
        json!({"metadata": {"name": "alice"}}),
        json!({"spec": {}}),
        json!({"metadata": {"name": 7}, "spec": {}}),
        json!({"metadata": {}, "spec": {"operatingMode": "Hibernated"}}),
        json!({"metadata": {"annotations": []}, "spec": {}}),
        json!({"metadata": {"annotations": {"reveille.dev/epoch": 7}}, "spec": {}}),
        json!({"metadata": {"labels": {"a": null}}, "spec": {}}),
        json!([]),
    ] {
        assert!(sandbox(&object.to_string()).is_err(), "{object}");
    }
    assert!(sandbox("{").is_err());
}
