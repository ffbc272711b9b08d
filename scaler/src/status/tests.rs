use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use reveille_crds::labels::Labels;
use reveille_crds::scaled_sandbox::PolicyFacts;
use serde_json::json;

use super::*;

fn key(name: &str) -> SandboxKey {
    SandboxKey::new("agents", name).unwrap()
}

fn rule(policy: &str, overruled: &[&str]) -> Rule {
    Rule {
        policy: Some(key(policy)),
        overruled: overruled.iter().map(|name| key(name)).collect(),
    }
}

fn ready(tallies: &Tallies, policy: &str) -> String {
    let ready = condition(tallies, policy, "Ready").unwrap();
    format!("{}: {}", ready.reason, ready.message)
}

fn condition(tallies: &Tallies, policy: &str, kind: &str) -> Option<Condition> {
    let status = tallies.by_policy[&key(policy)].status(&facts(), None, Timestamp::UNIX_EPOCH);
    status.conditions.into_iter().find(|it| it.type_ == kind)
}

/// A policy that asks on a busy path.
fn facts() -> PolicyFacts {
    let spec = json!({"selector": {}, "cooldownPeriod": 10, "busy": {"path": "/busy"}});
    PolicyFacts {
        uid: "uid".into(),
        created: None,
        generation: 1,
        labels: Labels::default(),
        spec: serde_json::from_value(spec).unwrap(),
    }
}

fn awake(policy: &str, trouble: Option<Trouble>) -> Counted {
    Counted {
        policy: key(policy),
        state: State::Awake,
        trouble: trouble.map(Box::new),
    }
}

/// A target comes, awake; or goes.
fn come(tallies: &mut Tallies, rule: &Rule, now: Instant) {
    let counted = rule
        .policy
        .as_ref()
        .map(|policy| awake(policy.name(), None));
    tallies.ruled(&Rule::default(), rule, now);
    tallies.recount(&key("target"), None, counted.as_ref(), now);
}

fn go(tallies: &mut Tallies, rule: &Rule, now: Instant) {
    let counted = rule
        .policy
        .as_ref()
        .map(|policy| awake(policy.name(), None));
    tallies.recount(&key("target"), counted.as_ref(), None, now);
    tallies.ruled(rule, &Rule::default(), now);
}

#[test]
fn a_policy_that_loses_says_to_whom_and_until_when() {
    let now = crate::observe::Clocks::read().now;
    let mut tallies = Tallies::default();
    let (alice, bob) = (rule("own", &["late", "all"]), rule("all", &[]));
    come(&mut tallies, &alice, now);
    let lost =
        "Overruled: all 1 it names or selects are governed by agents/own, which takes precedence";
    assert_eq!(ready(&tallies, "all"), lost);
    come(&mut tallies, &bob, now);
    let partly =
        "PartlyOverruled: governs 1; 1 more are governed by agents/own, which takes precedence";
    assert_eq!(ready(&tallies, "all"), partly);
    assert_eq!(ready(&tallies, "late"), lost);
    assert_eq!(tallies.take().len(), 3);
    let alone = rule("all", &[]);
    tallies.ruled(&alice, &alone, now);
    assert_eq!(ready(&tallies, "all"), "Governing: governs 1");
    assert_eq!(
        ready(&tallies, "late"),
        "NothingToGovern: no sandbox matches yet"
    );
}

#[test]
fn a_target_that_comes_or_goes_costs_a_look_at_its_own_policies_however_many_there_are() {
    let now = crate::observe::Clocks::read().now;
    let cost = |policies: usize, targets: usize| {
        let mut tallies = Tallies::default();
        for target in 0..targets {
            let policy = format!("policy-{}", target % policies);
            come(&mut tallies, &rule(&policy, &["all"]), now);
        }
        tallies.take();
        let before = tallies.looks;
        let one = rule("policy-0", &["all"]);
        come(&mut tallies, &one, now);
        go(&mut tallies, &one, now);
        tallies.take();
        tallies.looks - before
    };
    assert_eq!(cost(1, 1), 4, "two policies, each there and back");
    assert_eq!(cost(50, 2_000), 4);
}

#[test]
fn what_stays_as_it_was_costs_nothing() {
    let now = crate::observe::Clocks::read().now;
    let mut tallies = Tallies::default();
    let one = rule("own", &["all"]);
    come(&mut tallies, &one, now);
    tallies.take();
    let before = tallies.looks;
    tallies.ruled(&one, &rule("own", &["all"]), now);
    assert_eq!((tallies.looks, tallies.due()), (before, None));
}

/// These targets of a policy go wrong so, one after another.
fn troubled(all: &[(&str, Option<&str>, bool)]) -> Tallies {
    let now = crate::observe::Clocks::read().now;
    let mut tallies = Tallies::default();
    for (name, flapping, is_agent_silent) in all {
        let trouble = Trouble {
            flapping: flapping.map(Into::into),
            is_agent_silent: *is_agent_silent,
        };
        tallies.recount(&key(name), None, Some(&awake("all", Some(trouble))), now);
    }
    tallies
}

#[test]
fn a_policy_names_a_few_that_flap_with_who_does_it_and_the_number_of_the_others() {
    let on = |tallies: &Tallies| condition(tallies, "all", "Flapping").unwrap();
    let mut tallies = troubled(&[
        ("b", Some(""), false),
        ("a", Some("GET /ws (upgrade)"), false),
        ("silent", None, true),
    ]);
    let told = on(&tallies);
    assert_eq!(
        (&*told.status, &*told.reason),
        ("True", "WokenAfterSleep"),
        "{told:?}"
    );
    let message = "woken again and again within the cooldownPeriod of 10 s after falling asleep: \
                   a by GET /ws (upgrade), b; end these clients, or raise cooldownPeriod beyond the pause \
                   between their attempts";
    assert_eq!(told.message, message);

    let now = crate::observe::Clocks::read().now;
    for name in ["a", "b"] {
        let was = Trouble {
            flapping: Some("".into()),
            is_agent_silent: false,
        };
        let (was, is) = (awake("all", Some(was)), awake("all", None));
        tallies.recount(&key(name), Some(&was), Some(&is), now);
    }
    let told = on(&tallies);
    assert_eq!((&*told.status, &*told.reason), ("False", "Calm"));

    let many: Vec<String> = (10..1010).map(|number| format!("s{number}")).collect();
    let many: Vec<_> = many.iter().map(|name| (&**name, Some(""), false)).collect();
    let told = on(&troubled(&many)).message;
    assert!(
        told.contains(": s10, s100, s1000 and 997 more; end"),
        "{told}"
    );
}

#[test]
fn a_policy_whose_agents_are_silent_on_their_busy_path_names_them_until_they_answer() {
    let on = |tallies: &Tallies| condition(tallies, "all", "BusyPathAnswers").unwrap();
    let told = on(&troubled(&[("a", None, true), ("b", Some(""), false)]));
    assert_eq!(
        (&*told.status, &*told.reason),
        ("False", "AgentSilent"),
        "{told:?}"
    );
    let message = "no usable answer on busy.path 10 times in a row, which counts as idle: a; mend busy.path, \
                   busy.port or busy.idleWhen, or the agent";
    assert_eq!(told.message, message);
    let told = on(&troubled(&[("b", Some(""), false)]));
    assert_eq!((&*told.status, &*told.reason), ("True", "Answers"));
}
