//! Why a request gets no endpoint.

use std::sync::Arc;
use std::time::Duration;

use reveille_activator_core::entry::Stage;
use reveille_activator_core::lot::Ending;
use reveille_activator_core::past::Past;
use reveille_activator_core::quota::Exhausted;
use reveille_activator_core::view::{Denial, DenialKind};

use crate::slot::Facts;

/// Why a request gets no endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `park.maxRequests` of this sandbox are parked. 503, a retry helps.
    LotFull,
    /// As many requests are parked as this process may hold. 503, a retry helps.
    TotalFull,
    /// Too many wakes begun by this caller, or of this sandbox. 429.
    Throttled { retry_after: Duration },
    /// The wait that the client asked for is over. 504; `stage` is how far the wake got, one phrase for the client.
    Expired {
        waited: Duration,
        stage: &'static str,
    },
    /// The wait is over, and the wake goes on. 503, a retry helps.
    StillWaking {
        /// One CamelCase word.
        reason: &'static str,
        /// How far the wake got, one phrase for the client.
        stage: &'static str,
        /// What holds the pod up, if it says so.
        trouble: Option<Arc<str>>,
        retry_after: Duration,
    },
    /// The wait is over, and the wake goes on, held up by this. 503, a retry helps.
    Delayed { reason: Arc<str>, message: Arc<str> },
    /// The wait is over, and no scaler has said anything for long. 503.
    Unanswered,
    /// The scaler will not wake it. 503.
    Refused {
        reason: Arc<str>,
        message: Arc<str>,
        retry_after: Option<Duration>,
    },
    /// A wake was tried and failed. 503.
    Failed {
        reason: Arc<str>,
        message: Arc<str>,
        retry_after: Option<Duration>,
    },
    /// It sleeps, or is gone, and no wake can change that. 503.
    Blocked { reason: Arc<str>, message: Arc<str> },
    /// The sandbox was deleted while the request waited. 404.
    Gone,
    /// The sandbox has no such port, and these. 404.
    PortNotDeclared { port: u16, declared: Arc<[u16]> },
    /// This activator is shutting down. 503, a retry helps.
    ShuttingDown,
}

impl Refusal {
    /// A denial of the core, in the words of the shell.
    pub(crate) fn denied(denial: &Denial, facts: &Facts) -> Self {
        let (reason, message) = (Arc::clone(&denial.reason), Arc::clone(&denial.message));
        let retry_after = denial.retry_after;
        match denial.kind {
            DenialKind::Refused if facts.is_gone => Self::Gone,
            DenialKind::Refused if facts.is_blocked => Self::Blocked { reason, message },
            DenialKind::Refused => Self::Refused {
                reason,
                message,
                retry_after,
            },
            DenialKind::Failed => Self::Failed {
                reason,
                message,
                retry_after,
            },
        }
    }

    /// The pod of a wake is young, and refuses connections for so long.
    pub(crate) fn not_answering(waited: Duration) -> Self {
        Self::still_waking(Stage::NotAnswering, None, Past::default().left(waited))
    }

    /// The policy's patience is over, and the wake goes on.
    pub(crate) fn still_waking(
        stage: Stage,
        trouble: Option<Arc<str>>,
        retry_after: Duration,
    ) -> Self {
        Self::StillWaking {
            reason: match stage {
                Stage::NotAnswering => "NotAnswering",
                _ => "StillWaking",
            },
            stage: stage.as_str(),
            trouble,
            retry_after,
        }
    }

    pub(super) fn throttled(exhausted: Exhausted) -> Self {
        Self::Throttled {
            retry_after: exhausted.retry_after,
        }
    }

    pub(super) fn lost_task() -> Self {
        Self::Failed {
            reason: "Internal".into(),
            message: "the task of this wake ended without an answer".into(),
            retry_after: Some(Duration::from_secs(1)),
        }
    }

    /// One CamelCase word, fixed.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::LotFull => "LotFull",
            Self::TotalFull => "ActivatorFull",
            Self::Throttled { .. } => "Throttled",
            Self::Expired { .. } => "WaitExpired",
            Self::StillWaking { reason, .. } => reason,
            Self::Delayed { .. } => "WakeDelayed",
            Self::Unanswered => "NoScaler",
            Self::Refused { .. } => "WakeRefused",
            Self::Failed { .. } => "WakeFailed",
            Self::Blocked { .. } => "Blocked",
            Self::Gone => "NotFound",
            Self::PortNotDeclared { .. } => "PortNotDeclared",
            Self::ShuttingDown => "ShuttingDown",
        }
    }

    pub(super) fn ending(&self) -> Ending {
        match self {
            Self::Expired { .. }
            | Self::StillWaking { .. }
            | Self::Delayed { .. }
            | Self::Unanswered => Ending::Expired,
            Self::Failed { .. } => Ending::Failed,
            Self::PortNotDeclared { .. } => Ending::Released,
            _ => Ending::Refused,
        }
    }
}
