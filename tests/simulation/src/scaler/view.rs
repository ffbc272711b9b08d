//! What the scaler's core is told of a target, and where its writes go.

use std::sync::Arc;
use std::time::Instant;

use reveille_scaler_core::act::{Intent, Write as CoreWrite};
use reveille_scaler_core::view::{ClaimView, Fault, Mode, PodView, SandboxView, View};

use crate::api::Write;
use crate::join::Target;
use crate::objects::Name;

/// A write with the name of the object it goes to.
pub(crate) fn address(write: &CoreWrite, name: &Name, target: &Target) -> Option<Write> {
    let (uid, epoch) = (Arc::clone(&write.uid), write.epoch);
    Some(match write.what {
        Intent::Restore | Intent::Suspend => {
            let (name, present) = target.sandbox.as_ref()?;
            let (sandbox, hold) = (Arc::clone(name), present.hold);
            let busy_until = present.busy_until;
            let to = if write.what == Intent::Restore {
                Mode::Running
            } else {
                Mode::Suspended
            };
            Write::Mode {
                sandbox,
                uid,
                epoch,
                hold,
                busy_until,
                to,
            }
        }
        Intent::Bind => Write::Bind {
            claim: Arc::clone(name),
            uid,
            epoch,
        },
        Intent::Release => {
            let sandbox = target.sandbox.as_ref().map(|(name, present)| Write::Mode {
                sandbox: Arc::clone(name),
                uid: Arc::clone(&present.uid),
                epoch: present.epoch,
                hold: None,
                busy_until: present.busy_until,
                to: Mode::Suspended,
            });
            Write::Release {
                claim: Arc::clone(name),
                uid,
                epoch,
                sandbox: sandbox.map(Box::new),
            }
        }
    })
}

/// What the core wants to know of a target.
pub(super) fn view(target: &Target, proven_by_ready: bool, now: Instant) -> View {
    let sandbox = target.sandbox.as_ref().map(|(_, sandbox)| SandboxView {
        uid: Arc::clone(&sandbox.uid),
        epoch: sandbox.epoch,
        mode: sandbox.mode,
        hold: sandbox.hold,
        busy_until: sandbox.busy_until,
        woken: sandbox.woken.map(|at| now.saturating_duration_since(at)),
        expires: sandbox.expires,
        deleting: sandbox.deleting,
        pool_member: sandbox.pool_member,
        has_volumes: sandbox.has_volumes,
        fault: None,
        age: now.saturating_duration_since(sandbox.created),
    });
    let claim = target.claim.as_ref().map(|claim| ClaimView {
        uid: Arc::clone(&claim.uid),
        epoch: claim.epoch,
        released: claim.released,
        deleting: false,
        stays_bound: false,
        fault: None,
        age: now.saturating_duration_since(claim.created),
    });
    let pod = target.pod.as_ref().map(|pod| PodView {
        uid: Arc::clone(&pod.uid),
        addressed: pod.ip.is_some(),
        ready: pod.ready,
        proven_by_ready,
        fault: pod.fault.map(|reason| Fault::new(reason, reason)),
    });
    View {
        sandbox,
        claim,
        pod,
        policy: target.policy.as_deref().copied(),
    }
}
