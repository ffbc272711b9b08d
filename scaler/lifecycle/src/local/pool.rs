//! One warm pool: unclaimed members, started before anyone asks.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use reveille_crds::SandboxKey;
use reveille_crds::names::{annotation, label, name_hash};
use reveille_crds::sandbox::{OperatingMode, PodTemplate, Sandbox, SandboxSpec};
use reveille_crds::template::SandboxTemplate;
use reveille_crds::warm_pool::{SandboxWarmPool, SandboxWarmPoolStatus};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::conditions;
use super::reconcile::Reconciler;
use crate::store::{Id, Kind, SandboxObject};

/// Letters of generated names: no vowels, no look-alikes, as Kubernetes'.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

impl Reconciler {
    /// Brings one pool to its number of members.
    pub(super) fn pool(&mut self, key: &SandboxKey) {
        let Some(pool) = self.store.get::<SandboxWarmPool>(key) else {
            return;
        };
        let members = self.living_members(key);
        let (ended, members): (Vec<_>, Vec<_>) = members
            .into_iter()
            .partition(|(_, member)| has_ended(member));
        if !ended.is_empty() {
            let now = Instant::now();
            let (backoff, until) = self
                .pool_backoff
                .entry(key.clone())
                .or_insert_with(|| (Backoff::default(), now));
            // As of a container that ran since the last end.
            *until = now + backoff.ended(until.into_std(), now.into_std());
            for (member, _) in &ended {
                self.store.delete::<SandboxObject>(member);
            }
        }
        let wanted = usize::try_from(pool.spec.replicas).unwrap_or(0);
        if members.len() < wanted {
            self.refill(key, &pool, wanted - members.len());
        }
        // Those that are not ready go first, then the youngest.
        let mut surplus = members.clone();
        surplus.sort_by_key(|(_, member)| {
            (
                conditions::is_ready(member),
                std::cmp::Reverse(created(member)),
            )
        });
        for (member, _) in surplus.iter().take(members.len().saturating_sub(wanted)) {
            self.store.delete::<SandboxObject>(member);
        }
        let members = self.living_members(key);
        let ready = members
            .iter()
            .filter(|(_, member)| conditions::is_ready(member))
            .count();
        let status = SandboxWarmPoolStatus {
            replicas: i32::try_from(members.len()).unwrap_or(i32::MAX),
            ready_replicas: i32::try_from(ready).unwrap_or(i32::MAX),
            selector: Some(format!("{}={}", label::WARM_POOL, name_hash(key.name()))),
            observed_generation: pool.metadata.generation,
        };
        self.store
            .update(key, |pool: &mut SandboxWarmPool| pool.status = Some(status));
        if ready > 0 {
            let waiting: Vec<SandboxKey> = self
                .waiting
                .iter()
                .filter(|(_, pool)| *pool == key)
                .map(|(claim, _)| claim.clone())
                .collect();
            for claim in waiting {
                self.claim(&claim);
            }
        }
    }

    /// Unclaimed members that are not being deleted, oldest first.
    pub(super) fn living_members(
        &self,
        pool: &SandboxKey,
    ) -> Vec<(SandboxKey, std::sync::Arc<SandboxObject>)> {
        let keys = self.members.get(pool).into_iter().flatten();
        let mut members: Vec<_> = keys
            .filter_map(|key| Some((key.clone(), self.store.get::<SandboxObject>(key)?)))
            .filter(|(_, member)| member.sandbox.metadata.deletion_timestamp.is_none())
            .collect();
        members.sort_by_key(|(key, member)| (created(member), key.clone()));
        members
    }

    fn refill(&mut self, key: &SandboxKey, pool: &SandboxWarmPool, missing: usize) {
        if let Some((_, until)) = self.pool_backoff.get(key)
            && *until > Instant::now()
        {
            return self.timers.set(
                Id {
                    kind: Kind::Pool,
                    key: key.clone(),
                },
                *until,
            );
        }
        let Ok(template_key) = key.sibling(&pool.spec.sandbox_template_ref.name) else {
            return;
        };
        let Some(template) = self.store.get::<SandboxTemplate>(&template_key) else {
            return;
        };
        for _ in 0..missing {
            let Some(member) = self.free_name(key) else {
                continue;
            };
            let owner = OwnerReference {
                api_version: SandboxWarmPool::api_version(&()).into_owned(),
                kind: SandboxWarmPool::kind(&()).into_owned(),
                name: key.name().to_owned(),
                uid: pool.metadata.uid.clone().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            };
            let mut sandbox =
                from_template(&template_key, &template, template.spec.pod_template.clone());
            sandbox.metadata.owner_references = Some(vec![owner]);
            let labels = sandbox.metadata.labels.get_or_insert_default();
            labels.insert(label::WARM_POOL.to_owned(), name_hash(key.name()));
            // Recorded before its pod can touch a volume, so that the next start finds what to remove.
            self.members
                .entry(key.clone())
                .or_default()
                .insert(member.clone());
            self.store.insert_sandbox(&member, sandbox);
        }
    }

    fn free_name(&self, pool: &SandboxKey) -> Option<SandboxKey> {
        // Of 14 million names a few thousand are taken: the first try is all but certain.
        std::iter::repeat_with(|| pool.sibling(&format!("{}-{}", pool.name(), suffix())).ok())
            .take(16)
            .flatten()
            .find(|key| self.store.get::<SandboxObject>(key).is_none())
    }
}

/// A Sandbox made from a template, without name and owner.
pub(super) fn from_template(
    key: &SandboxKey,
    template: &SandboxTemplate,
    pod_template: PodTemplate,
) -> Sandbox {
    let hash = (label::TEMPLATE_REF_HASH.to_owned(), name_hash(key.name()));
    let reference = (annotation::TEMPLATE_REF.to_owned(), key.name().to_owned());
    Sandbox {
        metadata: ObjectMeta {
            labels: Some([hash].into()),
            annotations: Some([reference].into()),
            ..ObjectMeta::default()
        },
        spec: SandboxSpec {
            pod_template,
            volume_claim_templates: template.spec.volume_claim_templates.clone(),
            service: template.spec.service,
            shutdown_time: None,
            shutdown_policy: None,
            operating_mode: OperatingMode::Running,
            rest: serde_json::Map::new(),
        },
        status: None,
    }
}

pub(super) fn created(object: &SandboxObject) -> Option<jiff::Timestamp> {
    object
        .sandbox
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|time| time.0)
}

fn has_ended(object: &SandboxObject) -> bool {
    let conditions = object
        .sandbox
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.conditions);
    conditions
        .iter()
        .any(|condition| condition.type_ == "Finished" && condition.status == "True")
}

fn suffix() -> String {
    let random = uuid::Uuid::new_v4();
    let letters = random
        .as_bytes()
        .iter()
        .take(5)
        .map(|byte| LETTERS[usize::from(*byte) % LETTERS.len()]);
    letters.map(char::from).collect()
}
