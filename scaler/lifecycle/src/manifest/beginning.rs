//! Whether a Sandbox begins awake that does not say so.
//!
//! On a cluster it does, and its policy puts it to sleep when it has been quiet. Here the first start would run
//! every agent of a folder at once on one machine, so those begin asleep that a request wakes.

use std::collections::BTreeSet;
use std::sync::Arc;

use reveille_crds::SandboxKey;
use reveille_crds::labels::Labels;
use reveille_crds::policy::{Candidate, Policies};
use reveille_crds::sandbox::OperatingMode;
use reveille_crds::scaled_sandbox::{PolicyFacts, ScaledSandboxSpec, TriggerKind};

use super::Place;
use crate::object::Object;

/// Of those that say no mode (`silent`), has begin asleep whose policy would let them sleep at once, and wakes
/// them for requests.
pub(super) fn settle(loaded: &mut [(Place, Object)], silent: &BTreeSet<SandboxKey>) {
    if silent.is_empty() {
        return;
    }
    let mut policies = Policies::default();
    for (_, object) in loaded.iter() {
        if let (Object::Policy(policy), Ok(key)) = (object, object.key()) {
            policies.apply(key, Some(Arc::new(PolicyFacts::of(policy))));
        }
    }
    for (_, object) in loaded {
        let Ok(key) = object.key() else { continue };
        let Object::Sandbox(sandbox) = object else {
            continue;
        };
        let labels = Labels::from(sandbox.metadata.labels.as_ref());
        let governing = policies.governing(&Candidate {
            namespace: key.namespace(),
            sandbox: Some((key.name(), &labels)),
            claim: None,
        });
        if silent.contains(&key) && governing.is_some_and(|(_, policy)| wakes(&policy.spec)) {
            sandbox.spec.operating_mode = OperatingMode::Suspended;
        }
    }
}

fn wakes(spec: &ScaledSandboxSpec) -> bool {
    let by_requests = |kind| kind == TriggerKind::Http;
    let is_woken = spec.triggers.iter().any(|it| by_requests(it.kind));
    is_woken && !spec.paused && spec.initial_cooldown_period == 0
}
