//! Objects as a cluster has them.

use serde_json::{Value, json};

pub(crate) fn sandbox(name: &str, uid: &str, mode: &str) -> Value {
    json!({
        "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox",
        "metadata": {"name": name, "uid": uid, "generation": 1, "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": {"operatingMode": mode, "podTemplate": {"spec": {"containers": [{"name": "agent"}]}}},
    })
}

pub(crate) fn awake(name: &str) -> Value {
    sandbox(name, &format!("uid-of-{name}"), "Running")
}

pub(crate) fn pod(name: &str, ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "uid": format!("pod-{ip}"), "labels": {"agents.x-k8s.io/sandbox-name-hash": "0a1b2c3d"},
            "ownerReferences": [{
                "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox", "name": name,
                "uid": format!("uid-of-{name}"), "controller": true,
            }],
        },
        "spec": {"containers": [{"name": "agent", "image": "agent:1"}]},
        "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

pub(crate) fn claim(name: &str, uid: &str) -> Value {
    json!({
        "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxClaim",
        "metadata": {"name": name, "uid": uid}, "spec": {"warmPoolRef": {"name": "pool"}},
    })
}

pub(crate) fn released(name: &str, uid: &str, claim_uid: &str) -> Value {
    json!({
        "apiVersion": "reveille.dev/v1alpha1", "kind": "ReleasedClaim",
        "metadata": {"name": name, "uid": uid, "annotations": {"reveille.dev/epoch": "4"}},
        "spec": {"claimUid": claim_uid, "claim": {
            "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "spec": {"warmPoolRef": {"name": "pool"}},
        }},
    })
}

pub(crate) fn policy(name: &str, cooldown: u32) -> Value {
    json!({
        "apiVersion": "reveille.dev/v1alpha1", "kind": "ScaledSandbox",
        "metadata": {"name": name, "uid": format!("uid-of-{name}"), "generation": 1},
        "spec": {"selector": {}, "cooldownPeriod": cooldown},
    })
}
