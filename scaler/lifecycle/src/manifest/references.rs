//! What objects say of each other.

use std::collections::HashMap;

use reveille_crds::SandboxKey;
use reveille_crds::scaled_sandbox::TargetKind;

use super::{Place, Report};
use crate::object::Object;

/// Objects by kind and key, with where they stand.
type Seen<'a> = HashMap<(&'static str, SandboxKey), &'a Place>;

pub(super) fn check(loaded: &[(Place, Object)], report: &mut Report) {
    // With something missing already, every reference to it would be a second complaint.
    let complete = report.problems.is_empty();
    let mut seen: Seen<'_> = HashMap::new();
    for (place, object) in loaded {
        let Ok(key) = object.key() else { continue };
        if let Some(first) = seen.insert((object.kind(), key.clone()), place) {
            let text = format!(
                "there is a {} {key} in {} already; rename one",
                object.kind(),
                at(first)
            );
            report.add(place, "metadata.name", text);
        }
    }
    volumes(loaded, report);
    for (place, object) in loaded {
        let Ok(key) = object.key() else { continue };
        if matches!(object, Object::Claim(_))
            && let Some(sandbox) = seen.get(&("Sandbox", key.clone()))
        {
            let text = format!(
                "there is a Sandbox {key} in {}; a claim and a sandbox share their names, rename one",
                at(sandbox)
            );
            report.add(place, "metadata.name", text);
        }
        if let Some((field, kind, name)) = reference(object).filter(|_| complete) {
            let found = key
                .sibling(name)
                .is_ok_and(|key| seen.contains_key(&(kind, key)));
            if !found {
                let text = format!(
                    "there is no {kind} {name:?} in namespace {:?}; add it or correct the name",
                    key.namespace()
                );
                report.add(place, field, text);
            }
        }
    }
}

fn reference(object: &Object) -> Option<(&'static str, &'static str, &str)> {
    match object {
        Object::Claim(claim) => Some((
            "spec.warmPoolRef.name",
            "SandboxWarmPool",
            &claim.spec.warm_pool_ref.name,
        )),
        Object::Pool(pool) => Some((
            "spec.sandboxTemplateRef.name",
            "SandboxTemplate",
            &pool.spec.sandbox_template_ref.name,
        )),
        Object::Policy(policy) => {
            let target = policy.spec.scale_target_ref.as_ref()?;
            let kind = match target.kind {
                TargetKind::Sandbox => "Sandbox",
                TargetKind::SandboxClaim => "SandboxClaim",
            };
            Some(("spec.scaleTargetRef.name", kind, &target.name))
        }
        Object::Sandbox(_) | Object::Template(_) => None,
    }
}

/// `<template>-<sandbox>` names a volume, and two sandboxes must not come to the same one.
fn volumes(loaded: &[(Place, Object)], report: &mut Report) {
    let mut owners: HashMap<String, (&Place, SandboxKey)> = HashMap::new();
    for (place, object) in loaded {
        let (Object::Sandbox(sandbox), Ok(key)) = (object, object.key()) else {
            continue;
        };
        for (index, vct) in sandbox
            .spec
            .volume_claim_templates
            .iter()
            .flatten()
            .enumerate()
        {
            let name = vct.metadata.name.as_deref().unwrap_or_default();
            let volume = format!("{}/{name}-{}", key.namespace(), key.name());
            if let Some((first, other)) = owners.insert(volume.clone(), (place, key.clone()))
                && other != key
            {
                let field = format!("spec.volumeClaimTemplates[{index}].metadata.name");
                let text = format!(
                    "volume {volume} is that of sandbox {other} in {} too; rename one",
                    at(first)
                );
                report.add(place, field, text);
            }
        }
    }
}

fn at(place: &Place) -> String {
    format!("{}, document {}", place.file.display(), place.document)
}
