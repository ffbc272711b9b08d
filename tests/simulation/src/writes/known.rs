//! What a writer knew when it wrote.

use std::time::Instant;

use reveille_scaler_core::view::Hold;

use crate::api::Write;
use crate::join::Target;

/// What its writer's own watch had shown when it was issued.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    pub(crate) hold: Option<Hold>,
    pub(crate) expired: bool,
    pub(crate) pool_member: bool,
    pub(crate) deleting: bool,
    pub(crate) paused: bool,
}

pub(super) fn known(write: &Write, target: &Target, now: Instant) -> Known {
    let paused = target.policy.as_ref().is_some_and(|policy| policy.paused);
    // A claim that is bound anew gets a Sandbox of its own, whatever the last one was.
    let is_of_claim = matches!(write, Write::Bind { .. });
    let Some((_, sandbox)) = target.sandbox.as_ref().filter(|_| !is_of_claim) else {
        return Known {
            paused,
            ..Known::default()
        };
    };
    Known {
        hold: sandbox.hold,
        expired: sandbox.expires.is_some_and(|at| now >= at),
        pool_member: sandbox.pool_member,
        deleting: sandbox.deleting,
        paused,
    }
}
