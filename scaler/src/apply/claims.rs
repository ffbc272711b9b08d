//! A claim that sleeps: released, it is a `ReleasedClaim` of the same name; bound, it is created again.
//!
//! Two objects cannot be written at once, so the order of the steps makes every state between them a
//! state that means something. Where a claim of a name lives, the claim counts:
//!
//! ```text
//! release   remember · suspend its Sandbox, marked · delete the claim
//!           remembered, and alive: awake; the record is a leftover
//!           marked, and the claim alive: asleep as any Sandbox is; the record is a leftover
//! bind      create the claim · forget            alive, and remembered: awake; the record is a leftover
//! ```
//! Who puts to sleep decides by the Sandbox, and the claim is deleted by the claim's version alone. So the
//! Sandbox sleeps first, under the fence of every sleep, and who wakes it, finding the mark
//! ([`annotation::RELEASING`]), raises the epoch of the claim before: no deletion that was decided on before
//! that, however late it arrives, is done under a request.
//!
//! A record is removed beside the claim that it is of only after that was fenced: its epoch is counted on,
//! so that no deletion that was decided on before, however late it arrives, is done. A release without an
//! answer leaves the record where it is: the claim may be gone. Leftovers are removed by the leader, and so is
//! the record of a claim that its own `shutdownPolicy` would have deleted by now, or that nobody has asked for
//! until its `removalTime`.

use std::time::Duration;

use http::Method;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use reveille_crds::SandboxKey;
use reveille_crds::names::annotation;
use reveille_crds::released_claim::ReleasedClaim;
use reveille_lifecycle::store::{ClaimChange, ModeChange};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::{info, warn};

use super::answer::Failure;
use super::call::{Body, Kind};
use super::kubernetes::Writer;
use super::patch::{Releasing, Seen, epoch_of, next_epoch, same_object};
use super::record::{Claim, recreate, remember};

/// Its controller writes a claim's status whenever its Sandbox changes, as it has just done for this; a
/// release that meets that looks again so many times, with pauses of 20, 40, … ms: half a second in all.
const TRIES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(20);

/// One object as it was read: which, and in which version.
#[derive(Debug)]
struct Identity {
    uid: String,
    version: String,
}

impl Identity {
    fn of(meta: &ObjectMeta) -> Self {
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            version: meta.resource_version.clone().unwrap_or_default(),
        }
    }
}

impl Writer {
    /// Puts a claim to sleep: remembers it for `ttl` and deletes it. Answers the new epoch.
    pub(super) async fn release(
        &self,
        change: &ClaimChange,
        ttl: SignedDuration,
        until: Instant,
    ) -> Result<u64, Failure> {
        let epoch = next_epoch(change.epoch)?;
        let (mut record, mut sleeps) = (None, false);
        let mut done = Err(Failure::Conflict(
            "its controller keeps writing it".to_owned(),
        ));
        for again in 1..=TRIES {
            let progress = (&mut record, &mut sleeps);
            let tried = self.try_release((change, epoch, ttl), progress, until);
            match tried.await {
                // The controller has written to it since it was read.
                Ok(false) => tokio::time::sleep(PAUSE * again).await,
                Ok(true) => return Ok(epoch),
                Err(error) => {
                    done = Err(error);
                    break;
                }
            }
        }
        let taken_back = match (&done, record) {
            // Not knowing is no reason to forget.
            (_, None) | (Err(Failure::Lost(_)), _) => Ok(()),
            // It was deleted by its owner.
            (Err(Failure::NotFound(_)), Some(record)) => {
                self.forget(&change.key, &record, until).await
            }
            (_, Some(record)) => {
                self.keep(&change.key, &change.uid, epoch, &record, until)
                    .await
            }
        };
        self.complain(&change.key, taken_back);
        match done {
            // Its gates must stay closed until that is seen: nothing is to be taken back.
            Err(error) if sleeps => {
                let (key, claim) = (change.sandbox.as_ref().map(|it| &it.key), &change.key);
                warn!(%claim, %error, "{claim} sleeps, but its claim was not deleted: {error}");
                let name = key.map_or("", SandboxKey::name);
                Err(Failure::Lost(format!(
                    "its Sandbox {name} was put to sleep, and the claim not deleted: {error}"
                )))
            }
            done => done,
        }
    }

    /// One try; whether it was done. `record` is ours, once there is one; `sleeps`: its Sandbox has been put
    /// to sleep.
    async fn try_release(
        &self,
        (change, epoch, ttl): (&ClaimChange, u64, SignedDuration),
        (record, sleeps): (&mut Option<Identity>, &mut bool),
        until: Instant,
    ) -> Result<bool, Failure> {
        let path = Kind::Claim(self.claims()?).one(&change.key);
        let claim: Claim = self.call(Method::GET, &path, None, until).await?;
        same_object(&claim.metadata, &change.uid, change.epoch)?;
        let bound = change.sandbox.as_ref().map(|sandbox| sandbox.key.name());
        if claim.bound() != bound {
            return Err(Failure::Conflict("it is bound to another".to_owned()));
        }
        if let Some(sandbox) = change.sandbox.as_ref().filter(|_| *sleeps) {
            self.still_sleeps(sandbox, until).await?;
        }
        let read = Identity::of(&claim.metadata);
        let object = remember(claim, change, epoch, ttl);
        *record = Some(
            self.write_record(&change.key, object, record.as_ref(), until)
                .await?,
        );
        if let Some(sandbox) = change.sandbox.as_ref().filter(|_| !*sleeps) {
            let releasing = Releasing {
                claim: change.key.name().to_owned(),
                uid: change.uid.to_string(),
            };
            self.suspend(sandbox, None, Some(&releasing), until).await?;
            *sleeps = true;
        }
        match self.delete(&path, &read, until).await {
            Ok(()) => Ok(true),
            Err(Failure::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Wakes a released claim: creates it again and forgets. Answers the new epoch.
    pub(super) async fn bind(&self, change: &ClaimChange, until: Instant) -> Result<u64, Failure> {
        let epoch = next_epoch(change.epoch)?;
        let record: ReleasedClaim = self
            .call(Method::GET, &Kind::Released.one(&change.key), None, until)
            .await?;
        let read = Identity::of(&record.metadata);
        // It is the record that carries the epoch, but the claim whose UID the writer looked at.
        same_object(&record.metadata, &read.uid, change.epoch)?;
        if record.spec.claim_uid != *change.uid {
            let message = "it was replaced by another of its name".to_owned();
            return Err(Failure::Conflict(message));
        }
        let claim = recreate(record.spec.claim, change, epoch)?;
        let all = self.all_claims(&change.key, &claim)?;
        let body = Some((Body::Json, claim));
        let created: Result<IgnoredAny, Failure> = self.call(Method::POST, &all, body, until).await;
        created?;
        let forgotten = self.forget(&change.key, &read, until).await;
        self.complain(&change.key, forgotten);
        Ok(epoch)
    }

    /// Removes a record beside the claim that lives again; `leftover` is the UID of the record.
    pub(super) async fn collect(
        &self,
        key: &SandboxKey,
        leftover: &str,
        until: Instant,
    ) -> Result<(), Failure> {
        let record: ReleasedClaim = self
            .call(Method::GET, &Kind::Released.one(key), None, until)
            .await?;
        let read = Identity::of(&record.metadata);
        if read.uid != leftover {
            return Err(Failure::Conflict("it is another record by now".to_owned()));
        }
        let path = Kind::Claim(self.claims()?).one(key);
        // Without a claim it is no leftover.
        let claim: Claim = self.call(Method::GET, &path, None, until).await?;
        let uid = claim.metadata.uid.clone().unwrap_or_default();
        if uid == record.spec.claim_uid {
            let remembered = epoch_of(&record.metadata);
            let epoch = next_epoch(epoch_of(&claim.metadata))?.max(remembered);
            self.keep(key, &uid, epoch, &read, until).await
        } else {
            self.forget(key, &read, until).await
        }
    }

    /// Removes the record of a claim that slept beyond its end; `claim` is its UID.
    pub(super) async fn bury(
        &self,
        key: &SandboxKey,
        claim: &str,
        until: Instant,
    ) -> Result<(), Failure> {
        let path = Kind::Released.one(key);
        let record: ReleasedClaim = self.call(Method::GET, &path, None, until).await?;
        let is_over = |end: Option<Timestamp>| end.is_some_and(|at| at <= Timestamp::now());
        let is_ended = is_over(record.spec.claim.ends());
        if record.spec.claim_uid != claim || !(is_ended || is_over(record.removal())) {
            let message = "it is not to be removed any more".to_owned();
            return Err(Failure::Conflict(message));
        }
        let alive = Kind::Claim(self.claims()?).one(key);
        let alive: Result<Claim, Failure> = self.call(Method::GET, &alive, None, until).await;
        match alive {
            Err(Failure::NotFound(_)) => {}
            Ok(_) => return Err(Failure::Conflict("the claim lives".to_owned())),
            Err(error) => return Err(error),
        }
        self.delete(&path, &Identity::of(&record.metadata), until)
            .await?;
        let why = match is_ended {
            true => "it slept beyond its shutdownTime",
            false => "nobody has asked for it until its removalTime",
        };
        info!(claim = %key, "removed what was kept of {key}: {why}");
        Ok(())
    }

    /// Has a claim go on living: counts on its epoch, up to that of the record, so that every deletion of
    /// before fails and nobody who saw the record takes the claim for older; then removes the record.
    async fn keep(
        &self,
        key: &SandboxKey,
        uid: &str,
        epoch: u64,
        record: &Identity,
        until: Instant,
    ) -> Result<(), Failure> {
        let path = Kind::Claim(self.claims()?).one(key);
        self.raise(&path, uid, epoch, until).await?;
        self.forget(key, record, until).await
    }

    fn complain(&self, key: &SandboxKey, done: Result<(), Failure>) {
        if let Err(error) = done {
            warn!(claim = %key, %error, "the record of {key} is left beside it for now: {error}");
        }
    }

    /// Has a claim live whose Sandbox its release has put to sleep, so that it can be woken: counts on its
    /// epoch, so that the deletion fails.
    pub(super) async fn keep_claim(
        &self,
        sandbox: &SandboxKey,
        owner: &Releasing,
        until: Instant,
    ) -> Result<(), Failure> {
        let gone = |what: &str| Failure::Conflict(format!("its claim {}", what));
        let key = sandbox
            .sibling(&owner.claim)
            .map_err(|error| gone(&format!("has no name: {error}")))?;
        let path = Kind::Claim(self.claims()?).one(&key);
        let claim: Result<Claim, Failure> = self.call(Method::GET, &path, None, until).await;
        let claim = match claim {
            Err(Failure::NotFound(_)) => return Err(gone("was released")),
            claim => claim?,
        };
        let present = epoch_of(&claim.metadata);
        same_object(&claim.metadata, &owner.uid, present)?;
        self.raise(&path, &owner.uid, next_epoch(present)?, until)
            .await
    }

    /// Writes the epoch of a claim, and so its version.
    async fn raise(
        &self,
        path: &str,
        uid: &str,
        epoch: u64,
        until: Instant,
    ) -> Result<(), Failure> {
        let metadata = json!({"uid": uid, "annotations": {annotation::EPOCH: epoch.to_string()}});
        let body = Some((Body::MergePatch, json!({"metadata": metadata})));
        let _: IgnoredAny = self.call(Method::PATCH, path, body, until).await?;
        Ok(())
    }

    /// Whether a Sandbox is as it was put to sleep: by hand it may have been woken since.
    async fn still_sleeps(&self, sandbox: &ModeChange, until: Instant) -> Result<(), Failure> {
        let version = self.sandboxes()?;
        let path = Kind::Sandbox(version).one(&sandbox.key);
        let seen: Seen = self.call(Method::GET, &path, None, until).await?;
        if seen.has_become(sandbox, version, next_epoch(sandbox.epoch)?) {
            return Ok(());
        }
        Err(Failure::Conflict("it was woken since".to_owned()))
    }

    /// Writes a record, in place of ours where there is one. Another's is of a release that did not come to
    /// its end: that one is undone first.
    async fn write_record(
        &self,
        key: &SandboxKey,
        mut record: ReleasedClaim,
        ours: Option<&Identity>,
        until: Instant,
    ) -> Result<Identity, Failure> {
        let path = Kind::Released.one(key);
        if let Some(ours) = ours {
            record.metadata.uid = Some(ours.uid.clone());
            record.metadata.resource_version = Some(ours.version.clone());
            return self.put(Method::PUT, &path, &record, until).await;
        }
        let all = Kind::Released.all(key.namespace());
        let created = self.put(Method::POST, &all, &record, until).await;
        if matches!(created, Err(Failure::Conflict(_))) {
            let old: ReleasedClaim = self.call(Method::GET, &path, None, until).await?;
            let old = Identity::of(&old.metadata);
            self.collect(key, &old.uid, until).await?;
            let message = "an unfinished release of it was undone first".to_owned();
            return Err(Failure::Conflict(message));
        }
        created
    }

    async fn put(
        &self,
        method: Method,
        path: &str,
        record: &ReleasedClaim,
        until: Instant,
    ) -> Result<Identity, Failure> {
        let body = serde_json::to_value(record)
            .map_err(|error| Failure::Denied(format!("not an object: {error}")))?;
        let body = Some((Body::Json, body));
        let written: ReleasedClaim = self.call(method, path, body, until).await?;
        Ok(Identity::of(&written.metadata))
    }

    /// Removes this record as it was read or written; one that is gone, or was written anew, needs no
    /// removing.
    async fn forget(
        &self,
        key: &SandboxKey,
        record: &Identity,
        until: Instant,
    ) -> Result<(), Failure> {
        match self.delete(&Kind::Released.one(key), record, until).await {
            Ok(()) | Err(Failure::NotFound(_) | Failure::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes exactly this object, as it was read.
    async fn delete(&self, path: &str, read: &Identity, until: Instant) -> Result<(), Failure> {
        let preconditions = json!({"uid": read.uid, "resourceVersion": read.version});
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            "propagationPolicy": "Background", "preconditions": preconditions,
        });
        let body = Some((Body::Json, options));
        let _: IgnoredAny = self.call(Method::DELETE, path, body, until).await?;
        Ok(())
    }

    /// Where claims are created; this one must be in the version that is served.
    fn all_claims(&self, key: &SandboxKey, claim: &Value) -> Result<String, Failure> {
        let served = Kind::Claim(self.claims()?);
        let version = claim["apiVersion"].as_str().unwrap_or_default();
        if version != served.api_version() {
            let name = key.name();
            return Err(Failure::Denied(format!(
                "it was released as {version}, and {} is served now: make the claim anew from ReleasedClaim {name}",
                served.api_version()
            )));
        }
        Ok(served.all(key.namespace()))
    }
}
