//! What the scalers say to this activator.
//!
//! Every message is a hint that may be lost, doubled or late; the machine of each target knows what to
//! make of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reveille_activator_core::entry::Outcome as CoreOutcome;
use reveille_activator_core::gate::{Drain as CoreDrain, DrainAnswer};
use reveille_activator_core::view::{Delay, Denial, DenialKind};
use reveille_crds::message::{Drain, DrainReply, Outcome, OutcomeKind, ToActivator, ToScaler};
use tokio::sync::mpsc;

use crate::directory::Directory;
use crate::looks::Looks;
use crate::metrics::{DrainLabel, Metrics};

/// A gate is never held closed longer than this, whatever a message says.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// Takes messages until the carrier ends.
pub(crate) struct Inbox {
    pub(crate) activator: String,
    pub(crate) incarnation: String,
    pub(crate) directory: Arc<Directory>,
    pub(crate) to_scaler: mpsc::Sender<ToScaler>,
    /// Set when a full report is asked for.
    pub(crate) full_report: Arc<AtomicBool>,
    pub(crate) looks: Looks,
    pub(crate) metrics: Metrics,
}

impl Inbox {
    pub(crate) async fn follow(self, mut from_scaler: mpsc::Receiver<ToActivator>) {
        while let Some(message) = from_scaler.recv().await {
            match message {
                ToActivator::Sync => self.full_report.store(true, Ordering::Relaxed),
                ToActivator::Look(number) => self.looks.ask(number),
                ToActivator::Drain(drain) => self.drain(drain),
                ToActivator::Outcome(outcome) => self.outcome(outcome),
            }
        }
        tracing::debug!("the carrier has ended");
    }

    fn drain(&self, drain: Drain) {
        let question = CoreDrain {
            nonce: drain.nonce,
            epoch: drain.epoch,
            uid: drain.uid.map(Arc::from),
            hold: Duration::from_millis(drain.hold_ms).min(LONGEST_HOLD),
            order: drain.order,
        };
        // A target that this watch does not show yet might be shown awake in the next moment, with no
        // gate to keep requests back: rather awake.
        let answer = self
            .directory
            .target(&drain.key)
            .map_or(DrainAnswer::Busy, |slot| slot.drain(question));
        let drained = answer == DrainAnswer::Drained;
        self.metrics.drained(if drained {
            DrainLabel::Drained
        } else {
            DrainLabel::Busy
        });
        tracing::debug!(sandbox = %drain.key, nonce = drain.nonce, drained, "drain answered");
        let reply = DrainReply {
            key: drain.key,
            activator: self.activator.clone(),
            incarnation: self.incarnation.clone(),
            nonce: drain.nonce,
            drained,
        };
        // A reply that would have to wait is soon worth nothing, and the next message waits behind it.
        if self.to_scaler.try_send(ToScaler::Drained(reply)).is_err() {
            tracing::debug!("drain reply not taken by the carrier, the gate opens by itself");
        }
    }

    fn outcome(&self, outcome: Outcome) {
        let Some(slot) = self.directory.target(&outcome.key) else {
            return;
        };
        let told = match outcome.what {
            OutcomeKind::Waking { .. } => CoreOutcome::Waking,
            OutcomeKind::Undrain { nonce } => {
                self.metrics.drained(DrainLabel::Undrained);
                CoreOutcome::Undrain { nonce }
            }
            OutcomeKind::Refused { reason, message } => {
                CoreOutcome::Denied(denial(DenialKind::Refused, &reason, &message, None))
            }
            OutcomeKind::Failed {
                reason,
                message,
                retry_after_ms,
            } => {
                let retry_after = Some(Duration::from_millis(retry_after_ms));
                CoreOutcome::Denied(denial(DenialKind::Failed, &reason, &message, retry_after))
            }
            OutcomeKind::Delayed { reason, message } => CoreOutcome::Delayed(Delay {
                reason: reason.into(),
                message: message.into(),
            }),
            OutcomeKind::Other => return,
        };
        slot.outcome(told);
    }
}

fn denial(kind: DenialKind, reason: &str, message: &str, retry_after: Option<Duration>) -> Denial {
    Denial {
        kind,
        reason: reason.into(),
        message: message.into(),
        retry_after,
    }
}
