use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::*;
use crate::scaled_sandbox::ScaleTargetRef;

fn key(name: &str) -> SandboxKey {
    name.parse().unwrap()
}

fn selecting(text: &str) -> ScaledSandboxSpec {
    let selector: LabelSelector = serde_json::from_str(text).unwrap();
    ScaledSandboxSpec {
        selector: Some(selector),
        ..Default::default()
    }
}

fn naming(kind: TargetKind, name: &str) -> ScaledSandboxSpec {
    let target = ScaleTargetRef {
        kind,
        name: name.into(),
    };
    ScaledSandboxSpec {
        scale_target_ref: Some(target),
        ..Default::default()
    }
}

fn at(second: i64, spec: ScaledSandboxSpec) -> Option<Arc<PolicyFacts>> {
    let created = Some(Timestamp::from_second(second).unwrap());
    Some(Arc::new(PolicyFacts {
        created,
        spec,
        ..Default::default()
    }))
}

/// Who governs Sandbox `alice`, labelled `fleet=research`, of namespace `agents`.
fn governs(policies: &Policies) -> Option<String> {
    let labels: Labels = [("fleet", "research")].into_iter().collect();
    let candidate = Candidate {
        namespace: "agents",
        sandbox: Some(("alice", &labels)),
        claim: None,
    };
    policies
        .governing(&candidate)
        .map(|(key, _)| key.name().to_owned())
}

const FLEET: &str = r#"{"matchLabels":{"fleet":"research"}}"#;

#[test]
fn a_name_beats_a_selector_however_young() {
    let mut policies = Policies::default();
    policies.apply(key("agents/fleet"), at(1, selecting(FLEET)));
    assert_eq!(governs(&policies).as_deref(), Some("fleet"));
    policies.apply(
        key("agents/own"),
        at(9, naming(TargetKind::Sandbox, "alice")),
    );
    assert_eq!(governs(&policies).as_deref(), Some("own"));
    policies.apply(key("agents/own"), None);
    assert_eq!(governs(&policies).as_deref(), Some("fleet"));
}

#[test]
fn among_equals_the_oldest_wins_and_then_the_name() {
    let mut policies = Policies::default();
    policies.apply(key("agents/a"), at(5, selecting(FLEET)));
    policies.apply(key("agents/z"), at(4, selecting("{}")));
    assert_eq!(governs(&policies).as_deref(), Some("z"));
    policies.apply(key("agents/m"), at(4, selecting(FLEET)));
    assert_eq!(governs(&policies).as_deref(), Some("m"));
    policies.apply(key("agents/y"), at(7, naming(TargetKind::Sandbox, "alice")));
    policies.apply(key("agents/x"), at(7, naming(TargetKind::Sandbox, "alice")));
    assert_eq!(governs(&policies).as_deref(), Some("x"));
    let uncreated = PolicyFacts {
        spec: naming(TargetKind::Sandbox, "alice"),
        ..Default::default()
    };
    policies.apply(key("agents/a"), Some(Arc::new(uncreated)));
    assert_eq!(governs(&policies).as_deref(), Some("x"));
}

#[test]
fn a_policy_governs_its_own_namespace_only() {
    let mut policies = Policies::default();
    policies.apply(key("elsewhere/a"), at(1, selecting("{}")));
    policies.apply(
        key("elsewhere/b"),
        at(1, naming(TargetKind::Sandbox, "alice")),
    );
    policies.apply(key("agent/c"), at(1, selecting("{}")));
    assert_eq!(governs(&policies), None);
}

#[test]
fn a_name_is_of_a_kind() {
    let mut policies = Policies::default();
    policies.apply(
        key("agents/claims"),
        at(1, naming(TargetKind::SandboxClaim, "alice")),
    );
    assert_eq!(governs(&policies), None);
    let none = Labels::default();
    let claimed = Candidate {
        namespace: "agents",
        sandbox: Some(("pool-x1", &none)),
        claim: Some(("alice", &none)),
    };
    assert_eq!(policies.governing(&claimed).unwrap().0.name(), "claims");
    policies.apply(
        key("agents/replica"),
        at(0, naming(TargetKind::Sandbox, "pool-x1")),
    );
    assert_eq!(policies.governing(&claimed).unwrap().0.name(), "replica");
}

#[test]
fn either_objects_labels_select_a_claimed_sandbox() {
    let mut policies = Policies::default();
    policies.apply(key("agents/fleet"), at(1, selecting(FLEET)));
    let labels: Labels = [("fleet", "research")].into_iter().collect();
    let none = Labels::default();
    for (sandbox, claim, expected) in [
        (Some(("s", &labels)), Some(("c", &none)), true),
        (Some(("s", &none)), Some(("c", &labels)), true),
        (None, Some(("c", &labels)), true),
        (Some(("s", &none)), Some(("c", &none)), false),
    ] {
        let candidate = Candidate {
            namespace: "agents",
            sandbox,
            claim,
        };
        assert_eq!(
            policies.governing(&candidate).is_some(),
            expected,
            "{candidate:?}"
        );
    }
}

#[test]
fn a_policy_without_exactly_one_aim_governs_nothing() {
    let mut policies = Policies::default();
    let both = ScaledSandboxSpec {
        scale_target_ref: naming(TargetKind::Sandbox, "alice").scale_target_ref,
        ..selecting("{}")
    };
    policies.apply(key("agents/both"), at(1, both));
    policies.apply(key("agents/neither"), at(1, ScaledSandboxSpec::default()));
    let bad = r#"{"matchExpressions":[{"key":"fleet","operator":"Like","values":["r"]}]}"#;
    policies.apply(key("agents/bad"), at(1, selecting(bad)));
    assert_eq!(governs(&policies), None);
    assert_eq!(policies.iter().count(), 3);
    for name in ["agents/both", "agents/neither", "agents/bad"] {
        assert!(policies.apply(key(name), None).is_some());
    }
    assert!(policies.namespaces.is_empty());
}

#[test]
fn a_policy_that_turns_to_another_target_lets_go_of_the_first() {
    let mut policies = Policies::default();
    policies.apply(
        key("agents/own"),
        at(1, naming(TargetKind::Sandbox, "alice")),
    );
    policies.apply(key("agents/own"), at(1, naming(TargetKind::Sandbox, "bob")));
    assert_eq!(governs(&policies), None);
    policies.apply(key("agents/own"), at(1, selecting(FLEET)));
    assert_eq!(governs(&policies).as_deref(), Some("own"));
    policies.apply(
        key("agents/own"),
        at(1, selecting(r#"{"matchLabels":{"fleet":"other"}}"#)),
    );
    assert_eq!(governs(&policies), None);
}
