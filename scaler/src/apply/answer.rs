//! What the API server's answers mean for a write: was it done, may it be done later, or never?
//!
//! A JSON patch whose `test` failed and an object that admission refused are both answered 422; they are
//! told apart by their details: the former says nothing about any object.

use kube::core::Status;
use reveille_lifecycle::store::IntentError;

/// Why something was not written, with a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// There is no such object, or no such kind.
    #[error("not found: {0}")]
    NotFound(String),
    /// The object is not what the writer thought; look again and decide afresh.
    #[error("conflict: {0}")]
    Conflict(String),
    /// It was to be woken, and somebody else has done so: it has this epoch.
    #[error("conflict: it was woken by another, its epoch is {0}")]
    Overtaken(u64),
    /// It may not be done; asking again does not help.
    #[error("denied: {0}")]
    Denied(String),
    /// It is certainly not done; asking again may help.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// It is done, or not, or will still be done by the server's own deadline.
    #[error("no answer: {0}")]
    Lost(String),
}

impl From<IntentError> for Failure {
    fn from(error: IntentError) -> Self {
        match error {
            IntentError::NotFound => Self::NotFound("there is no such object".to_owned()),
            IntentError::Conflict(message) => Self::Conflict(message),
            IntentError::Denied(message) => Self::Denied(message),
            IntentError::Unavailable(message) => Self::Unavailable(message),
        }
    }
}

impl Failure {
    /// What an error of the client means.
    pub(super) fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::answered(status),
            error if never_sent(error) => Self::Unavailable(format!(
                "the Kubernetes API cannot be reached: {}",
                root(error)
            )),
            error => Self::Lost(format!(
                "the Kubernetes API gave no answer: {}",
                root(error)
            )),
        }
    }

    fn answered(status: &Status) -> Self {
        let message = status.message.clone();
        match status.code {
            404 if speaks_of_object(status) => Self::NotFound(message),
            // The path itself is unknown: an upgrade took this version away, or the kind is not there yet.
            404 => Self::Unavailable(format!(
                "the API server does not serve this kind: {message}"
            )),
            409 | 410 | 412 => Self::Conflict(message),
            422 if !speaks_of_object(status) || is_another(status) => Self::Conflict(message),
            // A token that has just run out is replaced by the client; priority and fairness (429) turn a
            // request away before it is looked at.
            401 | 429 => Self::Unavailable(message),
            408 | 500..=599 => Self::Lost(message),
            _ => Self::Denied(message),
        }
    }
}

/// Whether an answer is about the object: admission, validation and a missing object name it.
fn speaks_of_object(status: &Status) -> bool {
    status.details.as_ref().is_some_and(|details| {
        !details.causes.is_empty() || !details.name.is_empty() || !details.kind.is_empty()
    })
}

/// Whether a patch that names the UID found another object of that name: the UID cannot be changed.
fn is_another(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    causes.any(|cause| cause.field == "metadata.uid")
}

/// Whether no byte of the request can have arrived.
fn never_sent(error: &kube::Error) -> bool {
    if matches!(
        error,
        kube::Error::BuildRequest(_) | kube::Error::HttpError(_) | kube::Error::Auth(_)
    ) {
        return true;
    }
    causes(error).any(|cause| {
        cause
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .is_some_and(hyper_util::client::legacy::Error::is_connect)
    })
}

/// The innermost cause, which is the one that says something.
fn root(error: &kube::Error) -> String {
    causes(error).last().unwrap_or(error).to_string()
}

fn causes(error: &kube::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    let first: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(first), |error| error.source())
}

#[cfg(test)]
mod tests {
    use kube::core::response::{StatusCause, StatusDetails};

    use super::*;

    fn status(code: u16, details: Option<StatusDetails>) -> Failure {
        let status = Status {
            details,
            ..Status::failure("why", "Reason").with_code(code)
        };
        Failure::of(&kube::Error::Api(Box::new(status)))
    }

    fn details() -> StatusDetails {
        StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
        }
    }

    #[test]
    fn a_patch_whose_test_failed_is_a_conflict_and_a_refused_object_is_denied() {
        assert_eq!(status(422, None), Failure::Conflict("why".to_owned()));
        assert_eq!(
            status(422, Some(details())),
            Failure::Conflict("why".to_owned())
        );
        let cause = StatusCause {
            reason: "FieldValueInvalid".to_owned(),
            message: "no".to_owned(),
            field: "spec".to_owned(),
        };
        let refused = StatusDetails {
            causes: vec![cause],
            ..details()
        };
        assert_eq!(
            status(422, Some(refused)),
            Failure::Denied("why".to_owned())
        );
    }

    #[test]
    fn a_missing_object_is_told_from_a_kind_that_is_not_served() {
        let named = StatusDetails {
            name: "alice".to_owned(),
            kind: "sandboxes".to_owned(),
            ..details()
        };
        assert!(matches!(status(404, Some(named)), Failure::NotFound(_)));
        assert!(matches!(status(404, None), Failure::Unavailable(_)));
    }

    #[test]
    fn only_what_was_turned_away_at_the_door_is_certainly_not_done() {
        for code in [401, 429] {
            assert!(matches!(status(code, None), Failure::Unavailable(_)));
        }
        for code in [408, 500, 502, 503, 504] {
            assert!(matches!(status(code, None), Failure::Lost(_)), "{code}");
        }
        for code in [400, 403, 405, 413, 415] {
            assert!(matches!(status(code, None), Failure::Denied(_)), "{code}");
        }
    }
}
