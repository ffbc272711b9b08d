//! Random histories against the plain meaning of `apply`: what it names is exactly what changed, and
//! what remains does not depend on the order of the news.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 3] = ["a", "b", "c"];

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

/// Nearly always the same one, so that things fit together more often than not.
fn uid() -> impl Strategy<Value = u8> {
    prop_oneof![9 => Just(0_u8), 1 => Just(1)]
}

fn sandbox() -> impl Strategy<Value = SandboxFacts> {
    let claim = prop::option::of((name(), uid()));
    (
        uid(),
        claim,
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(uid, claim, pool_member, deleting)| SandboxFacts {
            pool_member: pool_member && claim.is_none(),
            claim: claim.map(|(name, _)| name.into()),
            claim_uid: claim.map(|(_, uid)| uid.to_string().into()),
            deleting,
            ..lone(&uid.to_string())
        })
}

fn claims() -> impl Strategy<Value = ClaimFacts> {
    (uid(), prop::option::of(name()), prop::bool::weighted(0.1)).prop_map(
        |(uid, sandbox, released)| ClaimFacts {
            released,
            ..claim(&uid.to_string(), sandbox)
        },
    )
}

fn pods() -> impl Strategy<Value = PodFacts> {
    (0..3_u8, name(), uid(), prop::bool::weighted(0.3)).prop_map(
        |(uid, sandbox, owner, terminating)| PodFacts {
            terminating,
            ..pod(&uid.to_string(), sandbox, &owner.to_string(), "")
        },
    )
}

fn policies() -> impl Strategy<Value = PolicyFacts> {
    let spec = prop_oneof![
        Just(everybody()),
        name().prop_map(|name| named(TargetKind::Sandbox, name)),
        name().prop_map(|name| named(TargetKind::SandboxClaim, name)),
    ];
    (1..3_i64, spec).prop_map(|(second, spec)| policy(second, spec))
}

fn change() -> impl Strategy<Value = Change> {
    fn some<T: std::fmt::Debug>(
        facts: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = Option<Arc<T>>> {
        prop::option::weighted(0.75, facts.prop_map(Arc::new))
    }
    let key = || name().prop_map(key);
    prop_oneof![
        3 => (key(), some(sandbox())).prop_map(|(key, facts)| Change::Sandbox(key, facts)),
        3 => (key(), some(claims())).prop_map(|(key, facts)| Change::Claim(key, facts)),
        2 => (key(), some(pods())).prop_map(|(key, facts)| Change::Pod(key, facts)),
        1 => (key(), some(policies())).prop_map(|(key, facts)| Change::Policy(key, facts)),
    ]
}

/// Every target by key, as found by asking for every name there is.
fn seen(index: &Index) -> BTreeMap<SandboxKey, Target> {
    let found = NAMES.iter().filter_map(|name| index.target(&key(name)));
    found.map(|target| (target.key.clone(), target)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn touched_is_exactly_what_looks_different(history in prop::collection::vec(change(), 1..30)) {
        let mut index = Index::default();
        for change in history {
            let before = seen(&index);
            let touched = index.apply(change.clone());
            let after = seen(&index);
            let mut listed: Vec<_> = index.targets().collect();
            listed.sort();
            prop_assert_eq!(&listed, &after.keys().cloned().collect::<Vec<_>>(), "{:?}", change);
            let different: Vec<SandboxKey> = NAMES
                .iter()
                .map(|name| key(name))
                .filter(|key| before.get(key) != after.get(key))
                .collect();
            prop_assert_eq!(touched, different, "{:?}", change);
        }
    }

    #[test]
    fn a_target_is_one_sandbox_and_a_sandbox_one_target(history in prop::collection::vec(change(), 1..30)) {
        let mut index = Index::default();
        for change in history {
            index.apply(change);
            let mut taken = BTreeMap::new();
            for target in seen(&index).into_values() {
                if let Some((name, facts)) = &target.sandbox {
                    prop_assert!(!facts.pool_member);
                    prop_assert_eq!(taken.insert(name.clone(), target.key.clone()), None);
                    let by_own_name = index.target(name).map(|target| target.key);
                    prop_assert_eq!(by_own_name.as_ref(), Some(&target.key));
                    let pod = target.pod.as_ref();
                    prop_assert!(pod.is_none_or(|pod| pod.sandbox_uid == facts.uid && !pod.terminating));
                }
            }
        }
    }

    #[test]
    fn the_end_does_not_depend_on_the_way(history in prop::collection::vec(change(), 1..20)) {
        let name = |change: &Change| match change {
            Change::Sandbox(key, _) => format!("s{key}"),
            Change::Claim(key, _) => format!("c{key}"),
            Change::Pod(key, _) => format!("p{key}"),
            Change::Policy(key, _) => format!("y{key}"),
            Change::Synced => String::new(),
        };
        let mut index = Index::default();
        let mut last = BTreeMap::new();
        for change in history {
            last.insert(name(&change), change.clone());
            index.apply(change);
        }
        let mut other = Index::default();
        for change in last.into_values().rev() {
            other.apply(change);
        }
        prop_assert_eq!(seen(&index), seen(&other));
    }
}
