//! What the API answers: states, outcomes, and problems with the one place that gives them a status.

use std::borrow::Cow;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use reveille_crds::SandboxKey;
use reveille_crds::change::Hold;
use reveille_crds::key::InvalidKey;
use reveille_scaler_core::command::Answer;
use reveille_scaler_core::wake::Refusal;
use serde::Serialize;
use serde_json::{Value, json};

use super::{MarkError, Page};
use crate::apply::{Failure, Mark};

/// One sandbox.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SandboxState {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// `awake`, `asleep`, `waking`, `draining` or `blocked`.
    pub(crate) state: &'static str,
    /// Why, in one word.
    pub(crate) reason: &'static str,
    /// Why, in one sentence.
    pub(crate) why: String,
    pub(crate) epoch: u64,
    pub(crate) uid: Option<String>,
    pub(crate) in_flight: u32,
    pub(crate) parked: u32,
    pub(crate) hold: Option<&'static str>,
    /// The busy lease that was set through the API.
    pub(crate) busy_until: Option<Timestamp>,
    pub(crate) policy: Option<String>,
    pub(crate) last_wake: Option<LastWake>,
    pub(crate) last_sleep: Option<LastSleep>,
    /// Seconds until it sleeps if nothing more is heard.
    pub(crate) next_sleep_in_seconds: Option<f64>,
    /// Left out where nothing wakes it again and again right after its sleep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flapping: Option<Flaps>,
}

/// What wakes it again and again.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Flaps {
    /// How often in a row.
    pub(crate) wakes: u32,
    /// Method, path and upgrade of the request that woke it last, where that is known.
    pub(crate) by: Option<String>,
    /// Seconds until it is over, if nothing wakes it until then.
    pub(crate) ends_in_seconds: f64,
    /// What it is, and what would end it.
    pub(crate) message: String,
}

/// The last wake.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LastWake {
    pub(crate) at: Timestamp,
    pub(crate) cause: &'static str,
    pub(crate) phases: Value,
}

/// The last sleep.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LastSleep {
    pub(crate) at: Timestamp,
    pub(crate) reason: &'static str,
}

/// One JSON document on a line of its own, as a terminal wants it.
pub(super) fn json_line(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => {
            let json = HeaderValue::from_static("application/json");
            (status, [(header::CONTENT_TYPE, json)], text + "\n").into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Some sandboxes and, as a list of Kubernetes has it, where to go on.
pub(super) fn page(page: &Page) -> Response {
    let mut body = json!({"sandboxes": page.sandboxes});
    if let (1.., Some(last)) = (page.remaining, page.sandboxes.last()) {
        let next = format!("{}/{}", last.namespace, last.name);
        body["metadata"] = json!({"continue": next, "remainingItemCount": page.remaining});
    }
    json_line(StatusCode::OK, &body)
}

/// What became of a command.
pub(super) fn answered(key: &SandboxKey, answer: &Answer, epoch: u64) -> Result<Response, Problem> {
    let (status, outcome) = match answer {
        Answer::Awake => (StatusCode::OK, "awake"),
        Answer::Waking => (StatusCode::ACCEPTED, "waking"),
        Answer::Asleep => (StatusCode::OK, "asleep"),
        Answer::Draining { .. } => (StatusCode::ACCEPTED, "draining"),
        Answer::Refused(refusal) => {
            let status = match refusal {
                Refusal::NotFound => StatusCode::NOT_FOUND,
                Refusal::NotTriggered | Refusal::Unmanaged => StatusCode::FORBIDDEN,
                _ => StatusCode::CONFLICT,
            };
            return Err(Problem::new(
                status,
                refusal.reason(),
                format!("{key}: {}", refusal.message()),
            ));
        }
        Answer::BackedOff {
            reason,
            message,
            retry_after,
        } => {
            return Err(Problem {
                retry_after: Some(*retry_after),
                ..Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    reason.to_string(),
                    message.to_string(),
                )
            });
        }
        Answer::Conflict(why) => {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                why.reason(),
                format!("{key}: {why}"),
            ));
        }
        Answer::Unheard(silence) => {
            let message = format!("{key} cannot be put to sleep now: {silence}");
            return Err(Problem::later("ActivatorsUnheard", message));
        }
    };
    let mut body = json!({"sandbox": key, "outcome": outcome, "epoch": epoch});
    if let Answer::Draining { grace: Some(grace) } = answer {
        // What is in flight has so long to end.
        body["graceSeconds"] = grace.as_secs().into();
    }
    Ok(json_line(status, &body))
}

/// A hold or a busy lease was set or taken away.
pub(super) fn marked(key: &SandboxKey, mark: Mark) -> Response {
    let body = match mark {
        Mark::Hold(hold) => json!({"sandbox": key, "hold": hold.map(hold_word)}),
        Mark::Lease(until) => json!({"sandbox": key, "outcome": "leased", "busyUntil": until}),
    };
    json_line(StatusCode::OK, &body)
}

/// As the annotation says it.
pub(crate) const fn hold_word(hold: Hold) -> &'static str {
    match hold {
        Hold::Awake => "awake",
        Hold::Asleep => "asleep",
    }
}

/// An error for whoever asked.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    reason: Cow<'static, str>,
    detail: String,
    retry_after: Option<Duration>,
}

impl Problem {
    fn new(status: StatusCode, reason: impl Into<Cow<'static, str>>, detail: String) -> Self {
        Self {
            status,
            reason: reason.into(),
            detail,
            retry_after: None,
        }
    }

    fn later(reason: &'static str, message: String) -> Self {
        Self {
            retry_after: Some(Duration::from_secs(1)),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, reason, message)
        }
    }

    pub(super) fn overloaded() -> Self {
        Self::later(
            "Unavailable",
            "the scaler did not answer in time".to_owned(),
        )
    }

    pub(super) fn not_found(key: &SandboxKey) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "NotFound",
            format!("there is no sandbox {key}"),
        )
    }

    pub(super) fn query(error: &QueryRejection) -> Self {
        let detail = format!(
            "{}; continue= takes metadata.continue of the page before",
            error.body_text()
        );
        Self::new(StatusCode::BAD_REQUEST, "InvalidQuery", detail)
    }

    pub(super) fn limit(limit: usize, most: usize) -> Self {
        let detail = format!(
            "limit is {limit}, and is to be 1 to {most}; ask for the rest with ?continue=, given metadata.continue of the page before"
        );
        Self::new(StatusCode::BAD_REQUEST, "InvalidQuery", detail)
    }

    pub(super) fn name(error: &InvalidKey) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidName", error.to_string())
    }

    pub(super) fn body(error: &JsonRejection, example: &str) -> Self {
        let status = error.status();
        let message = format!("{}; send {example} as application/json", error.body_text());
        Self::new(status, "InvalidBody", message)
    }

    pub(super) fn too_long(seconds: u64, limit: u64) -> Self {
        let message =
            format!("seconds is {seconds}, the longest lease is {limit}; renew it instead");
        Self::new(StatusCode::BAD_REQUEST, "LeaseTooLong", message)
    }

    pub(super) fn mark(key: &SandboxKey, error: MarkError) -> Self {
        let conflict = |reason, message| Self::new(StatusCode::CONFLICT, reason, message);
        match error {
            MarkError::NotFound | MarkError::NotWritten(Failure::NotFound(_)) => {
                Self::not_found(key)
            }
            MarkError::NotAwake(why) => conflict(why.reason(), format!("{key}: {why}")),
            MarkError::NoSandbox => conflict(
                "NoSandbox",
                format!(
                    "{key} is a claim without a Sandbox: there is nothing to mark; wake it first"
                ),
            ),
            MarkError::Overloaded => Self::later(
                "Overloaded",
                "too many holds and leases wait to be written; try again".to_owned(),
            ),
            MarkError::NotWritten(Failure::Unavailable(message) | Failure::Lost(message)) => {
                Self::later("Unavailable", message)
            }
            MarkError::NotWritten(Failure::Conflict(message)) => conflict("Conflict", message),
            MarkError::NotWritten(error @ Failure::Overtaken(_)) => {
                conflict("Conflict", error.to_string())
            }
            MarkError::NotWritten(Failure::Denied(message)) => {
                Self::new(StatusCode::FORBIDDEN, "Denied", message)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({"detail": self.detail, "reason": self.reason});
        let mut response = json_line(self.status, &body);
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
