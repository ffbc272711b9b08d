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
    let status = tallies.by_policy[&key(policy)].status(1, None, Timestamp::UNIX_EPOCH);
    let ready = &status.conditions[0];
    format!("{}: {}", ready.reason, ready.message)
}

/// A target comes, awake; or goes.
fn come(tallies: &mut Tallies, rule: &Rule, now: Instant) {
    let counted = rule.policy.clone().map(|policy| (policy, State::Awake));
    tallies.ruled(&Rule::default(), rule, now);
    tallies.recount(None, counted.as_ref(), now);
}

fn go(tallies: &mut Tallies, rule: &Rule, now: Instant) {
    let counted = rule.policy.clone().map(|policy| (policy, State::Awake));
    tallies.recount(counted.as_ref(), None, now);
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
