//! All that is written. Every write is fenced, has a deadline, and answers what became of it.

mod answer;
mod call;
mod claims;
mod events;
pub mod kubernetes;
mod patch;
mod record;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reveille_crds::SandboxKey;
use reveille_crds::change::Hold;
use reveille_crds::index::Target;
use reveille_crds::released_claim::TTL_SECONDS;
use reveille_crds::sandbox::OperatingMode;
use reveille_crds::scaled_sandbox::ScaledSandboxStatus;
use reveille_lifecycle::store::{ClaimChange, ModeChange, Store};
use reveille_scaler_core::act::{Intent, Write, Written};
use tokio::time::{Instant, timeout_at};

pub(crate) use self::answer::Failure;
pub(crate) use self::call::FIELD_MANAGER;
pub(crate) use self::events::{Event, Severity};
use self::kubernetes::Writer;

/// Where the objects are.
#[derive(Clone)]
pub enum Objects {
    /// In the memory of this process.
    Memory(Store),
    /// Behind the Kubernetes API.
    Kubernetes(Writer),
}

impl Objects {
    /// Whether a claim can be released and made again. An upgrade takes the claims of `v1alpha1` away, and
    /// what was released as such could never be made again.
    pub(crate) fn may_release(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Kubernetes(writer) => writer.may_release(),
        }
    }

    /// Whether there is somebody to publish events for.
    pub(crate) const fn has_events(&self) -> bool {
        matches!(self, Self::Kubernetes(_))
    }
}

/// A write with the name of the object it goes to.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// With the hold that the writer knows of.
    Mode(ModeChange, Option<Hold>),
    /// With how long it is to be remembered.
    Release(ClaimChange, SignedDuration),
    Bind(ClaimChange),
}

/// What somebody wants to stand on a Sandbox.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    /// A pin, or none.
    Hold(Option<Hold>),
    /// A busy lease until then, or none.
    Lease(Option<Timestamp>),
}

/// Addresses a write; `None` if the object is not there any more, so that its fence would hold anyway.
pub(crate) fn address(write: &Write, target: &Target) -> Option<Change> {
    let (uid, epoch, cause) = (Arc::clone(&write.uid), write.epoch, write.cause);
    match write.what {
        Intent::Restore | Intent::Suspend => {
            let (_, facts) = target.sandbox.as_ref()?;
            let (from, to) = match write.what {
                Intent::Restore => (OperatingMode::Suspended, OperatingMode::Running),
                _ => (OperatingMode::Running, OperatingMode::Suspended),
            };
            let change = ModeChange {
                uid,
                epoch,
                from,
                to,
                ..sleep_of(target, cause)?
            };
            Some(Change::Mode(change, facts.hold))
        }
        Intent::Bind | Intent::Release => {
            let (key, _) = target.claim.as_ref()?;
            let change = ClaimChange {
                key: key.clone(),
                uid,
                epoch,
                sandbox: sleep_of(target, cause),
                cause,
            };
            Some(if write.what == Intent::Bind {
                Change::Bind(change)
            } else {
                let policy = target.policy.as_ref();
                let ttl = policy.map_or(TTL_SECONDS, |(_, policy)| {
                    policy.spec.wake.ttl_seconds_after_released
                });
                Change::Release(change, SignedDuration::from_secs(ttl.into()))
            })
        }
    }
}

/// The sleep of the Sandbox of a target, as it is seen.
fn sleep_of(target: &Target, cause: &'static str) -> Option<ModeChange> {
    let (key, facts) = target.sandbox.as_ref()?;
    Some(ModeChange {
        key: key.clone(),
        uid: Arc::clone(&facts.uid),
        epoch: facts.epoch,
        busy_until: facts.busy_until.as_deref().copied(),
        from: OperatingMode::Running,
        to: OperatingMode::Suspended,
        cause,
    })
}

/// Writes; answers the new epoch. `until` was decided on together with the write: a process that was
/// suspended since does not begin it any more. What is without an answer by then counts as lost.
pub(crate) async fn write(
    objects: &Objects,
    change: &Change,
    until: Instant,
) -> Result<u64, Failure> {
    within(until, async {
        match (objects, change) {
            (Objects::Memory(store), Change::Mode(change, _)) => Ok(store.set_mode(change)?),
            (Objects::Memory(store), Change::Release(change, _)) => {
                Ok(store.release_claim(change)?)
            }
            (Objects::Memory(store), Change::Bind(change)) => Ok(store.bind_claim(change)?),
            (Objects::Kubernetes(writer), Change::Mode(change, hold)) => match change.to {
                OperatingMode::Running => writer.set_mode(change, *hold, None, until).await,
                OperatingMode::Suspended => writer.suspend(change, *hold, None, until).await,
            },
            (Objects::Kubernetes(writer), Change::Release(change, ttl)) => {
                writer.release(change, *ttl, until).await
            }
            (Objects::Kubernetes(writer), Change::Bind(change)) => writer.bind(change, until).await,
        }
    })
    .await
}

/// Marks a Sandbox by its own name and UID, or takes the mark away.
pub(crate) async fn mark(
    objects: &Objects,
    sandbox: &SandboxKey,
    uid: &str,
    mark: Mark,
    limit: Duration,
) -> Result<(), Failure> {
    let until = Instant::now() + limit;
    within(until, async {
        match (objects, mark) {
            (Objects::Memory(store), Mark::Hold(hold)) => Ok(store.set_hold(sandbox, hold)?),
            (Objects::Memory(store), Mark::Lease(busy)) => Ok(store.set_lease(sandbox, uid, busy)?),
            (Objects::Kubernetes(writer), Mark::Hold(hold)) => {
                writer.set_hold(sandbox, uid, hold, until).await
            }
            (Objects::Kubernetes(writer), Mark::Lease(busy)) => {
                writer.set_lease(sandbox, uid, busy, until).await
            }
        }
    })
    .await
}

/// Writes what a policy governs, and answers what is there now; nothing if the policy is gone. `again`: the
/// status that is there is ours and differs, so that it need not be looked at.
pub(crate) async fn status(
    objects: &Objects,
    policy: &SandboxKey,
    status: ScaledSandboxStatus,
    again: bool,
    limit: Duration,
) -> Result<Option<Box<ScaledSandboxStatus>>, Failure> {
    let until = Instant::now() + limit;
    let done = within(until, async {
        match objects {
            Objects::Memory(store) => {
                store.set_policy_status(policy, status.clone())?;
                Ok(status)
            }
            Objects::Kubernetes(writer) => {
                writer.set_policy_status(policy, status, again, until).await
            }
        }
    });
    match done.await {
        Ok(status) => Ok(Some(Box::new(status))),
        Err(Failure::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Tells the users of the API of something that happened; in memory there are none.
pub(crate) async fn tell(objects: &Objects, event: &Event, limit: Duration) -> Result<(), Failure> {
    let until = Instant::now() + limit;
    within(until, async {
        match objects {
            Objects::Memory(_) => Ok(()),
            Objects::Kubernetes(writer) => writer.publish(event, until).await,
        }
    })
    .await
}

/// Removes the record of a released claim beside the claim that lives again.
pub(crate) async fn collect(
    objects: &Objects,
    claim: &SandboxKey,
    leftover: &str,
    limit: Duration,
) -> Result<(), Failure> {
    let until = Instant::now() + limit;
    within(until, async {
        match objects {
            Objects::Memory(_) => Ok(()),
            Objects::Kubernetes(writer) => writer.collect(claim, leftover, until).await,
        }
    })
    .await
}

/// Has a claim sleep as it is from now on, whatever its policy says.
pub(crate) async fn keep_bound(
    objects: &Objects,
    claim: &SandboxKey,
    uid: &str,
    limit: Duration,
) -> Result<(), Failure> {
    let until = Instant::now() + limit;
    within(until, async {
        match objects {
            Objects::Memory(_) => Ok(()),
            Objects::Kubernetes(writer) => writer.keep_bound(claim, uid, until).await,
        }
    })
    .await
}

/// Removes the record of a claim that slept beyond its end.
pub(crate) async fn bury(
    objects: &Objects,
    claim: &SandboxKey,
    uid: &str,
    limit: Duration,
) -> Result<(), Failure> {
    let until = Instant::now() + limit;
    within(until, async {
        match objects {
            Objects::Memory(_) => Ok(()),
            Objects::Kubernetes(writer) => writer.bury(claim, uid, until).await,
        }
    })
    .await
}

/// What the core is told. Only for a sleep it matters whether a write may still be done: a wake is
/// repeated in either case, and tells who waits for it what is wrong.
pub(crate) fn written(what: Intent, done: Result<u64, Failure>) -> Written {
    match done {
        Ok(epoch) => Written::Done(epoch),
        Err(Failure::Overtaken(epoch)) => Written::Overtaken(epoch),
        Err(Failure::Conflict(_) | Failure::NotFound(_)) => Written::Conflict,
        Err(Failure::Denied(message)) => Written::Denied(message.into()),
        Err(Failure::Lost(_)) if !what.is_wake() => Written::Lost,
        Err(Failure::Unavailable(message) | Failure::Lost(message)) => {
            Written::Unavailable(message.into())
        }
    }
}

/// For metrics.
pub(crate) const fn result<T>(done: &Result<T, Failure>) -> &'static str {
    match done {
        Ok(_) => "done",
        Err(Failure::NotFound(_) | Failure::Conflict(_) | Failure::Overtaken(_)) => "conflict",
        Err(Failure::Denied(_)) => "denied",
        Err(Failure::Unavailable(_)) => "unavailable",
        Err(Failure::Lost(_)) => "lost",
    }
}

async fn within<T>(
    until: Instant,
    doing: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    if Instant::now() >= until {
        return Err(Failure::Unavailable("its time was over".to_owned()));
    }
    timeout_at(until, doing)
        .await
        .unwrap_or_else(|_| Err(Failure::Lost("there was no answer in time".to_owned())))
}
