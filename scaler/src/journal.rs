//! Where what happened is told: one log line, the metrics, and a CloudEvent for users.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use reveille_crds::SandboxKey;
use reveille_crds::cloudevent::{self, CloudEvent, Happening};
use reveille_scaler_core::act::{Note, SleepReason, Woke};
use reveille_scaler_core::wake::{Cause, Refusal};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::fleet::flapping;
use crate::metrics::{Metrics, milliseconds};
use crate::observe;

/// Tells of everything that happens.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) metrics: Metrics,
    events: Option<mpsc::Sender<CloudEvent>>,
}

impl Journal {
    pub(crate) const fn new(metrics: Metrics, events: Option<mpsc::Sender<CloudEvent>>) -> Self {
        Self { metrics, events }
    }

    /// Tells of one note. `epoch` is the target's now.
    pub(crate) fn note(&self, key: &SandboxKey, epoch: u64, note: &Note) {
        match note {
            Note::Woke(woke) => self.woke(key, epoch, woke),
            Note::WakeFailed {
                cause,
                reason,
                message,
                after,
                retry_after,
            } => {
                self.metrics.wake_failed(*cause);
                let (total, retry) = (milliseconds(*after), retry_after.as_secs());
                warn!(
                    event = "wake-failed", sandbox = %key, cause = cause.as_str(), %reason,
                    total_ms = total, retry_after_s = retry,
                    "failed to wake {key} after {total} ms: {message} ({reason}); the next request after {retry} s tries again"
                );
                self.publish(Happening::WakeFailed(cloudevent::WakeFailed {
                    key: key.clone(),
                    epoch,
                    cause: observe::told(*cause),
                    reason: reason.to_string(),
                    message: message.to_string(),
                    retry_after_ms: Some(whole_milliseconds(*retry_after)),
                }));
            }
            Note::Refused { cause, refusal } => self.refused(key, *cause, *refusal),
            Note::Slept {
                reason,
                quiet,
                awake,
            } => {
                self.metrics.slept(*reason);
                let (seconds, why) = (quiet.as_secs(), reason.as_str());
                info!(
                    event = "slept", sandbox = %key, epoch, reason = why, quiet_s = seconds,
                    "put {key} to sleep {}", because(*reason, seconds)
                );
                self.publish(Happening::Slept(cloudevent::Slept {
                    key: key.clone(),
                    epoch,
                    reason: why.to_owned(),
                    awake_ms: awake.map(whole_milliseconds),
                }));
            }
            Note::SleepDenied { reason, message } => {
                self.metrics.sleep_refused("SleepDenied");
                let why = reason.as_str();
                warn!(sandbox = %key, reason = why, %message, "{key} stays awake, the API server refuses its sleep: {message}; see which admission policy says so");
            }
            Note::AgentSilent { .. } | Note::Flapping { .. } | Note::MadeAgain { .. } => {
                self.noticed(key, note);
            }
            Note::Drained { ending, took } => {
                self.metrics.drained(*ending);
                debug!(sandbox = %key, outcome = ending.as_str(), took_ms = milliseconds(*took), "drain ended");
            }
        }
    }

    fn refused(&self, key: &SandboxKey, cause: Cause, refusal: Refusal) {
        self.metrics.refused(cause, refusal);
        let (reason, why) = (refusal.reason(), refusal.message());
        info!(
            event = "wake-refused", sandbox = %key, cause = cause.as_str(), reason,
            "refused to wake {key}: {why}"
        );
    }

    /// Tells of what only several lives or questions show.
    fn noticed(&self, key: &SandboxKey, note: &Note) {
        match note {
            Note::AgentSilent { asked } => {
                self.metrics.agent_silent();
                warn!(
                    sandbox = %key, asked,
                    "the agent of {key} gave no usable answer on its busy.path {asked} times in a row, so it counts as idle"
                );
            }
            Note::Flapping {
                wakes,
                cooldown,
                by,
            } => {
                self.metrics.flapping();
                warn!(sandbox = %key, wakes, %by, "{key} is flapping: {}", flapping(*wakes, *cooldown, by));
            }
            Note::MadeAgain { after } => {
                let seconds = after.as_secs();
                warn!(
                    sandbox = %key,
                    "something made the claim {key} again {seconds} s after it was released to sleep; from now on it stays bound and is suspended instead"
                );
            }
            _ => {}
        }
    }

    fn woke(&self, key: &SandboxKey, epoch: u64, woke: &Woke) {
        self.metrics.woke(woke);
        let Woke {
            cause,
            decide,
            start,
            ready,
            parked,
            answers,
        } = *woke;
        let phases = [decide, start, ready, woke.total()];
        let [decide_ms, start_ms, ready_ms, total_ms] = phases.map(tenths);
        let [decide, start, ready, total] = phases.map(milliseconds);
        let why = caused(cause, parked);
        let (did, yet) = match answers {
            true => ("woke", ""),
            false => ("started", "; nobody has connected to it yet"),
        };
        info!(
            event = "woke", sandbox = %key, epoch, cause = cause.as_str(), parked,
            decide_ms, start_ms, ready_ms, total_ms,
            "{did} {key} for {why} in {total} ms (decide {decide}, start {start}, ready {ready}){yet}"
        );
        self.publish(Happening::Woke(cloudevent::Woke {
            key: key.clone(),
            epoch,
            cause: observe::told(woke.cause),
            took_ms: whole_milliseconds(woke.total()),
            parked,
        }));
    }

    /// Users' events are a courtesy: a full channel drops them.
    fn publish(&self, what: Happening) {
        let Some(events) = &self.events else { return };
        let id = uuid::Uuid::new_v4().to_string();
        if let Err(error) = events.try_send(CloudEvent::new(id, Timestamp::now(), what)) {
            debug!(%error, "dropped an event nobody takes");
        }
    }
}

/// What a wake was for, in words.
fn caused(cause: Cause, parked: u32) -> Cow<'static, str> {
    match (cause, parked) {
        (Cause::Http, 0 | 1) => Cow::Borrowed("a request"),
        (Cause::Http, parked) => Cow::Owned(format!("{parked} requests")),
        (Cause::Api, _) => Cow::Borrowed("an operator"),
        (Cause::Hold, _) => Cow::Borrowed("an operator who holds it awake"),
        (Cause::NatsJetstream, _) => Cow::Borrowed("messages that wait for it"),
        (Cause::Cron, _) => Cow::Borrowed("a timer"),
        (Cause::ExternalPush, _) => Cow::Borrowed("an external scaler"),
        (Cause::Other, _) => Cow::Borrowed("another cause"),
    }
}

/// Why it was put to sleep, in words.
fn because(reason: SleepReason, quiet: u64) -> Cow<'static, str> {
    Cow::Borrowed(match reason {
        SleepReason::Idle => return Cow::Owned(format!("after {quiet} s quiet")),
        SleepReason::Held => "because an operator holds it asleep",
        SleepReason::Asked => "because an operator asked for it",
        SleepReason::Forced => "because an operator ordered it",
        SleepReason::WakeFailed => "because its wake failed; the next one starts afresh",
        SleepReason::NeverReady => "because it never became ready and nobody waits",
        SleepReason::PodEnded => "because its pod has ended; the next wake starts a new one",
    })
}

/// The phases of a wake in milliseconds.
pub(crate) fn phases(woke: &Woke) -> Value {
    json!({
        "decideMs": tenths(woke.decide), "startMs": tenths(woke.start),
        "readyMs": tenths(woke.ready), "totalMs": tenths(woke.total()),
    })
}

/// Milliseconds, to a tenth.
fn tenths(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e4).round() / 10.0
}

pub(crate) fn whole_milliseconds(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
