//! What a start makes of the manifests and of what is remembered.
//!
//! The manifests say what there should be; the journal says who each object is (UID, creation, epoch),
//! whether it sleeps, and which claim has which Sandbox. Remembered objects that no manifest speaks of
//! stay remembered; unclaimed pool members do not, and their volumes go.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use reveille_crds::SandboxKey;
use reveille_crds::claim::SandboxClaim;
use reveille_crds::names::annotation;
use reveille_crds::sandbox::{PodTemplate, Sandbox};

use super::Error;
use super::journal::Memory;
use super::sandbox::{owner, volume_templates};
use super::state_dir::StateDir;
use crate::object::Object;
use crate::store::{ClaimObject, SandboxObject, Store};

/// Fills the store; answers what stays remembered without being present.
pub(super) fn restore(
    store: &Store,
    objects: Vec<Object>,
    mut memory: Memory,
    state: &StateDir,
) -> Result<Memory, Error> {
    for object in objects {
        let key = object
            .key()
            .map_err(|error| Error::Object(format!("{}: {error}", object.kind())))?;
        match object {
            Object::Sandbox(sandbox) => {
                let sandbox = match memory.sandboxes.remove(&key) {
                    Some(old) => again(&key, *sandbox, old)?,
                    None => *sandbox,
                };
                store.insert_sandbox(&key, sandbox);
            }
            Object::Claim(claim) => {
                let claim = match memory.claims.remove(&key) {
                    Some(old) => claim_again(*claim, old),
                    None => ClaimObject {
                        claim: *claim,
                        released: false,
                    },
                };
                store.insert(&key, claim);
            }
            other => {
                // Its key was checked above.
                let _ = store.apply(other);
            }
        }
    }
    let mut dormant = Memory {
        claims: memory.claims,
        ..Memory::default()
    };
    for (key, object) in memory.sandboxes {
        match fate(store, &key, &object, &dormant) {
            Fate::Present => {
                let SandboxObject {
                    mut sandbox,
                    template,
                } = object;
                sandbox.spec.pod_template = PodTemplate::clone(&template);
                store.insert_sandbox(&key, sandbox);
            }
            Fate::Dormant => {
                dormant.sandboxes.insert(key, object);
            }
            Fate::Gone => {
                for template in volume_templates(&object.sandbox) {
                    state.discard(&state.volume(&key, &template));
                }
                state.discard(&state.logs(key.namespace(), key.name()));
            }
        }
    }
    Ok(dormant)
}

enum Fate {
    Present,
    Dormant,
    Gone,
}

/// What becomes of a remembered Sandbox that no manifest holds.
fn fate(store: &Store, key: &SandboxKey, object: &SandboxObject, dormant: &Memory) -> Fate {
    let meta = &object.sandbox.metadata;
    if meta.deletion_timestamp.is_some() {
        return Fate::Gone;
    }
    let Some(owner) = owner(meta) else {
        return Fate::Dormant;
    };
    let Ok(owner_key) = key.sibling(&owner.name) else {
        return Fate::Gone;
    };
    if owner.kind != "SandboxClaim" {
        return Fate::Gone;
    }
    let same = |claim: &ClaimObject| {
        claim.claim.metadata.uid.as_ref() == Some(&owner.uid) && !claim.released
    };
    match (
        store.get::<ClaimObject>(&owner_key),
        dormant.claims.get(&owner_key),
    ) {
        (Some(claim), _) if same(&claim) => Fate::Present,
        (None, Some(claim)) if same(claim) => Fate::Dormant,
        _ => Fate::Gone,
    }
}

/// The Sandbox of a manifest as the one that was here before.
fn again(key: &SandboxKey, mut sandbox: Sandbox, old: SandboxObject) -> Result<Sandbox, Error> {
    if let Some(owner) = owner(&old.sandbox.metadata) {
        let text = format!(
            "Sandbox {key}: the name is that of a sandbox made for {} {}; choose another",
            owner.kind, owner.name
        );
        return Err(Error::Object(text));
    }
    let before = &old.sandbox.spec;
    if sandbox.spec.volume_claim_templates != before.volume_claim_templates {
        let text = format!(
            "Sandbox {key}: spec.volumeClaimTemplates is immutable; restore it, or give the sandbox another name"
        );
        return Err(Error::Object(text));
    }
    sandbox.spec.operating_mode = before.operating_mode;
    let template = std::mem::take(&mut sandbox.spec.pod_template);
    let changed = sandbox.spec != *before || template != *old.template;
    sandbox.spec.pod_template = template;
    inherit(&mut sandbox.metadata, old.sandbox.metadata);
    if changed {
        sandbox.metadata.generation = sandbox.metadata.generation.map(|generation| generation + 1);
    }
    Ok(sandbox)
}

fn claim_again(mut claim: SandboxClaim, old: ClaimObject) -> ClaimObject {
    let changed = claim.spec != old.claim.spec;
    inherit(&mut claim.metadata, old.claim.metadata);
    if changed {
        claim.metadata.generation = claim.metadata.generation.map(|generation| generation + 1);
    }
    ClaimObject {
        claim,
        released: old.released,
    }
}

/// Identity, and the annotations that are ours or the controller's.
fn inherit(meta: &mut ObjectMeta, old: ObjectMeta) {
    meta.uid = old.uid;
    meta.creation_timestamp = old.creation_timestamp;
    meta.generation = old.generation;
    let ours = old.annotations.into_iter().flatten();
    let ours: Vec<_> = ours
        .filter(|(key, _)| key.starts_with("reveille.dev/") || key == annotation::SANDBOX_NAME)
        .collect();
    if !ours.is_empty() {
        meta.annotations.get_or_insert_default().extend(ours);
    }
}
