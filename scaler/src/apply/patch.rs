//! The fenced patch of a Sandbox: it is done only to the object, the epoch and the mode that were looked at.
//!
//! It is a JSON patch (RFC 6902), whose `test`s the API server checks against the object that it is about
//! to replace: exact however often the controller's own writes move `resourceVersion`. A `test` for `null`
//! holds where the member is missing.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use reveille_crds::change::Hold;
use reveille_crds::facts::busy_until;
use reveille_crds::names::annotation;
use reveille_crds::sandbox::OperatingMode;
use reveille_kubernetes::discovery::Version;
use reveille_lifecycle::store::ModeChange;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::Failure;
use crate::api::hold_word;

/// What of a Sandbox a fence looks at, in either version.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Seen {
    #[serde(default)]
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) spec: SeenSpec,
}

/// `operatingMode` in `v1beta1`, `replicas` in `v1alpha1`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SeenSpec {
    #[serde(default)]
    operating_mode: Value,
    #[serde(default)]
    replicas: Value,
}

/// What a patch tests, literally.
#[derive(Debug, PartialEq)]
pub(super) struct Fence {
    /// Whether there are annotations at all; without them there is nothing to add one to.
    annotated: bool,
    epoch: Value,
    hold: Value,
    busy_until: Value,
    releasing: Value,
    mode: Value,
}

/// The claim whose release has put a Sandbox to sleep.
#[derive(Debug, PartialEq)]
pub(super) struct Releasing {
    pub(super) claim: String,
    pub(super) uid: String,
}

impl Releasing {
    /// As the annotation says it.
    pub(super) fn text(&self) -> String {
        format!("{}/{}", self.claim, self.uid)
    }
}

impl Fence {
    /// The fence for a Sandbox that is as one of ours usually is.
    pub(super) fn usual(change: &ModeChange, hold: Option<Hold>, version: Version) -> Self {
        let epoch = match change.epoch {
            0 => Value::Null,
            epoch => json!(epoch.to_string()),
        };
        Self {
            annotated: true,
            epoch,
            hold: hold.map_or(Value::Null, |hold| json!(hold_word(hold))),
            busy_until: change.busy_until.map_or(Value::Null, lease_text),
            releasing: Value::Null,
            mode: mode(change.from, version),
        }
    }

    /// The fence for this very Sandbox: there may be no annotations, an epoch that is no number, no mode.
    pub(super) fn exact(
        seen: &Seen,
        change: &ModeChange,
        hold: Option<Hold>,
        version: Version,
    ) -> Result<Self, Failure> {
        same_object(&seen.metadata, &change.uid, change.epoch)?;
        let present = seen.mode(version);
        let from = mode(change.from, version);
        // Missing means awake in both versions.
        let is_from =
            *present == from || (present.is_null() && change.from == OperatingMode::Running);
        if !is_from {
            return Err(Failure::Conflict(format!("its mode is {present} already")));
        }
        let annotations = seen.metadata.annotations.as_ref();
        let text = |name: &str| annotations.and_then(|all| all.get(name));
        let literal = |name: &str| text(name).map_or(Value::Null, |text| json!(text));
        let word = text(annotation::HOLD).map(String::as_str);
        let held = [Hold::Awake, Hold::Asleep]
            .into_iter()
            .find(|hold| Some(hold_word(*hold)) == word);
        if held != hold {
            return Err(Failure::Conflict("its hold has changed".to_owned()));
        }
        if busy_until(&seen.metadata) != change.busy_until {
            return Err(Failure::Conflict("its busy lease has changed".to_owned()));
        }
        Ok(Self {
            annotated: annotations.is_some(),
            epoch: literal(annotation::EPOCH),
            hold: literal(annotation::HOLD),
            busy_until: literal(annotation::BUSY_UNTIL),
            releasing: literal(annotation::RELEASING),
            mode: present.clone(),
        })
    }

    /// The whole patch; `epoch` is the one it writes. A busy lease ends with the epoch it was set in, and so
    /// does the mark of a release; `releasing` sets one.
    pub(super) fn patch(
        &self,
        change: &ModeChange,
        version: Version,
        epoch: u64,
        releasing: Option<&Releasing>,
    ) -> Value {
        let mut operations = self.tests(change, version);
        operations.push(add(field(version), mode(change.to, version)));
        let mut stamps = stamps(epoch, change.to, change.cause);
        if let Some(releasing) = releasing {
            stamps.insert(annotation::RELEASING.to_owned(), json!(releasing.text()));
        } else if !self.releasing.is_null() {
            operations.push(remove(&pointer(annotation::RELEASING)));
        }
        if !self.busy_until.is_null() {
            operations.push(remove(&pointer(annotation::BUSY_UNTIL)));
        }
        if self.annotated {
            operations.extend(
                stamps
                    .into_iter()
                    .map(|(name, value)| add(&pointer(&name), value)),
            );
        } else {
            operations.push(add("/metadata/annotations", Value::Object(stamps)));
        }
        Value::Array(operations)
    }

    /// A patch under the same fence that changes nothing but the epoch.
    pub(super) fn keep(&self, change: &ModeChange, version: Version, epoch: u64) -> Value {
        let mut operations = self.tests(change, version);
        operations.push(add(&pointer(annotation::EPOCH), json!(epoch.to_string())));
        Value::Array(operations)
    }

    fn tests(&self, change: &ModeChange, version: Version) -> Vec<Value> {
        let mut operations = vec![
            test("/metadata/uid", json!(&*change.uid)),
            test("/metadata/deletionTimestamp", Value::Null),
        ];
        if self.annotated {
            operations.push(test(&pointer(annotation::EPOCH), self.epoch.clone()));
            operations.push(test(&pointer(annotation::HOLD), self.hold.clone()));
            let lease = pointer(annotation::BUSY_UNTIL);
            operations.push(test(&lease, self.busy_until.clone()));
            let mark = pointer(annotation::RELEASING);
            operations.push(test(&mark, self.releasing.clone()));
        } else {
            operations.push(test("/metadata/annotations", Value::Null));
        }
        operations.push(test(field(version), self.mode.clone()));
        operations
    }
}

impl Seen {
    /// The patch that sets a busy lease on it, or ends it; nothing if there is none to end.
    pub(super) fn lease(
        &self,
        uid: &str,
        until: Option<Timestamp>,
        version: Version,
    ) -> Result<Option<Value>, Failure> {
        same_object(&self.metadata, uid, epoch_of(&self.metadata))?;
        let present = self.mode(version);
        if !present.is_null() && *present != mode(OperatingMode::Running, version) {
            return Err(Failure::Conflict("it sleeps".to_owned()));
        }
        let annotations = self.metadata.annotations.as_ref();
        let leased = annotations.is_some_and(|all| all.contains_key(annotation::BUSY_UNTIL));
        let lease = pointer(annotation::BUSY_UNTIL);
        let operation = match (until.map(lease_text), annotations) {
            (None, _) if leased => remove(&lease),
            (None, _) => return Ok(None),
            (Some(text), Some(_)) => add(&lease, text),
            (Some(text), None) => add(
                "/metadata/annotations",
                json!({annotation::BUSY_UNTIL: text}),
            ),
        };
        let mut operations = vec![
            test("/metadata/uid", json!(uid)),
            test("/metadata/deletionTimestamp", Value::Null),
            test(field(version), present.clone()),
        ];
        if annotations.is_none() {
            operations.push(test("/metadata/annotations", Value::Null));
        }
        operations.push(operation);
        Ok(Some(Value::Array(operations)))
    }

    /// The claim that is to be touched before this one is woken.
    pub(super) fn releasing(&self) -> Option<Releasing> {
        let annotations = self.metadata.annotations.as_ref();
        let text = annotations?.get(annotation::RELEASING)?;
        let (claim, uid) = text.split_once('/')?;
        let (claim, uid) = (claim.to_owned(), uid.to_owned());
        Some(Releasing { claim, uid })
    }

    fn mode(&self, version: Version) -> &Value {
        match version {
            Version::V1Alpha1 => &self.spec.replicas,
            Version::V1Beta1 => &self.spec.operating_mode,
        }
    }

    /// The epoch at which another has woken what was to be woken, if so.
    pub(super) fn woken(&self, change: &ModeChange, version: Version) -> Option<u64> {
        let epoch = epoch_of(&self.metadata);
        let is_newer = epoch > change.epoch && change.to == OperatingMode::Running;
        (is_newer && self.has_become(change, version, epoch)).then_some(epoch)
    }

    /// Whether this is what the change was to make of it.
    pub(super) fn has_become(&self, change: &ModeChange, version: Version, epoch: u64) -> bool {
        same_object(&self.metadata, &change.uid, epoch).is_ok()
            && *self.mode(version) == mode(change.to, version)
    }
}

/// Whether this is the object that the writer looked at.
pub(super) fn same_object(meta: &ObjectMeta, uid: &str, epoch: u64) -> Result<(), Failure> {
    let present = epoch_of(meta);
    let conflict = |what: String| Err(Failure::Conflict(what));
    match () {
        () if meta.uid.as_deref() != Some(uid) => {
            conflict("it was replaced by another of its name".to_owned())
        }
        () if meta.deletion_timestamp.is_some() => conflict("it is being deleted".to_owned()),
        () if present != epoch => conflict(format!("its epoch is {present}, not {epoch}")),
        () => Ok(()),
    }
}

/// The epoch after this one.
pub(super) fn next_epoch(epoch: u64) -> Result<u64, Failure> {
    let next = epoch.checked_add(1);
    next.ok_or_else(|| Failure::Denied("no epoch is left".to_owned()))
}

/// Our annotations that a wake or a sleep sets.
pub(super) fn stamps(epoch: u64, to: OperatingMode, cause: &str) -> Map<String, Value> {
    let (when, why) = match to {
        OperatingMode::Running => (annotation::LAST_WAKE, annotation::WAKE_REASON),
        OperatingMode::Suspended => (annotation::LAST_SLEEP, annotation::SLEEP_REASON),
    };
    let stamps = [
        (annotation::EPOCH, epoch.to_string()),
        (when, Timestamp::now().to_string()),
        (why, cause.to_owned()),
    ];
    let named = |(name, value): (&str, String)| (name.to_owned(), json!(value));
    stamps.into_iter().map(named).collect()
}

/// As [`reveille_crds::change::SandboxFacts`] reads it.
pub(super) fn epoch_of(meta: &ObjectMeta) -> u64 {
    let annotations = meta.annotations.as_ref();
    let text = annotations.and_then(|all| all.get(annotation::EPOCH));
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn mode(mode: OperatingMode, version: Version) -> Value {
    match (version, mode) {
        (Version::V1Beta1, OperatingMode::Running) => json!("Running"),
        (Version::V1Beta1, OperatingMode::Suspended) => json!("Suspended"),
        (Version::V1Alpha1, OperatingMode::Running) => json!(1),
        (Version::V1Alpha1, OperatingMode::Suspended) => json!(0),
    }
}

/// Where the mode stands.
const fn field(version: Version) -> &'static str {
    match version {
        Version::V1Alpha1 => "/spec/replicas",
        Version::V1Beta1 => "/spec/operatingMode",
    }
}

/// As we write it: whole seconds.
fn lease_text(until: Timestamp) -> Value {
    json!(until.to_string())
}

fn test(path: &str, value: Value) -> Value {
    json!({"op": "test", "path": path, "value": value})
}

fn remove(path: &str) -> Value {
    json!({"op": "remove", "path": path})
}

/// `add` replaces what is there, and is right where nothing is.
fn add(path: &str, value: Value) -> Value {
    json!({"op": "add", "path": path, "value": value})
}

/// JSON pointer (RFC 6901) of an annotation.
fn pointer(name: &str) -> String {
    let escaped = name.replace('~', "~0").replace('/', "~1");
    format!("/metadata/annotations/{escaped}")
}
