//! The one function that turns an [`Error`] into a response: `{"detail": …, "reason": …}` as JSON, with
//! `Retry-After` where asking again helps.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode, Version};
use reveille_crds::SandboxKey;
use tracing::{debug, info};

use crate::body::Body;
use crate::error::{Error, Fault};
use crate::grpc;
use crate::sparing::{self, Line};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The response to a request to `sandbox` that failed with `error`, spoken in `version` of HTTP, or in gRPC.
pub(crate) fn respond(
    error: &Error,
    sandbox: Option<&SandboxKey>,
    version: Version,
    is_grpc: bool,
) -> Response<Body> {
    log(error, sandbox);
    if is_grpc {
        return grpc::refuse(error);
    }
    let mut response = Response::new(Body::full(text(error)));
    *response.status_mut() = error.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    if let Some(after) = error.retry_after() {
        // Whole seconds, rounded up: 0 would invite an immediate retry.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if error.status() == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(
            ALLOW,
            HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"),
        );
    }
    if version < Version::HTTP_2 && closes(error) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn log(error: &Error, sandbox: Option<&SandboxKey>) {
    let (reason, status) = (error.reason(), error.status().as_u16());
    let (to, name) = match sandbox {
        Some(key) => (" to ", key.to_string()),
        None => ("", String::new()),
    };
    let sandbox = sandbox.map(tracing::field::display);
    match error.fault() {
        Fault::Client => debug!(
            sandbox,
            reason,
            status,
            "refused a request{to}{name} with {status}: {}",
            error.cause()
        ),
        Fault::Sandbox | Fault::Ours => {
            let Some(Line { more, held_back }) = sparing::line(error.kind()) else {
                return;
            };
            info!(
                event = "request-failed",
                sandbox,
                reason,
                status,
                held_back,
                "failed a request{to}{name} with {status}: {}{more}",
                error.cause()
            );
        }
    }
}

/// The JSON of [`respond`], one line.
pub(crate) fn text(error: &Error) -> Bytes {
    let body = serde_json::json!({ "detail": error.detail(), "reason": error.reason() });
    Bytes::from(format!("{body}\n"))
}

/// Whether the framing of what follows on the connection can no longer be trusted, or is unwanted.
fn closes(error: &Error) -> bool {
    use crate::parking::Refusal;
    matches!(
        error,
        Error::Framing(_)
            | Error::Http1(_)
            | Error::NotImplemented(_)
            | Error::RequestBody(_)
            | Error::Stalled(_)
            | Error::Connections
            | Error::ClientGone
            | Error::Refused(_, Refusal::ShuttingDown)
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::parking::Refusal;

    fn refused(refusal: Refusal) -> (u16, Option<String>, String) {
        let key = SandboxKey::new("agents", "alice").unwrap();
        let error = Error::Refused(key, refusal);
        let response = respond(&error, None, Version::HTTP_11, false);
        let after = response
            .headers()
            .get(RETRY_AFTER)
            .map(|value| value.to_str().unwrap().to_owned());
        (
            response.status().as_u16(),
            after,
            String::from_utf8(text(&error).to_vec()).unwrap(),
        )
    }

    #[test]
    fn every_refusal_has_a_status_a_reason_and_a_retry_after_where_a_retry_helps() {
        let full = refused(Refusal::LotFull);
        assert_eq!((full.0, full.1.as_deref()), (503, Some("1")));
        assert!(full.2.contains(r#""reason":"LotFull""#), "{}", full.2);
        let expired = refused(Refusal::Expired {
            waited: Duration::from_secs(55),
            stage: "",
        });
        assert_eq!(expired.0, 504);
        let text = r#""detail":"Timed out waiting for the backend sandbox: alice""#;
        assert!(expired.2.contains(text), "{}", expired.2);
        let failed = refused(Refusal::Failed {
            reason: "ImagePullBackOff".into(),
            message: "no such \"image\"".into(),
            retry_after: Some(Duration::from_millis(2100)),
        });
        assert_eq!((failed.0, failed.1.as_deref()), (503, Some("3")));
        let denied = refused(Refusal::Failed {
            reason: "WakeDenied".into(),
            message: "not allowed".into(),
            retry_after: Some(Duration::from_secs(1)),
        });
        assert_eq!((denied.0, denied.1), (503, None));
        let json = r#"{"detail":"no such \"image\"","reason":"ImagePullBackOff"}
"#;
        assert_eq!(failed.2, json);
        let blocked = refused(Refusal::Blocked {
            reason: "HeldAsleep".into(),
            message: "held".into(),
        });
        assert_eq!((blocked.0, blocked.1), (503, None));
        assert_eq!(refused(Refusal::ShuttingDown).1.as_deref(), Some("1"));
        assert_eq!(
            refused(Refusal::Throttled {
                retry_after: Duration::from_secs(7)
            })
            .0,
            429
        );
        assert_eq!(refused(Refusal::Gone).0, 404);
    }
}
