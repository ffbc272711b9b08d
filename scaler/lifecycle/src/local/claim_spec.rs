//! What a claim asks for beyond its pool.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reveille_crds::claim::{ClaimEnv, ClaimShutdownPolicy, SandboxClaim};
use reveille_crds::sandbox::{PodTemplate, VolumeClaimTemplate};
use reveille_crds::template::{ClaimPermission, SandboxTemplate};
use serde_json::{Map, Value, json};

use super::claim::after;

/// A condition's reason and message.
pub(super) type Refusal = (&'static str, String);

/// The asking side of a claim.
#[derive(Clone, Copy)]
pub(super) struct Wishes<'a> {
    claim: &'a SandboxClaim,
}

impl<'a> Wishes<'a> {
    pub(super) const fn of(claim: &'a SandboxClaim) -> Self {
        Self { claim }
    }

    fn env(self) -> &'a [ClaimEnv] {
        self.claim.spec.env.as_deref().unwrap_or_default()
    }

    fn own_volumes(self) -> &'a [VolumeClaimTemplate] {
        self.claim
            .spec
            .volume_claim_templates
            .as_deref()
            .unwrap_or_default()
    }

    /// Whether no pool member can be what is asked for.
    pub(super) fn is_own(self) -> bool {
        !self.env().is_empty() || !self.own_volumes().is_empty()
    }

    pub(super) fn shutdown_policy(self) -> ClaimShutdownPolicy {
        self.claim
            .spec
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.shutdown_policy)
            .unwrap_or_default()
    }

    /// When the claim is over, as far as is known now.
    pub(super) fn expiry(self) -> Option<Timestamp> {
        let lifecycle = self.claim.spec.lifecycle.as_ref()?;
        let absolute = lifecycle.shutdown_time.as_ref().map(|time| time.0);
        let finished = self
            .claim
            .status
            .iter()
            .flat_map(|status| &status.conditions);
        let finished = finished
            .into_iter()
            .find(|it| it.type_ == "Finished" && it.status == "True");
        let ttl = lifecycle.ttl_seconds_after_finished.zip(finished);
        let relative = ttl.and_then(|(ttl, finished)| after(&finished.last_transition_time, ttl));
        absolute.into_iter().chain(relative).min()
    }

    /// # Errors
    /// If the template does not let a claim bring what this one brings.
    pub(super) fn allowed_by(self, template: &SandboxTemplate) -> Result<(), Refusal> {
        let forbids = |policy: Option<ClaimPermission>| {
            policy.unwrap_or_default() == ClaimPermission::Disallowed
        };
        if !self.env().is_empty() && forbids(template.spec.env_vars_injection_policy) {
            let text = "the template's envVarsInjectionPolicy is Disallowed; write Allowed or Overrides there, or remove env";
            return Err(("EnvVarsInjectionRejected", text.to_owned()));
        }
        if !self.own_volumes().is_empty() && forbids(template.spec.volume_claim_templates_policy) {
            let text = "the template's volumeClaimTemplatesPolicy is Disallowed; write Allowed or Overrides there, or remove volumeClaimTemplates";
            return Err(("VolumeClaimTemplatesError", text.to_owned()));
        }
        Ok(())
    }

    /// The template's pod with the claim's labels and annotations, which may add but not override.
    ///
    /// # Errors
    /// Which key is in both with different values.
    pub(super) fn merge_metadata(self, template: &PodTemplate) -> Result<PodTemplate, String> {
        let mut merged = template.clone();
        if let Some(extra) = &self.claim.spec.additional_pod_metadata {
            let meta = merged.metadata.get_or_insert_default();
            merge(&mut meta.labels, extra.labels.as_ref())?;
            merge(&mut meta.annotations, extra.annotations.as_ref())?;
        }
        Ok(merged)
    }

    /// The pod of a cold start: metadata merged, variables injected.
    ///
    /// # Errors
    /// With the reason of the claim's condition.
    pub(super) fn pod_template(self, template: &PodTemplate) -> Result<PodTemplate, Refusal> {
        let mut merged = self
            .merge_metadata(template)
            .map_err(|message| ("InvalidMetadata", message))?;
        for variable in self.env() {
            if !inject(&mut merged.spec, variable) {
                let container = variable.container_name.as_deref().unwrap_or_default();
                return Err((
                    "EnvVarsInjectionRejected",
                    format!("there is no container {container:?}"),
                ));
            }
        }
        Ok(merged)
    }

    /// The claim's volumes over the template's, by name.
    pub(super) fn volumes(self, template: &SandboxTemplate) -> Option<Vec<VolumeClaimTemplate>> {
        let mut volumes = template
            .spec
            .volume_claim_templates
            .clone()
            .unwrap_or_default();
        for own in self.own_volumes() {
            volumes.retain(|volume| volume.metadata.name != own.metadata.name);
            volumes.push(own.clone());
        }
        (!volumes.is_empty()).then_some(volumes)
    }
}

fn merge(
    into: &mut Option<BTreeMap<String, String>>,
    extra: Option<&BTreeMap<String, String>>,
) -> Result<(), String> {
    for (key, value) in extra.into_iter().flatten() {
        let into = into.get_or_insert_default();
        if into.get(key).is_some_and(|old| old != value) {
            return Err(format!(
                "metadata override conflict: the template sets {key:?}"
            ));
        }
        into.insert(key.clone(), value.clone());
    }
    Ok(())
}

/// Sets a variable in one container, or in all; false if there is none such.
fn inject(spec: &mut Map<String, Value>, variable: &ClaimEnv) -> bool {
    let Some(Value::Array(containers)) = spec.get_mut("containers") else {
        return false;
    };
    let mut found = false;
    for container in containers.iter_mut().filter_map(Value::as_object_mut) {
        let name = container.get("name").and_then(Value::as_str);
        if variable.container_name.is_some() && variable.container_name.as_deref() != name {
            continue;
        }
        found = true;
        if let Value::Array(env) = container.entry("env").or_insert_with(|| json!([])) {
            env.retain(|each| each.get("name").and_then(Value::as_str) != Some(&variable.name));
            env.push(json!({"name": variable.name, "value": variable.value.as_deref().unwrap_or_default()}));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(spec: &Value) -> SandboxClaim {
        let mut spec = spec.clone();
        spec["warmPoolRef"] = json!({"name": "pool"});
        SandboxClaim::new("alice", serde_json::from_value(spec).unwrap())
    }

    fn template() -> PodTemplate {
        serde_json::from_value(json!({
            "metadata": {"labels": {"fleet": "research"}},
            "spec": {"containers": [
                {"name": "a", "env": [{"name": "X", "value": "old"}, {"name": "Y", "value": "kept"}]},
                {"name": "b"},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn a_claim_adds_variables_to_one_container_or_to_all() {
        let one = claim(&json!({"env": [{"name": "X", "value": "new", "containerName": "a"}]}));
        let spec = Wishes::of(&one).pod_template(&template()).unwrap().spec;
        let expected = json!([{"name": "Y", "value": "kept"}, {"name": "X", "value": "new"}]);
        assert_eq!(spec["containers"][0]["env"], expected);
        assert!(spec["containers"][1].get("env").is_none());
        let all = claim(&json!({"env": [{"name": "Z", "value": "1"}]}));
        let spec = Wishes::of(&all).pod_template(&template()).unwrap().spec;
        assert_eq!(
            spec["containers"][1]["env"],
            json!([{"name": "Z", "value": "1"}])
        );
        let nobody = claim(&json!({"env": [{"name": "Z", "value": "1", "containerName": "c"}]}));
        assert_eq!(
            Wishes::of(&nobody).pod_template(&template()).unwrap_err().0,
            "EnvVarsInjectionRejected"
        );
    }

    #[test]
    fn a_claim_may_add_metadata_but_not_override_it() {
        let adds = claim(&json!({"additionalPodMetadata": {"labels": {"tier": "gold"}}}));
        let labels = Wishes::of(&adds)
            .merge_metadata(&template())
            .unwrap()
            .metadata
            .unwrap()
            .labels
            .unwrap();
        assert_eq!(
            (labels["tier"].as_str(), labels["fleet"].as_str()),
            ("gold", "research")
        );
        let overrides = claim(&json!({"additionalPodMetadata": {"labels": {"fleet": "mine"}}}));
        assert!(Wishes::of(&overrides).merge_metadata(&template()).is_err());
    }
}
