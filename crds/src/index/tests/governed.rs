//! Policies come and go over targets that stay.

use std::collections::BTreeSet;

use super::*;

#[test]
fn a_policy_touches_what_it_did_or_does_govern() {
    let mut told = Told::default();
    told.sandbox("alice", lone("u1"));
    told.sandbox(
        "bob",
        SandboxFacts {
            labels: [("fleet", "x")].into_iter().collect(),
            ..lone("u2")
        },
    );
    told.claim("carol", claim("c1", None));
    let elsewhere = SandboxKey::new("agents-2", "dave").unwrap();
    told.0
        .apply(Change::Sandbox(elsewhere, Some(Arc::new(lone("u4")))));

    assert_eq!(
        told.policy("all", policy(5, everybody())),
        ["alice", "bob", "carol"]
    );
    assert_eq!(
        told.policy("own", policy(9, named(TargetKind::Sandbox, "alice"))),
        ["alice"]
    );
    assert_eq!(
        told.policy("bid", policy(9, named(TargetKind::SandboxClaim, "carol"))),
        ["carol"]
    );
    let faster = ScaledSandboxSpec {
        cooldown_period: 1,
        ..everybody()
    };
    assert_eq!(told.policy("all", policy(5, faster)), ["bob"]);
    // Younger than `all`, so it governs nothing that is not governed already.
    assert_eq!(told.policy("late", policy(6, everybody())), [""; 0]);
    assert_eq!(
        told.policy("own", policy(9, named(TargetKind::Sandbox, "bob"))),
        ["alice", "bob"]
    );
    assert_eq!(told.governs("alice").as_deref(), Some("all"));
    assert_eq!(told.policy("all", None), ["alice"]);
    assert_eq!(told.governs("alice").as_deref(), Some("late"));
    assert_eq!(told.policy("bid", None), ["carol"]);
}

#[test]
fn a_label_change_can_change_the_policy() {
    let mut told = Told::default();
    let selector = serde_json::from_str(r#"{"matchLabels":{"fleet":"x"}}"#).unwrap();
    let spec = ScaledSandboxSpec {
        selector: Some(selector),
        ..Default::default()
    };
    told.policy("fleet", policy(1, spec));
    told.sandbox("alice", lone("u1"));
    assert_eq!(told.governs("alice"), None);
    let labelled = SandboxFacts {
        labels: [("fleet", "x")].into_iter().collect(),
        ..lone("u1")
    };
    assert_eq!(told.sandbox("alice", labelled), ["alice"]);
    assert_eq!(told.governs("alice").as_deref(), Some("fleet"));
}

#[test]
fn a_target_tells_which_policies_lose_it() {
    let mut told = Told::default();
    told.sandbox("alice", lone("u1"));
    told.sandbox("bob", lone("u2"));
    told.policy("all", policy(5, everybody()));
    told.policy("own", policy(9, named(TargetKind::Sandbox, "alice")));
    told.policy("late", policy(10, named(TargetKind::Sandbox, "alice")));
    let lost = |name: &str| -> Vec<String> {
        let target = told.0.target(&key(name)).unwrap();
        let lost = told.0.overruled(&target).into_iter();
        lost.map(|policy| policy.name().to_owned()).collect()
    };
    assert_eq!(told.governs("alice").as_deref(), Some("own"));
    assert_eq!(lost("alice"), ["late", "all"]);
    assert_eq!(told.governs("bob").as_deref(), Some("all"));
    assert_eq!(lost("bob"), <[String; 0]>::default());
    let reach = |name: &str, after| told.0.reach_of(&key(name), after);
    assert_eq!(reach("late", None), BTreeSet::from([key("alice")]));
    let wider = policy(10, everybody());
    let both = BTreeSet::from([key("alice"), key("bob")]);
    assert_eq!(reach("late", Some(&Arc::new(wider))), both);
}
