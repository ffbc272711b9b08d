//! gRPC as a proxy sees it: HTTP/2 whose errors travel in trailers and whose deadline in a header
//! (grpc/grpc, `doc/PROTOCOL-HTTP2.md` and `doc/statuscodes.md`).

use std::fmt::Write;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Request, Response, Version};

use crate::body::Body;
use crate::error::Error;
use crate::parking::Refusal;

const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// Milliseconds after which a client with a retry policy may try again (gRFC A6).
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const GRPC: &str = "application/grpc";

/// A call of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// How long its client waits for all of it, if it said so.
    pub(crate) timeout: Option<Duration>,
}

impl Call {
    /// The call that a request is. gRPC-Web is none: it goes over any HTTP, and its errors with it.
    pub(crate) fn of<B>(request: &Request<B>) -> Option<Self> {
        let is_grpc = request.version() == Version::HTTP_2
            && request
                .headers()
                .get(CONTENT_TYPE)
                .is_some_and(|value| is_grpc(value.as_bytes()));
        let timeout = || request.headers().get(TIMEOUT);
        is_grpc.then(|| Self {
            timeout: timeout().and_then(|value| parse_timeout(value.as_bytes())),
        })
    }

    /// Tells the sandbox how much of the client's time is left after so much of it has passed.
    pub(crate) fn tell_left(&self, headers: &mut HeaderMap, passed: Duration) {
        if let Some(timeout) = self.timeout {
            headers.insert(TIMEOUT, format_timeout(timeout.saturating_sub(passed)));
        }
    }
}

/// The answer to a call that gets none from its sandbox: trailers and nothing else.
pub(crate) fn refuse(error: &Error) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    if let Some(after) = error.retry_after() {
        let millis = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
        headers.insert(PUSHBACK, HeaderValue::from(millis));
    }
    let text = format!("{} ({})", error.detail(), error.reason());
    end(headers, code(error), &text);
    response
}

/// The trailers of a call that ends in the middle of its answer, for that reason.
pub(crate) fn broken_off(text: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    end(&mut trailers, UNAVAILABLE, text);
    trailers
}

const INVALID_ARGUMENT: u32 = 3;
const DEADLINE_EXCEEDED: u32 = 4;
const NOT_FOUND: u32 = 5;
const PERMISSION_DENIED: u32 = 7;
const RESOURCE_EXHAUSTED: u32 = 8;
const ABORTED: u32 = 10;
const UNIMPLEMENTED: u32 = 12;
const UNAVAILABLE: u32 = 14;

/// What each way to end is called in gRPC. `UNAVAILABLE` is what its clients try again.
fn code(error: &Error) -> u32 {
    match error {
        Error::Malformed(_) | Error::Framing(_) | Error::TooManyFields(_) | Error::Http1(_) => {
            INVALID_ARGUMENT
        }
        Error::NotImplemented(_) | Error::MethodNotAllowed(_) => UNIMPLEMENTED,
        Error::ForeignPage(_) => PERMISSION_DENIED,
        Error::NotFound(_) => NOT_FOUND,
        Error::OutOfTime { .. } | Error::NoResponse(..) | Error::NotReading(..) => {
            DEADLINE_EXCEEDED
        }
        Error::RequestBody(_) | Error::Stalled(_) | Error::ClientGone => ABORTED,
        Error::Connections | Error::Exhausted(_) => RESOURCE_EXHAUSTED,
        Error::Connect(..) | Error::Exchange(..) | Error::NoSwitch(..) | Error::ShuttingDown => {
            UNAVAILABLE
        }
        Error::Refused(_, refusal) => match refusal {
            Refusal::LotFull | Refusal::TotalFull | Refusal::Throttled { .. } => RESOURCE_EXHAUSTED,
            Refusal::Gone => NOT_FOUND,
            // Its policy's time is over, not the client's: asking again helps.
            Refusal::Expired { .. }
            | Refusal::StillWaking { .. }
            | Refusal::Delayed { .. }
            | Refusal::Unanswered => UNAVAILABLE,
            Refusal::Refused { .. } | Refusal::Failed { .. } | Refusal::Blocked { .. } => {
                UNAVAILABLE
            }
            Refusal::PortNotDeclared { .. } => NOT_FOUND,
            Refusal::ShuttingDown => UNAVAILABLE,
        },
    }
}

fn end(trailers: &mut HeaderMap, code: u32, text: &str) {
    trailers.insert(STATUS, HeaderValue::from(code));
    if let Ok(text) = HeaderValue::from_str(&percent_encoded(text)) {
        trailers.insert(MESSAGE, text);
    }
}

fn is_grpc(content_type: &[u8]) -> bool {
    let Some((kind, rest)) = content_type.split_at_checked(GRPC.len()) else {
        return false;
    };
    kind.eq_ignore_ascii_case(GRPC.as_bytes())
        && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// At most eight digits and a unit.
fn parse_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// In the finest unit that eight digits can hold.
fn format_timeout(left: Duration) -> HeaderValue {
    const MOST: u128 = 99_999_999;
    let (number, unit) = if left.as_micros() <= MOST {
        (left.as_micros(), 'u')
    } else if left.as_millis() <= MOST {
        (left.as_millis(), 'm')
    } else if u128::from(left.as_secs()) <= MOST {
        (left.as_secs().into(), 'S')
    } else {
        (u128::from(left.as_secs() / 3600).min(MOST), 'H')
    };
    HeaderValue::from_str(&format!("{number}{unit}"))
        .expect("digits and a letter are a header value")
}

/// Printable ASCII but `%` stays.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' => encoded.push_str("%25"),
            b' '..=b'~' => encoded.push(char::from(byte)),
            // Writing to a string does not fail.
            other => drop(write!(encoded, "%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use reveille_crds::SandboxKey;

    use super::*;

    #[test]
    fn a_call_is_an_h2_request_of_that_content_type() {
        let of = |version, kind: &str| {
            let request = Request::builder()
                .version(version)
                .header(CONTENT_TYPE, kind);
            Call::of(&request.body(()).unwrap()).is_some()
        };
        for kind in [
            "application/grpc",
            "Application/gRPC+proto",
            "application/grpc; a=b",
        ] {
            assert!(of(Version::HTTP_2, kind), "{kind}");
            assert!(!of(Version::HTTP_11, kind), "{kind}");
        }
        for kind in [
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/json",
            "",
        ] {
            assert!(!of(Version::HTTP_2, kind), "{kind}");
        }
    }

    #[test]
    fn a_deadline_is_read_and_what_is_left_of_it_is_written() {
        let read = |text: &str| parse_timeout(text.as_bytes());
        assert_eq!(read("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(read("2M"), Some(Duration::from_secs(120)));
        assert_eq!(read("99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("7u"), Some(Duration::from_micros(7)));
        assert_eq!(read("0n"), Some(Duration::ZERO));
        for bad in ["", "S", "1", "123456789S", "-1S", "1.5S", "1s", "1 S"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        let left = |passed| {
            let call = Call {
                timeout: Some(Duration::from_secs(120)),
            };
            let mut headers = HeaderMap::new();
            call.tell_left(&mut headers, passed);
            headers[TIMEOUT].to_str().unwrap().to_owned()
        };
        assert_eq!(left(Duration::from_millis(500)), "119500m");
        assert_eq!(left(Duration::from_secs(118)), "2000000u");
        assert_eq!(left(Duration::from_secs(500)), "0u");
        assert_eq!(format_timeout(Duration::MAX), "99999999H");
    }

    #[test]
    fn a_refusal_is_trailers_with_a_reason_that_a_header_can_carry() {
        let key = SandboxKey::new("agents", "alice").unwrap();
        let failed = Refusal::Failed {
            reason: "ImagePullBackOff".into(),
            message: "100 % no\nsuch ímage".into(),
            retry_after: Some(Duration::from_secs(2)),
        };
        let response = refuse(&Error::Refused(key.clone(), failed));
        let headers = response.headers();
        let text = "100 %25 no%0Asuch %C3%ADmage (ImagePullBackOff)";
        assert_eq!(response.status(), http::StatusCode::OK);
        for (name, value) in [
            (CONTENT_TYPE, GRPC),
            (STATUS, "14"),
            (PUSHBACK, "2000"),
            (MESSAGE, text),
        ] {
            assert_eq!(headers[&name], value, "{name}");
        }
        for (error, code) in [
            (Error::NotFound(key.clone()), "5"),
            (Error::Refused(key.clone(), Refusal::LotFull), "8"),
            (Error::NoResponse(key, Duration::ZERO), "4"),
            (Error::Malformed("x"), "3"),
            (Error::NotImplemented("x"), "12"),
        ] {
            assert_eq!(refuse(&error).headers()[STATUS], code, "{error}");
        }
    }
}
