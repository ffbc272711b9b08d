use serde_json::{Value, json};

use super::*;
use crate::sandbox::OperatingMode;

fn sandbox(change: &Value) -> SandboxFacts {
    let mut object = json!({
        "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox",
        "metadata": {"name": "alice", "namespace": "agents", "uid": "u1", "generation": 3,
                     "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": {"podTemplate": {"spec": {"containers": []}}},
    });
    merge(&mut object, change);
    SandboxFacts::of(&serde_json::from_value(object).unwrap())
}

fn claim(change: &Value) -> ClaimFacts {
    let mut object = json!({
        "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxClaim",
        "metadata": {"name": "bob", "namespace": "agents", "uid": "c1", "generation": 1},
        "spec": {"warmPoolRef": {"name": "pool"}},
    });
    merge(&mut object, change);
    ClaimFacts::of(&serde_json::from_value(object).unwrap())
}

fn merge(into: &mut Value, change: &Value) {
    for (key, value) in change.as_object().unwrap() {
        if value.is_object() && into[key].is_object() {
            merge(&mut into[key], value);
        } else {
            into[key] = value.clone();
        }
    }
}

fn ready(reason: &str, generation: Option<i64>, message: &str) -> Value {
    json!({"status": {"conditions": [{
        "type": "Ready", "status": "False", "reason": reason, "message": message,
        "observedGeneration": generation, "lastTransitionTime": "2026-01-02T03:04:05Z",
    }]}})
}

#[test]
fn a_plain_sandbox_is_awake_and_nobodys() {
    let facts = sandbox(&json!({}));
    assert_eq!(
        (&*facts.uid, facts.mode, facts.epoch, facts.hold),
        ("u1", OperatingMode::Running, 0, None)
    );
    assert_eq!(facts.created, Some("2026-01-02T03:04:05Z".parse().unwrap()));
    assert!(!facts.deleting && !facts.pool_member && !facts.has_volumes);
    assert_eq!(
        (facts.claim, facts.claim_uid, facts.fault),
        (None, None, None)
    );
}

#[test]
fn an_annotation_that_says_nothing_known_is_remembered_with_what_to_write() {
    let of =
        |annotations: Value| sandbox(&json!({"metadata": {"annotations": annotations}})).misread;
    let both = of(json!({"reveille.dev/hold": "bogus", "reveille.dev/busy-until": "yesterday"}));
    let said = both.unwrap().to_string();
    for part in [
        "reveille.dev/hold is \"bogus\"",
        "write awake or asleep",
        "; ",
        "is \"yesterday\"",
        "as in 2026-",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let good =
        json!({"reveille.dev/hold": "asleep", "reveille.dev/busy-until": "2026-01-02T03:04:05Z"});
    assert_eq!(of(good), None);
    assert_eq!(
        of(json!({"reveille.dev/hold": "", "reveille.dev/busy-until": ""})),
        None
    );
    let long = of(json!({"reveille.dev/hold": "ä".repeat(100_000)})).unwrap();
    assert!(long.hold.unwrap().len() <= 64);
}

#[test]
fn annotations_labels_and_spec_are_read() {
    let facts = sandbox(&json!({
        "metadata": {
            "labels": {"fleet": "research"},
            "annotations": {
                "reveille.dev/epoch": "17", "reveille.dev/hold": "asleep",
                "reveille.dev/busy-until": "2026-01-02T05:00:00+01:00",
            },
            "deletionTimestamp": "2026-01-02T03:04:06Z",
        },
        "spec": {
            "operatingMode": "Suspended", "shutdownTime": "2026-02-01T00:00:00Z",
            "volumeClaimTemplates": [{"metadata": {"name": "home"}, "spec": {}}],
        },
    }));
    assert_eq!(
        (facts.mode, facts.epoch, facts.hold),
        (OperatingMode::Suspended, 17, Some(Hold::Asleep))
    );
    assert_eq!(
        facts.busy_until.as_deref(),
        Some(&"2026-01-02T04:00:00Z".parse().unwrap())
    );
    assert_eq!(facts.labels.get("fleet"), Some("research"));
    assert_eq!(
        facts.shutdown_time.as_deref(),
        Some(&"2026-02-01T00:00:00Z".parse().unwrap())
    );
    assert!(facts.deleting && facts.has_volumes);
}

#[test]
fn a_sandbox_was_woken_last_if_no_sleep_came_after_it() {
    let woken = |wake: &str, sleep: Option<&str>| {
        let mut annotations = json!({"reveille.dev/last-wake": wake});
        if let Some(sleep) = sleep {
            annotations["reveille.dev/last-sleep"] = json!(sleep);
        }
        let facts = sandbox(&json!({"metadata": {"annotations": annotations}}));
        facts.woken.map(u32::from)
    };
    let (first, second) = ("1970-01-01T00:00:07.1Z", "1970-01-01T00:00:07.2Z");
    assert_eq!(woken(first, None), Some(7));
    assert_eq!(woken(second, Some(first)), Some(7));
    assert_eq!(woken(first, Some(second)), None);
    assert_eq!(woken("yesterday", Some(first)), None);
}

#[test]
fn annotations_that_say_nothing_are_as_none() {
    for (epoch, hold, busy) in [
        ("", "", ""),
        ("-1", "Awake", "tomorrow"),
        ("many", "please", "2026-01-02"),
        ("1e3", "true", "99999-01-02T03:04:05Z"),
    ] {
        let facts = sandbox(&json!({"metadata": {"annotations": {
            "reveille.dev/epoch": epoch, "reveille.dev/hold": hold, "reveille.dev/busy-until": busy,
        }}}));
        assert_eq!((facts.epoch, facts.hold, facts.busy_until), (0, None, None));
    }
}

fn owned(kind: &str, controller: bool) -> Value {
    json!({"metadata": {"ownerReferences": [{
        "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": kind, "name": "owner", "uid": "o1",
        "controller": controller,
    }]}})
}

#[test]
fn the_controller_tells_claim_from_pool() {
    let facts = sandbox(&owned("SandboxClaim", true));
    assert_eq!(
        (facts.claim.as_deref(), facts.claim_uid.as_deref()),
        (Some("owner"), Some("o1"))
    );
    assert!(!facts.pool_member);
    let facts = sandbox(&owned("SandboxWarmPool", true));
    assert!(facts.pool_member && facts.claim.is_none());
    let facts = sandbox(&owned("SandboxClaim", false));
    assert!(!facts.pool_member && facts.claim.is_none());
    let labelled =
        json!({"metadata": {"labels": {"agents.x-k8s.io/warm-pool-sandbox": "0a1b2c3d"}}});
    assert!(sandbox(&labelled).pool_member);
}

#[test]
fn only_what_no_waiting_mends_is_a_fault() {
    for (reason, generation, message, faulty) in [
        ("SandboxExpired", Some(3), "expired", true),
        ("SandboxExpired", None, "expired", true),
        ("SandboxExpired", Some(2), "of the spec before", false),
        ("MultiplePods", Some(3), "2 pods", true),
        ("InvalidConfiguration", Some(3), "no containers", true),
        ("ReconcilerError", Some(3), "forbidden by quota", true),
        ("ReconcilerError", Some(2), "of the spec before", false),
        ("ReconcilerError", None, "of who knows when", false),
        (
            "ReconcilerError",
            Some(3),
            "sandboxes \"a\": the object has been modified; retry",
            false,
        ),
        ("DependenciesNotReady", Some(3), "pod is pending", false),
        ("SandboxSuspended", Some(3), "asleep", false),
    ] {
        let fault = sandbox(&ready(reason, generation, message)).fault;
        assert_eq!(fault.is_some(), faulty, "{reason} {generation:?} {message}");
        if let Some(fault) = fault {
            assert_eq!((&*fault.reason, &*fault.message), (reason, message));
        }
    }
}

#[test]
fn a_claim_is_bound_by_status_and_before_that_by_annotation() {
    assert_eq!(claim(&json!({})).sandbox, None);
    assert_eq!(&*claim(&json!({})).pool, "pool");
    let assigned = json!({"metadata": {"annotations": {"agents.x-k8s.io/sandbox-name": "pool-a"}}});
    assert_eq!(claim(&assigned).sandbox.as_deref(), Some("pool-a"));
    let mut bound = assigned;
    bound["status"] = json!({"sandbox": {"name": "pool-b", "podIPs": ["10.0.0.1"]}});
    assert_eq!(claim(&bound).sandbox.as_deref(), Some("pool-b"));
    bound["status"] = json!({"sandbox": {"podIPs": []}});
    assert_eq!(claim(&bound).sandbox.as_deref(), Some("pool-a"));
}

#[test]
fn a_claim_that_cannot_be_bound_says_why() {
    for (reason, faulty) in [
        ("TemplateNotFound", true),
        ("WarmPoolNotFound", true),
        ("ClaimExpired", true),
        ("SandboxCreatePending", false),
        ("SandboxNotReady", false),
        ("SandboxSuspended", false),
    ] {
        assert_eq!(
            claim(&ready(reason, Some(1), "told")).fault.is_some(),
            faulty,
            "{reason}"
        );
    }
}

#[test]
fn a_policy_keeps_its_spec_and_rank() {
    let policy: ScaledSandbox = serde_json::from_value(json!({
        "apiVersion": "reveille.dev/v1alpha1", "kind": "ScaledSandbox",
        "metadata": {"name": "fleet", "uid": "p1", "generation": 2, "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": {"selector": {}, "cooldownPeriod": 7},
    }))
    .unwrap();
    let facts = PolicyFacts::of(&policy);
    assert_eq!(
        (&*facts.uid, facts.generation, facts.spec.cooldown_period),
        ("p1", 2, 7)
    );
    assert!(facts.created.is_some());
}

#[test]
fn a_released_claim_keeps_uid_labels_pool_and_epoch() {
    let released: ReleasedClaim = serde_json::from_value(json!({
        "apiVersion": "reveille.dev/v1alpha1", "kind": "ReleasedClaim",
        "metadata": {"name": "bob", "uid": "r1", "labels": {"fleet": "of the memory"},
                     "creationTimestamp": "2026-01-02T03:04:05Z", "annotations": {"reveille.dev/epoch": "8"}},
        "spec": {"claimUid": "c1", "claim": {
            "apiVersion": "extensions.agents.x-k8s.io/v1beta1",
            "labels": {"fleet": "research"}, "annotations": {"reveille.dev/epoch": "7"},
            "spec": {"warmPoolRef": {"name": "pool"}, "fieldOfANewerUpstream": [1]},
        }},
    }))
    .unwrap();
    let facts = ClaimFacts::released(&released);
    assert_eq!((&*facts.uid, &*facts.pool, facts.epoch), ("c1", "pool", 8));
    assert_eq!(facts.labels.get("fleet"), Some("research"));
    assert!(facts.released && !facts.deleting && facts.sandbox.is_none());
    assert!(facts.created.is_some());
}

#[test]
fn a_released_claim_ends_when_its_own_shutdown_policy_would_delete_it_and_else_never() {
    let ends = |lifecycle: Value| {
        let released: ReleasedClaim = serde_json::from_value(json!({
            "apiVersion": "reveille.dev/v1alpha1", "kind": "ReleasedClaim", "metadata": {"name": "bob"},
            "spec": {"claimUid": "c1", "claim": {
                "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "spec": {"lifecycle": lifecycle},
            }},
        }))
        .unwrap();
        ClaimFacts::released(&released).ends.map(|at| *at)
    };
    let at = "2026-01-02T03:04:05Z";
    for policy in ["Delete", "DeleteForeground"] {
        let deleted = ends(json!({"shutdownTime": at, "shutdownPolicy": policy}));
        assert_eq!(deleted, Some(at.parse().unwrap()));
    }
    for kept in [
        json!({"shutdownTime": at, "shutdownPolicy": "Retain"}),
        json!({"shutdownTime": at}),
        json!({"shutdownPolicy": "Delete"}),
        json!({"shutdownTime": "soon", "shutdownPolicy": "Delete"}),
        json!({}),
        Value::Null,
    ] {
        assert_eq!(ends(kept.clone()), None, "{kept}");
    }
}

#[test]
fn a_sandbox_on_the_network_of_its_node_has_its_declared_ports_alone() {
    let ports = |spec: Value| sandbox(&json!({"spec": {"podTemplate": {"spec": spec}}})).ports;
    let declared =
        json!([{"ports": [{"containerPort": 8888}]}, {"ports": [{"containerPort": 9000}]}]);
    let of_the_node = ports(json!({"hostNetwork": true, "containers": declared}));
    assert_eq!(of_the_node.as_deref(), Some(&[8888, 9000][..]));
    let silent = ports(json!({"hostNetwork": true, "containers": [{"name": "agent"}]}));
    assert_eq!(silent.as_deref(), Some(&[][..]));
    assert_eq!(
        ports(json!({"hostNetwork": false, "containers": declared})),
        None
    );
    assert_eq!(ports(json!({"containers": declared})), None);
}
