//! Writing through the Kubernetes API: the mode, the hold and the busy lease of a Sandbox, the status of a
//! policy.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use parking_lot::Mutex;
use reveille_crds::SandboxKey;
use reveille_crds::change::Hold;
use reveille_crds::names::annotation;
use reveille_crds::sandbox::OperatingMode;
use reveille_crds::scaled_sandbox::ScaledSandboxStatus;
use reveille_kubernetes::discovery::{Discovery, Served, Version};
use reveille_lifecycle::store::ModeChange;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::answer::Failure;
use super::call::{self, Body, Kind};
use super::patch::{Fence, Releasing, Seen, next_epoch};
use crate::status::continued;

/// An API server that was away may refuse for want of rights for so long, until it has read them all.
const WARMING_UP: Duration = Duration::from_secs(10);

/// Looks at a Sandbox that somebody else keeps writing, before a lease is given up.
const LOOKS: usize = 3;

/// A ScaledSandbox, as far as its status goes.
#[derive(Deserialize)]
struct Policy {
    #[serde(default)]
    status: ScaledSandboxStatus,
}

/// Writes through the Kubernetes API. Cloning is cheap.
#[derive(Clone)]
pub struct Writer {
    client: kube::Client,
    discovery: Discovery,
    /// When the API last gave no answer.
    troubled: Arc<Mutex<Option<Instant>>>,
    pub(super) instance: Arc<str>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let instance = &self.instance;
        f.debug_struct("Writer")
            .field("instance", instance)
            .finish_non_exhaustive()
    }
}

impl Writer {
    /// Writes with this client, which must not repeat requests by itself: what was asked once and may have
    /// been done is decided afresh. Versions are those that `discovery` knows; `instance` is the name of
    /// this process in the events it publishes.
    #[must_use]
    pub fn new(client: kube::Client, discovery: Discovery, instance: &str) -> Self {
        let instance = instance.into();
        Self {
            client,
            discovery,
            troubled: Arc::default(),
            instance,
        }
    }

    /// Wakes a Sandbox or puts it to sleep; answers the new epoch. What a release has put to sleep is woken
    /// after its claim was made sure not to be deleted. Nearly always one request: only where
    /// the object is not as ours usually are, or never was ours, it is looked at and patched as it is.
    pub(super) async fn set_mode(
        &self,
        change: &ModeChange,
        hold: Option<Hold>,
        releasing: Option<&Releasing>,
        until: Instant,
    ) -> Result<u64, Failure> {
        let version = self.sandboxes()?;
        let path = Kind::Sandbox(version).one(&change.key);
        let epoch = next_epoch(change.epoch)?;
        // One that was never written by us may have no annotations yet: it is looked at first.
        if change.epoch > 0 || hold.is_some() || change.busy_until.is_some() {
            let usual = Fence::usual(change, hold, version);
            let body = usual.patch(change, version, epoch, releasing);
            let patched = self.patch(&path, Body::JsonPatch, body, until).await;
            let Err(Failure::Conflict(_)) = patched else {
                return patched.map(|()| epoch);
            };
        }
        let seen: Seen = self.call(Method::GET, &path, None, until).await?;
        if let Some(epoch) = seen.woken(change, version) {
            return Err(Failure::Overtaken(epoch));
        }
        let exact = Fence::exact(&seen, change, hold, version)?;
        let released_by = seen.releasing();
        if let Some(owner) = released_by.filter(|_| change.to == OperatingMode::Running) {
            self.keep_claim(&change.key, &owner, until).await?;
        }
        let body = exact.patch(change, version, epoch, releasing);
        let patched = self.patch(&path, Body::JsonPatch, body, until).await;
        patched.map(|()| epoch)
    }

    /// Puts a Sandbox to sleep; answers the new epoch. Half of the time is for that. The rest is for finding
    /// out what became of it where there is no answer, or for making sure that it comes to nothing: a
    /// request that is still on its way somewhere must not take a sandbox away from those who use it by then.
    /// `releasing`: it is put to sleep because that claim is being released.
    pub(super) async fn suspend(
        &self,
        change: &ModeChange,
        hold: Option<Hold>,
        releasing: Option<&Releasing>,
        until: Instant,
    ) -> Result<u64, Failure> {
        let half = until - until.saturating_duration_since(Instant::now()) / 2;
        let done = timeout_at(half, self.set_mode(change, hold, releasing, half)).await;
        let lost = match done {
            Ok(Err(Failure::Lost(message))) => Failure::Lost(message),
            Ok(done) => return done,
            Err(_) => Failure::Lost("there was no answer in time".to_owned()),
        };
        let version = self.sandboxes()?;
        let path = Kind::Sandbox(version).one(&change.key);
        let epoch = next_epoch(change.epoch)?;
        let body = Fence::usual(change, hold, version).keep(change, version, epoch);
        match self.patch(&path, Body::JsonPatch, body, until).await {
            Ok(()) => Err(Failure::Conflict(
                "it got no answer, and was made sure not to be done".to_owned(),
            )),
            Err(Failure::Conflict(_)) => {
                let seen: Seen = self.call(Method::GET, &path, None, until).await?;
                if seen.has_become(change, version, epoch) {
                    Ok(epoch)
                } else {
                    // Where it has moved on since, it may have slept in between.
                    Err(lost)
                }
            }
            Err(_) => Err(lost),
        }
    }

    /// Pins a Sandbox, or takes the pin away.
    pub(super) async fn set_hold(
        &self,
        key: &SandboxKey,
        uid: &str,
        hold: Option<Hold>,
        until: Instant,
    ) -> Result<(), Failure> {
        let path = Kind::Sandbox(self.sandboxes()?).one(key);
        let word = match hold {
            Some(Hold::Awake) => json!("awake"),
            Some(Hold::Asleep) => json!("asleep"),
            None => Value::Null,
        };
        let metadata = json!({"uid": uid, "annotations": {annotation::HOLD: word}});
        let body = json!({"metadata": metadata});
        self.patch(&path, Body::MergePatch, body, until).await
    }

    /// Sets a busy lease on an awake Sandbox, or ends it.
    pub(super) async fn set_lease(
        &self,
        key: &SandboxKey,
        uid: &str,
        busy_until: Option<Timestamp>,
        until: Instant,
    ) -> Result<(), Failure> {
        let version = self.sandboxes()?;
        let path = Kind::Sandbox(version).one(key);
        let mut looks = 0;
        loop {
            looks += 1;
            let seen: Seen = self.call(Method::GET, &path, None, until).await?;
            let Some(body) = seen.lease(uid, busy_until, version)? else {
                return Ok(());
            };
            match self.patch(&path, Body::JsonPatch, body, until).await {
                // Somebody has written to it since it was read; it may be the same Sandbox still.
                Err(Failure::Conflict(_)) if looks < LOOKS => {}
                done => return done,
            }
        }
    }

    /// Marks a claim that something else makes again whenever it is released, so that every scaler knows.
    pub(super) async fn keep_bound(
        &self,
        key: &SandboxKey,
        uid: &str,
        until: Instant,
    ) -> Result<(), Failure> {
        let path = Kind::Claim(self.claims()?).one(key);
        let since = Timestamp::now().to_string();
        let metadata = json!({"uid": uid, "annotations": {annotation::STAYS_BOUND: since}});
        let body = json!({"metadata": metadata});
        self.patch(&path, Body::MergePatch, body, until).await
    }

    /// Writes what a policy governs, and answers what is there then. Counts and conditions are replaced;
    /// what is not told stays. Unless it is written `again`, what another left there is looked at first: a
    /// condition that did not change keeps its instant, and what is there already is not written.
    pub(super) async fn set_policy_status(
        &self,
        key: &SandboxKey,
        mut status: ScaledSandboxStatus,
        again: bool,
        until: Instant,
    ) -> Result<ScaledSandboxStatus, Failure> {
        let path = format!("{}/status", Kind::Policy.one(key));
        if !again {
            let there: Policy = self.call(Method::GET, &path, None, until).await?;
            status = continued(status, &there.status);
            if status == there.status {
                return Ok(status);
            }
        }
        let body = json!({"status": &status});
        self.patch(&path, Body::MergePatch, body, until).await?;
        Ok(status)
    }

    /// Whether claims are served in a version that stays.
    pub(super) fn may_release(&self) -> bool {
        let served = *self.discovery.served().borrow();
        served.is_none_or(|served| served.claims != Some(Version::V1Alpha1))
    }

    pub(super) fn sandboxes(&self) -> Result<Version, Failure> {
        self.served(|served| served.sandboxes, "Sandbox")
    }

    pub(super) fn claims(&self) -> Result<Version, Failure> {
        self.served(|served| served.claims, "SandboxClaim")
    }

    fn served(&self, pick: fn(&Served) -> Option<Version>, kind: &str) -> Result<Version, Failure> {
        let known = *self.discovery.served().borrow();
        known.as_ref().and_then(pick).ok_or_else(|| {
            self.discovery.again();
            Failure::Unavailable(format!("the API server is not known to serve {kind}"))
        })
    }

    async fn patch(
        &self,
        path: &str,
        kind: Body,
        body: Value,
        until: Instant,
    ) -> Result<(), Failure> {
        let body = Some((kind, body));
        let _: IgnoredAny = self.call(Method::PATCH, path, body, until).await?;
        Ok(())
    }

    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<(Body, Value)>,
        until: Instant,
    ) -> Result<T, Failure> {
        let done = call::send(&self.client, method, path, body, until).await;
        if matches!(done, Err(Failure::NotFound(_) | Failure::Unavailable(_))) {
            // An upgrade may have taken this version away.
            self.discovery.again();
        }
        let now = Instant::now();
        let mut troubled = self.troubled.lock();
        match done {
            Err(Failure::Unavailable(_) | Failure::Lost(_)) => *troubled = Some(now),
            // A server that has just come back does not know all rights yet.
            Err(Failure::Denied(message))
                if message.contains(" is forbidden: User ")
                    && troubled.is_some_and(|at| now < at + WARMING_UP) =>
            {
                return Err(Failure::Unavailable(message));
            }
            _ => {}
        }
        done
    }
}
