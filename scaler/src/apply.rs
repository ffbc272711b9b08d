//! The one file that writes. Every write is fenced, has a deadline, and answers what became of it.

use std::sync::Arc;
use std::time::Duration;

use reveille_crds::SandboxKey;
use reveille_crds::change::Hold;
use reveille_crds::index::Target;
use reveille_crds::sandbox::OperatingMode;
use reveille_crds::scaled_sandbox::ScaledSandboxStatus;
use reveille_lifecycle::store::{ClaimChange, IntentError, ModeChange, Store};
use reveille_scaler_core::act::{Intent, Write, Written};

/// A write with the name of the object it goes to.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Mode(ModeChange),
    Release(ClaimChange),
    Bind(ClaimChange),
}

/// Addresses a write; `None` if the object is not there any more, so that its fence would hold anyway.
pub(crate) fn address(write: &Write, target: &Target) -> Option<Change> {
    let (uid, epoch, cause) = (Arc::clone(&write.uid), write.epoch, write.cause);
    match write.what {
        Intent::Restore | Intent::Suspend => {
            let (key, _) = target.sandbox.as_ref()?;
            let (from, to) = match write.what {
                Intent::Restore => (OperatingMode::Suspended, OperatingMode::Running),
                _ => (OperatingMode::Running, OperatingMode::Suspended),
            };
            Some(Change::Mode(ModeChange {
                key: key.clone(),
                uid,
                epoch,
                from,
                to,
                cause,
            }))
        }
        Intent::Bind | Intent::Release => {
            let (key, _) = target.claim.as_ref()?;
            let sandbox = target.sandbox.as_ref();
            let change = ClaimChange {
                key: key.clone(),
                uid,
                epoch,
                sandbox: sandbox.map(|(_, facts)| Arc::clone(&facts.uid)),
                cause,
            };
            Some(if write.what == Intent::Bind {
                Change::Bind(change)
            } else {
                Change::Release(change)
            })
        }
    }
}

/// Writes; after `deadline` it counts as lost.
pub(crate) async fn write(store: Store, change: Change, deadline: Duration) -> Written {
    let done = tokio::time::timeout(deadline, async move {
        match &change {
            Change::Mode(change) => store.set_mode(change),
            Change::Release(change) => store.release_claim(change),
            Change::Bind(change) => store.bind_claim(change),
        }
    });
    match done.await {
        Ok(Ok(epoch)) => Written::Done(epoch),
        Ok(Err(IntentError::Conflict(_) | IntentError::NotFound)) => Written::Conflict,
        Ok(Err(IntentError::Denied(message))) => Written::Denied(message.into()),
        Ok(Err(IntentError::Unavailable(message))) => Written::Unavailable(message.into()),
        Err(_) => Written::Lost,
    }
}

/// Pins a Sandbox by its own name, or takes the pin away.
pub(crate) async fn hold(
    store: Store,
    sandbox: SandboxKey,
    hold: Option<Hold>,
    deadline: Duration,
) -> Result<(), IntentError> {
    let done = tokio::time::timeout(deadline, async move { store.set_hold(&sandbox, hold) });
    done.await
        .unwrap_or_else(|_| Err(IntentError::Unavailable("no answer in time".to_owned())))
}

/// Writes what a policy governs. A policy that is gone needs none.
pub(crate) async fn status(
    store: Store,
    policy: SandboxKey,
    status: ScaledSandboxStatus,
    deadline: Duration,
) -> Result<(), IntentError> {
    let done = tokio::time::timeout(
        deadline,
        async move { store.set_policy_status(&policy, status) },
    );
    match done.await {
        Ok(Err(IntentError::NotFound) | Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(IntentError::Unavailable("no answer in time".to_owned())),
    }
}

/// For metrics.
pub(crate) const fn result(fate: &Written) -> &'static str {
    match fate {
        Written::Done(_) => "done",
        Written::Conflict => "conflict",
        Written::Denied(_) => "denied",
        Written::Unavailable(_) => "unavailable",
        Written::Lost => "lost",
    }
}
