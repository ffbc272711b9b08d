//! What a look at the API server means: what is there is there, what is missing may be so for a moment.

use super::{Served, Version};

#[cfg(test)]
mod tests;

/// Looks after which a kind that was never seen is missing: one may fall into a server's start.
const NEVER_SEEN: u32 = 2;
/// Looks after which a kind that was served is gone: 7 × 2 s is longer than a server takes to read its CRDs.
const VANISHED: u32 = 8;

/// What a server in order has.
const EVERYTHING: Served = Served {
    sandboxes: Some(Version::V1Beta1),
    claims: Some(Version::V1Beta1),
    policies: true,
    released_claims: true,
};

/// What to believe after a look.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Belief {
    /// What is published from now on; `None` while nothing can be said yet.
    pub(super) served: Option<Served>,
    /// No further look is needed to make sure.
    pub(super) certain: bool,
}

/// What `seen` means after `missed` looks in a row that missed something too.
pub(super) fn believe(published: Option<Served>, seen: Served, missed: u32) -> Belief {
    let expected = published.unwrap_or(EVERYTHING);
    let lacks = expected.sandboxes.is_some() && seen.sandboxes.is_none()
        || expected.claims.is_some() && seen.claims.is_none()
        || expected.policies && !seen.policies
        || expected.released_claims && !seen.released_claims;
    let enough = if published.is_some() {
        VANISHED
    } else {
        NEVER_SEEN
    };
    if !lacks || missed + 1 >= enough {
        return Belief {
            served: Some(seen),
            certain: true,
        };
    }
    let kept = published.map(|before| Served {
        sandboxes: seen.sandboxes.or(before.sandboxes),
        claims: seen.claims.or(before.claims),
        policies: seen.policies || before.policies,
        released_claims: seen.released_claims || before.released_claims,
    });
    Belief {
        served: kept,
        certain: false,
    }
}

/// One line for what there is, one warning for each kind without which something will not work.
pub(super) fn tell(before: Option<Served>, served: Served) {
    let version = |version: Option<Version>| version.map_or("missing", Version::as_str);
    tracing::info!(
        "the API server serves Sandbox {} and SandboxClaim {}",
        version(served.sandboxes),
        version(served.claims),
    );
    let before = before.unwrap_or(EVERYTHING);
    if before.sandboxes.is_some() && served.sandboxes.is_none() {
        tracing::warn!(
            "the API server has no Sandbox (agents.x-k8s.io): no sandbox is known until agent-sandbox is installed"
        );
    }
    if before.policies && !served.policies {
        tracing::warn!(
            "the API server has no ScaledSandbox (reveille.dev/v1alpha1): no sandbox is put to sleep until its CRD is installed"
        );
    }
    if before.released_claims && !served.released_claims {
        tracing::warn!(
            "the API server has no ReleasedClaim (reveille.dev/v1alpha1): no claim is released until its CRD is installed"
        );
    }
}
