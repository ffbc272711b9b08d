//! What upstream's controller of 0.4 did, as far as Reveille sees it: a pod and its volumes for a Sandbox of
//! `v1alpha1` whose `replicas` are not 0, and the words of its status.

use std::time::Duration;

use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::core::GroupVersionKind;
use reveille_crds::names::{label, name_hash};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::cluster::Cluster;
use crate::support::objects::{Kind, condition, name_of, uid_of};

/// Between two looks at everything.
const LOOK: Duration = Duration::from_millis(50);

/// A running one; it ends when dropped.
pub(super) struct StandIn {
    _task: JoinSet<()>,
}

impl StandIn {
    /// For the Sandboxes of a test.
    pub(super) fn of(cluster: &Cluster) -> Self {
        let gvk = GroupVersionKind::gvk("agents.x-k8s.io", "v1alpha1", "Sandbox");
        let kind = ApiResource::from_gvk_with_plural(&gvk, "sandboxes");
        let world = World {
            sandboxes: Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &kind),
            pods: cluster.api(Kind::Pod),
            volumes: cluster.api(Kind::Volume),
        };
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                // Whatever failed is tried again.
                let _ = world.look().await;
                sleep(LOOK).await;
            }
        });
        Self { _task: task }
    }
}

struct World {
    sandboxes: Api<DynamicObject>,
    pods: Api<DynamicObject>,
    volumes: Api<DynamicObject>,
}

impl World {
    async fn look(&self) -> Result<(), kube::Error> {
        for sandbox in self.sandboxes.list(&ListParams::default()).await? {
            self.reconcile(&serde_json::to_value(sandbox).unwrap())
                .await?;
        }
        Ok(())
    }

    async fn reconcile(&self, sandbox: &Value) -> Result<(), kube::Error> {
        let name = name_of(sandbox);
        let asleep = sandbox["spec"]["replicas"] == 0;
        let pod = self.pods.get_opt(&name).await?;
        match &pod {
            None if !asleep => self.create(sandbox, &name).await?,
            Some(pod) if asleep && pod.metadata.deletion_timestamp.is_none() => {
                self.pods.delete(&name, &DeleteParams::default()).await?;
            }
            _ => {}
        }
        let is_ready = |one: &Value| one["type"] == "Ready" && one["status"] == "True";
        let pod = pod.map_or(Value::Null, |pod| pod.data["status"]["conditions"].clone());
        // It called a sleeping one ready.
        let ready = asleep || pod.as_array().into_iter().flatten().any(is_ready);
        let status = if ready { "True" } else { "False" };
        if condition(sandbox, "Ready").0 == status {
            return Ok(());
        }
        let status = json!({"status": {
            "replicas": u8::from(!asleep),
            "conditions": [{
                "type": "Ready", "status": status, "reason": "DependenciesReady", "message": "",
                "observedGeneration": sandbox["metadata"]["generation"],
                "lastTransitionTime": jiff::Timestamp::now(),
            }],
        }});
        let (params, patch) = (PatchParams::default(), Patch::Merge(&status));
        self.sandboxes.patch_status(&name, &params, &patch).await?;
        Ok(())
    }

    async fn create(&self, sandbox: &Value, name: &str) -> Result<(), kube::Error> {
        let mut spec = sandbox["spec"]["podTemplate"]["spec"].clone();
        let templates = sandbox["spec"]["volumeClaimTemplates"].as_array();
        let mut volumes = Vec::new();
        for template in templates.into_iter().flatten() {
            let volume = name_of(template);
            let claim = format!("{volume}-{name}");
            create(&self.volumes, sandbox, &claim, &template["spec"]).await?;
            volumes.push(json!({"name": volume, "persistentVolumeClaim": {"claimName": claim}}));
        }
        spec["volumes"] = volumes.into();
        create(&self.pods, sandbox, name, &spec).await
    }
}

/// Creates an object of a Sandbox's own unless it is there.
async fn create(
    api: &Api<DynamicObject>,
    sandbox: &Value,
    name: &str,
    spec: &Value,
) -> Result<(), kube::Error> {
    let object = json!({
        "metadata": {
            "name": name,
            "labels": {label::NAME_HASH: name_hash(&name_of(sandbox))},
            "ownerReferences": [{
                "apiVersion": sandbox["apiVersion"], "kind": "Sandbox", "controller": true,
                "name": name_of(sandbox), "uid": uid_of(sandbox),
            }],
        },
        "spec": spec,
    });
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    match api.create(&PostParams::default(), &object).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(drop),
    }
}
