//! Binding: a member of the pool, or a cold start.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use reveille_crds::SandboxKey;
use reveille_crds::claim::SandboxClaim;
use reveille_crds::names::{annotation, label};
use reveille_crds::template::SandboxTemplate;
use reveille_crds::warm_pool::SandboxWarmPool;
use tokio::time::Instant;

use super::claim_spec::{Refusal, Wishes};
use super::conditions;
use super::pool::from_template;
use super::reconcile::Reconciler;
use crate::store::{ClaimObject, Id, Kind, SandboxObject};

/// How long after its creation a claim waits for a member that is not ready yet (upstream's).
const GRACE: Duration = Duration::from_secs(2);

/// Where a claim's Sandbox comes from.
struct Source {
    pool: SandboxKey,
    template_key: SandboxKey,
    template: Arc<SandboxTemplate>,
}

impl Reconciler {
    /// Finds a Sandbox for a claim that has none.
    pub(super) fn bind(&mut self, key: &SandboxKey, object: &ClaimObject) {
        let source = match self.source(key, object) {
            Ok(source) => source,
            Err((reason, message)) => return self.say(key, object, reason, message),
        };
        let wishes = Wishes::of(&object.claim);
        if let Err((reason, message)) = wishes.allowed_by(&source.template) {
            return self.say(key, object, reason, message);
        }
        if !wishes.is_own() {
            let members = self.living_members(&source.pool);
            if let Some((member, found)) = members
                .iter()
                .find(|(_, member)| conditions::is_ready(member))
            {
                self.waiting.remove(key);
                return self.adopt(key, object, member, found);
            }
            if self.waits(key, object, &source.pool, members.len()) {
                let message = "waiting for a member of the pool to become ready";
                return self.say(key, object, "SandboxCreatePending", message);
            }
        }
        self.waiting.remove(key);
        self.start_cold(key, object, &source);
    }

    fn source(&self, key: &SandboxKey, object: &ClaimObject) -> Result<Source, Refusal> {
        let name = &object.claim.spec.warm_pool_ref.name;
        let missing = || {
            (
                "WarmPoolNotFound",
                format!("there is no SandboxWarmPool {name:?}"),
            )
        };
        let pool_key = key.sibling(name).map_err(|_| missing())?;
        let pool = self
            .store
            .get::<SandboxWarmPool>(&pool_key)
            .ok_or_else(missing)?;
        let name = &pool.spec.sandbox_template_ref.name;
        let missing = || {
            (
                "TemplateNotFound",
                format!("there is no SandboxTemplate {name:?}"),
            )
        };
        let template_key = key.sibling(name).map_err(|_| missing())?;
        let template = self
            .store
            .get::<SandboxTemplate>(&template_key)
            .ok_or_else(missing)?;
        Ok(Source {
            pool: pool_key,
            template_key,
            template,
        })
    }

    /// Whether one of the pool's members, none of them ready yet, may become this claim's in time.
    fn waits(
        &mut self,
        key: &SandboxKey,
        object: &ClaimObject,
        pool: &SandboxKey,
        members: usize,
    ) -> bool {
        let before = self
            .waiting
            .iter()
            .filter(|(claim, of)| *claim != key && *of == pool)
            .count();
        let created = object.claim.metadata.creation_timestamp.as_ref();
        let created = created.map_or(Timestamp::MIN, |time| time.0);
        let age = Duration::try_from(Timestamp::now().duration_since(created)).unwrap_or_default();
        if before >= members || age >= GRACE {
            return false;
        }
        self.waiting.insert(key.clone(), pool.clone());
        let id = Id {
            kind: Kind::Claim,
            key: key.clone(),
        };
        self.timers.set(id, Instant::now() + (GRACE - age));
        true
    }

    /// Gives a member to the claim. Its name and its pod stay.
    fn adopt(
        &mut self,
        key: &SandboxKey,
        object: &ClaimObject,
        member: &SandboxKey,
        found: &SandboxObject,
    ) {
        let template = match Wishes::of(&object.claim).merge_metadata(&found.template) {
            Ok(template) => template,
            Err(message) => return self.say(key, object, "InvalidMetadata", message),
        };
        for members in self.members.values_mut() {
            members.remove(member);
        }
        let uid = object.claim.metadata.uid.clone().unwrap_or_default();
        let owner = claim_owner(key, &uid);
        let pool = found
            .sandbox
            .metadata
            .owner_references
            .iter()
            .flatten()
            .find_map(|owner| key.sibling(&owner.name).ok());
        self.store.update(member, |sandbox: &mut SandboxObject| {
            if *sandbox.template != template {
                sandbox.template = template.into();
            }
            let meta = &mut sandbox.sandbox.metadata;
            let labels = meta.labels.get_or_insert_default();
            labels.remove(label::WARM_POOL);
            labels.insert(label::CLAIM_UID.to_owned(), uid.clone());
            labels.insert(label::LAUNCH_TYPE.to_owned(), "warm".to_owned());
            meta.owner_references = Some(vec![owner]);
        });
        self.store.update(member, |pod: &mut Pod| {
            let labels = pod.metadata.labels.get_or_insert_default();
            labels.remove(label::WARM_POOL);
            labels.insert(label::CLAIM_UID.to_owned(), uid);
        });
        self.assign(key, member);
        let Some(adopted) = self.store.get::<SandboxObject>(member) else {
            return;
        };
        // On disk before anyone can reach it: a kill -9 must not make it a stray member again.
        self.journal.sandbox(member, Some(&adopted));
        self.journal
            .claim(key, self.store.get::<ClaimObject>(key).as_deref());
        tracing::debug!(claim = %key, sandbox = %member, "claim adopted a warm sandbox");
        self.report(key, member, &adopted);
        if let Some(pool) = pool {
            self.pool(&pool);
        }
    }

    fn start_cold(&mut self, key: &SandboxKey, object: &ClaimObject, source: &Source) {
        let Source {
            template_key,
            template,
            ..
        } = source;
        if let Some(other) = self.store.get::<SandboxObject>(key) {
            let message = if other.sandbox.metadata.deletion_timestamp.is_some() {
                "the sandbox before it is being deleted"
            } else {
                "there is a sandbox of that name that is not the claim's"
            };
            return self.say(key, object, "AdoptionConflict", message);
        }
        let wishes = Wishes::of(&object.claim);
        let pod_template = match wishes.pod_template(&template.spec.pod_template) {
            Ok(pod_template) => pod_template,
            Err((reason, message)) => return self.say(key, object, reason, message),
        };
        let uid = object.claim.metadata.uid.clone().unwrap_or_default();
        let mut sandbox = from_template(template_key, template, pod_template);
        sandbox.spec.volume_claim_templates = wishes.volumes(template);
        sandbox.metadata.owner_references = Some(vec![claim_owner(key, &uid)]);
        let labels = sandbox.metadata.labels.get_or_insert_default();
        labels.insert(label::CLAIM_UID.to_owned(), uid);
        labels.insert(label::LAUNCH_TYPE.to_owned(), "cold".to_owned());
        self.assign(key, key);
        self.store.insert_sandbox(key, sandbox);
        if let Some(made) = self.store.get::<SandboxObject>(key) {
            self.report(key, key, &made);
        }
    }

    fn assign(&self, key: &SandboxKey, sandbox: &SandboxKey) {
        self.store.update(key, |object: &mut ClaimObject| {
            let annotations = object.claim.metadata.annotations.get_or_insert_default();
            annotations.insert(
                annotation::SANDBOX_NAME.to_owned(),
                sandbox.name().to_owned(),
            );
        });
    }
}

fn claim_owner(key: &SandboxKey, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: SandboxClaim::api_version(&()).into_owned(),
        kind: SandboxClaim::kind(&()).into_owned(),
        name: key.name().to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
