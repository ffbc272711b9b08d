//! What a user does with kubectl in the test's namespace.

use std::time::Duration;

use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
    Preconditions,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::cluster::Cluster;
use crate::support::{PATIENCE, until};

/// Between two looks; each is a request.
const LOOK: Duration = Duration::from_millis(20);

/// Kinds that the tests touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sandbox,
    Claim,
    Template,
    WarmPool,
    Policy,
    Released,
    Pod,
    Volume,
    Service,
    Event,
}

impl Kind {
    /// The kind as the API server knows it.
    pub(crate) fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Self::Sandbox => ("agents.x-k8s.io", "v1beta1", "Sandbox", "sandboxes"),
            Self::Claim => extension("SandboxClaim", "sandboxclaims"),
            Self::Template => extension("SandboxTemplate", "sandboxtemplates"),
            Self::WarmPool => extension("SandboxWarmPool", "sandboxwarmpools"),
            Self::Policy => own("ScaledSandbox", "scaledsandboxes"),
            Self::Released => own("ReleasedClaim", "releasedclaims"),
            Self::Pod => ("", "v1", "Pod", "pods"),
            Self::Volume => ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
            Self::Service => ("", "v1", "Service", "services"),
            Self::Event => ("events.k8s.io", "v1", "Event", "events"),
        };
        let api_version = if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        };
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version,
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        }
    }

    /// The kind of a manifest.
    fn of(manifest: &Value) -> Self {
        let all = [
            Self::Sandbox,
            Self::Claim,
            Self::Template,
            Self::WarmPool,
            Self::Policy,
            Self::Released,
            Self::Pod,
            Self::Volume,
            Self::Service,
        ];
        all.into_iter()
            .find(|kind| manifest["kind"] == kind.resource().kind)
            .unwrap_or_else(|| panic!("no kind of ours: {manifest}"))
    }
}

type Resource = (&'static str, &'static str, &'static str, &'static str);

const fn extension(kind: &'static str, plural: &'static str) -> Resource {
    ("extensions.agents.x-k8s.io", "v1beta1", kind, plural)
}

const fn own(kind: &'static str, plural: &'static str) -> Resource {
    ("reveille.dev", "v1alpha1", kind, plural)
}

impl Cluster {
    /// The API of a kind in this test's namespace, as the administrator.
    pub(crate) fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource())
    }

    /// Creates an object and gives it back, once the activators know what they may be asked for.
    pub(crate) async fn create(&self, manifest: impl Into<Value>) -> Value {
        let created = self.try_create(manifest).await.unwrap();
        self.known().await;
        created
    }

    /// Creates an object, if the API server agrees.
    pub(crate) async fn try_create(
        &self,
        manifest: impl Into<Value>,
    ) -> Result<Value, kube::Error> {
        let manifest = manifest.into();
        let object: DynamicObject = serde_json::from_value(manifest.clone()).unwrap();
        let created = self
            .api(Kind::of(&manifest))
            .create(&PostParams::default(), &object)
            .await?;
        Ok(value(&created))
    }

    /// Creates many, in order.
    pub(crate) async fn create_all(&self, manifests: impl IntoIterator<Item = Value>) {
        for manifest in manifests {
            self.try_create(manifest).await.unwrap();
        }
        self.known().await;
    }

    /// Waits until every activator knows every Sandbox and claim there is.
    pub(crate) async fn known(&self) {
        for activator in &self.activators {
            until(&format!("{} to know all", activator.name), || async {
                let known = activator
                    .metric("reveille_activator_directory_targets", &[])
                    .await;
                (known == f64::from(self.targets().await)).then_some(())
            })
            .await;
        }
    }

    /// How many there are to be known: claims, released ones too, and Sandboxes that neither a claim nor a
    /// pool has.
    async fn targets(&self) -> u32 {
        let mut claims: Vec<String> = self.list(Kind::Claim).await.iter().map(name_of).collect();
        claims.extend(self.list(Kind::Released).await.iter().map(name_of));
        claims.sort();
        claims.dedup();
        let free = |sandbox: &&Value| {
            let owners = sandbox["metadata"]["ownerReferences"].as_array();
            let owned =
                owners.is_some_and(|all| all.iter().any(|owner| owner["kind"] == "SandboxClaim"));
            !owned && sandbox["metadata"]["labels"]["agents.x-k8s.io/warm-pool-sandbox"].is_null()
        };
        let free = self.list(Kind::Sandbox).await.iter().filter(free).count();
        u32::try_from(claims.len() + free).unwrap()
    }

    /// The object as it is, if it is there.
    pub(crate) async fn find(&self, kind: Kind, name: &str) -> Option<Value> {
        let found = self.api(kind).get_opt(name).await.unwrap();
        found.as_ref().map(value)
    }

    /// The object as it is.
    pub(crate) async fn get_object(&self, kind: Kind, name: &str) -> Value {
        self.find(kind, name)
            .await
            .unwrap_or_else(|| panic!("{kind:?} {name} is not there"))
    }

    /// All objects of a kind.
    pub(crate) async fn list(&self, kind: Kind) -> Vec<Value> {
        let list = self.api(kind).list(&ListParams::default()).await.unwrap();
        list.items.iter().map(value).collect()
    }

    /// A merge patch, as `kubectl patch --type merge` writes it.
    pub(crate) async fn patch(&self, kind: Kind, name: &str, patch: &Value) -> Value {
        self.try_patch(kind, name, patch).await.unwrap()
    }

    /// The same, if the API server agrees.
    pub(crate) async fn try_patch(
        &self,
        kind: Kind,
        name: &str,
        patch: &Value,
    ) -> Result<Value, kube::Error> {
        let patched = self
            .api(kind)
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(value(&patched))
    }

    /// A user flips the mode by hand.
    pub(crate) async fn set_mode(&self, name: &str, mode: &str) {
        let patch = json!({"spec": {"operatingMode": mode}});
        self.patch(Kind::Sandbox, name, &patch).await;
    }

    /// Sets an annotation, or takes it away.
    pub(crate) async fn annotate(&self, kind: Kind, name: &str, key: &str, to: Option<&str>) {
        let patch = json!({"metadata": {"annotations": {key: to}}});
        self.patch(kind, name, &patch).await;
    }

    /// Deletes an object; one that is not there is no error. Does not wait.
    pub(crate) async fn delete(&self, kind: Kind, name: &str) {
        delete(&self.api(kind), name, &DeleteParams::default()).await;
    }

    /// Deletes exactly this object; whoever took its name since stays.
    pub(crate) async fn delete_this(&self, kind: Kind, object: &Value) {
        let this = DeleteParams::default().preconditions(Preconditions {
            uid: Some(text(&object["metadata"]["uid"])),
            resource_version: None,
        });
        delete(&self.api(kind), &name_of(object), &this).await;
    }

    /// Waits until an object is there and accepted, and gives it.
    pub(crate) async fn await_object(
        &self,
        what: &str,
        kind: Kind,
        name: &str,
        accept: impl Fn(&Value) -> bool,
    ) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = self.find(kind, name).await;
            match found {
                Some(object) if accept(&object) => return object,
                _ if Instant::now() < end => sleep(LOOK).await,
                Some(object) => {
                    panic!("not within {PATIENCE:?}: {kind:?} {name} {what}: {object:#}")
                }
                None => panic!("not within {PATIENCE:?}: {kind:?} {name} {what}: there is none"),
            }
        }
    }

    /// Waits until an object is gone.
    pub(crate) async fn await_gone(&self, kind: Kind, name: &str) {
        let what = format!("{kind:?} {name} gone");
        until(&what, || async {
            self.find(kind, name).await.is_none().then_some(())
        })
        .await;
    }

    /// Writes of ours that a Sandbox has taken. A write whose answer came too late is among them.
    pub(crate) async fn writes(&self, name: &str) -> u64 {
        epoch(&self.get_object(Kind::Sandbox, name).await)
    }

    /// Waits until upstream's controller has made a Sandbox's mode true and says so.
    pub(crate) async fn await_mode(&self, name: &str, mode: &str) -> Value {
        let (kind, status) = if mode == "Running" {
            ("Ready", "True")
        } else {
            ("Suspended", "True")
        };
        self.await_object(mode, Kind::Sandbox, name, |sandbox| {
            sandbox["spec"]["operatingMode"] == mode && condition(sandbox, kind).0 == status
        })
        .await
    }

    /// Waits until a claim's status names the Sandbox of this UID, and gives it: the status of a claim
    /// that is bound anew follows the Sandbox.
    pub(crate) async fn bound_to(&self, claim: &str, uid: &str) -> Value {
        until(&format!("{claim} bound to {uid}"), || async {
            let claim = self.find(Kind::Claim, claim).await?;
            let name = claim["status"]["sandbox"]["name"].as_str()?;
            let sandbox = self.find(Kind::Sandbox, name).await?;
            (uid_of(&sandbox) == uid).then_some(sandbox)
        })
        .await
    }

    /// The Sandbox that a claim is bound to, once it is.
    pub(crate) async fn bound(&self, claim: &str) -> Value {
        let bound = |claim: &Value| claim["status"]["sandbox"]["name"].is_string();
        let claim = self.await_object("bound", Kind::Claim, claim, bound).await;
        let name = text(&claim["status"]["sandbox"]["name"]);
        self.get_object(Kind::Sandbox, &name).await
    }
}

async fn delete(api: &Api<DynamicObject>, name: &str, how: &DeleteParams) {
    match api.delete(name, how).await {
        Ok(_) => {}
        // Gone already, or another by now.
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {}
        Err(error) => panic!("deleting {name}: {error}"),
    }
}

fn value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap()
}

/// A string out of an object.
#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

/// An object's name.
#[track_caller]
pub(crate) fn name_of(object: &Value) -> String {
    text(&object["metadata"]["name"])
}

/// An object's UID.
#[track_caller]
pub(crate) fn uid_of(object: &Value) -> String {
    text(&object["metadata"]["uid"])
}

/// A Sandbox's epoch: each write of ours adds one.
#[track_caller]
pub(crate) fn epoch(sandbox: &Value) -> u64 {
    let epoch = sandbox["metadata"]["annotations"]["reveille.dev/epoch"].as_str();
    epoch.map_or(0, |epoch| epoch.parse().unwrap())
}

/// Status and reason of a condition that speaks of the present generation; empty where there is none.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> (&'a str, &'a str) {
    let generation = object["metadata"]["generation"].as_i64();
    object["status"]["conditions"]
        .as_array()
        .and_then(|all| all.iter().find(|condition| condition["type"] == kind))
        .filter(|condition| condition["observedGeneration"].as_i64() >= generation)
        .map_or(("", ""), |condition| {
            let of = |field: &str| condition[field].as_str().unwrap_or_default();
            (of("status"), of("reason"))
        })
}
