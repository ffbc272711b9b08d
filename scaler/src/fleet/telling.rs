//! From the core's words to messages, the journal and the API's answers.

use std::sync::Arc;
use std::time::Duration;

use reveille_crds::SandboxKey;
use reveille_crds::message::{Drain, Outcome, OutcomeKind, ToActivator};
use reveille_scaler_core::act::{Note, Tell};

use super::Fleet;
use crate::apply::Severity;
use crate::journal::whole_milliseconds;
use crate::metrics::milliseconds;

impl Fleet {
    pub(super) fn tell(&mut self, key: &SandboxKey, tell: Tell) {
        let what = match tell {
            Tell::Waking { epoch } => OutcomeKind::Waking { epoch },
            Tell::Refused(refusal) => OutcomeKind::Refused {
                reason: refusal.reason().to_owned(),
                message: refusal.message().to_owned(),
            },
            Tell::Failed {
                reason,
                message,
                retry_after,
            } => OutcomeKind::Failed {
                reason: reason.to_string(),
                message: message.to_string(),
                retry_after_ms: whole_milliseconds(retry_after),
            },
            Tell::Delayed { reason, message } => OutcomeKind::Delayed {
                reason: reason.to_string(),
                message: message.to_string(),
            },
        };
        self.say(ToActivator::Outcome(Outcome {
            key: key.clone(),
            what,
        }));
    }

    pub(super) fn tell_drain(
        &mut self,
        key: &SandboxKey,
        (epoch, uid, nonce): (u64, Option<Arc<str>>, u64),
        hold: Duration,
        order: bool,
    ) {
        self.say(ToActivator::Drain(Drain {
            key: key.clone(),
            epoch,
            uid: uid.map(|uid| uid.to_string()),
            nonce,
            hold_ms: whole_milliseconds(hold),
            order,
        }));
    }

    pub(super) fn tell_undrain(&mut self, key: &SandboxKey, nonce: u64) {
        let what = OutcomeKind::Undrain { nonce };
        self.say(ToActivator::Outcome(Outcome {
            key: key.clone(),
            what,
        }));
    }

    pub(super) fn note(&mut self, key: &SandboxKey, note: &Note) {
        let entry = self.entries.get(key);
        let epoch = entry.map_or(0, |entry| entry.machine.view().epoch());
        self.journal.note(key, epoch, note);
        // Whoever has seen its release notices it.
        if matches!(note, Note::MadeAgain { .. }) && !self.led {
            return;
        }
        if let Some((severity, words, text)) = event(note) {
            self.publish(key, severity, words, text);
        }
    }
}

/// What `kubectl describe` shows of a note: its severity, reason and action, and a sentence.
fn event(note: &Note) -> Option<(Severity, (&'static str, &'static str), String)> {
    Some(match note {
        Note::Woke(woke) => {
            let [decide, start, ready, total] =
                [woke.decide, woke.start, woke.ready, woke.total()].map(milliseconds);
            let (cause, parked) = (woke.cause.as_str(), woke.parked);
            let did = if woke.answers {
                "Woke"
            } else {
                "Started, and not connected to yet,"
            };
            let text = format!(
                "{did} in {total} ms: decide {decide}, start {start}, ready {ready}; cause {cause}, {parked} parked"
            );
            (Severity::Normal, ("Woke", "Wake"), text)
        }
        Note::Slept { reason, quiet, .. } => {
            let (reason, quiet) = (reason.as_str(), quiet.as_secs());
            let text = format!("Put to sleep after {quiet} s quiet; cause {reason}");
            (Severity::Normal, ("Slept", "Sleep"), text)
        }
        Note::WakeFailed {
            cause,
            reason,
            message,
            after,
            ..
        } => {
            let (cause, total) = (cause.as_str(), milliseconds(*after));
            let text = format!("Not woken after {total} ms: {reason}, {message}; cause {cause}");
            (Severity::Warning, ("WakeFailed", "Wake"), text)
        }
        Note::Refused { cause, refusal } => {
            let (cause, reason, message) = (cause.as_str(), refusal.reason(), refusal.message());
            let text = format!("Not woken: {reason}, {message}; cause {cause}");
            (Severity::Warning, ("WakeFailed", "Wake"), text)
        }
        Note::SleepDenied { reason, message } => {
            let reason = reason.as_str();
            let text = format!("Not put to sleep: SleepDenied, {message}; cause {reason}");
            (Severity::Warning, ("SleepRefused", "Sleep"), text)
        }
        Note::AgentSilent { .. } | Note::Flapping { .. } | Note::MadeAgain { .. } => {
            return noticed(note);
        }
        Note::Drained { .. } => return None,
    })
}

/// The same of what only several lives or questions show.
fn noticed(note: &Note) -> Option<(Severity, (&'static str, &'static str), String)> {
    Some(match note {
        Note::AgentSilent { asked } => {
            let text = format!(
                "The agent gave no usable answer on its busy.path {asked} times in a row, so it counts as idle: \
                 mend busy.path, busy.port or busy.idleWhen of its policy, or the agent"
            );
            (Severity::Warning, ("BusyUnknown", "Sleep"), text)
        }
        Note::Flapping {
            wakes,
            cooldown,
            by,
        } => (
            Severity::Warning,
            ("Flapping", "Wake"),
            flapping(*wakes, *cooldown, by),
        ),
        Note::MadeAgain { after } => {
            let seconds = after.as_secs();
            let text = format!(
                "Something made this claim again {seconds} s after it was released to sleep, so from now on it \
                 stays bound and its Sandbox is suspended instead. Strategy Bind does not go with a tool that \
                 applies claims again and again: write strategy: Restore. Once that tool is gone, remove the \
                 annotation reveille.dev/stays-bound"
            );
            (Severity::Warning, ("ClaimMadeAgain", "Sleep"), text)
        }
        _ => return None,
    })
}

/// What flapping is, who does it, and what would end it.
pub(crate) fn flapping(wakes: u32, cooldown: Duration, by: &str) -> String {
    let seconds = cooldown.as_secs();
    let by = if by.is_empty() {
        String::new()
    } else {
        format!(" by {by}")
    };
    format!(
        "Woken {wakes} times in a row{by} within its cooldownPeriod of {seconds} s after falling asleep: a client \
         that reconnects by itself keeps it busy for nothing. End that client, or raise cooldownPeriod beyond \
         the pause between its attempts"
    )
}
