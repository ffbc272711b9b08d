//! Every way a request can end without the sandbox's own answer: whose fault it was, what a metric
//! calls it, and whether asking again helps. [`crate::rescue`] turns it into the response.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use reveille_crds::{SandboxKey, fault};

use reveille_http1::Fault::{Ambiguous, Chunk, Coding, Head, TooLong, TooManyFields, Truncated};

use crate::parking::Refusal;

mod awaited;

pub(crate) use awaited::Awaited;

/// Retry-After of a refusal that lasts as long as a queue is full.
const SOON: Duration = Duration::from_secs(1);
/// Retry-After of a wake that was too slow: by then it is likely to be done.
const AFTER_WAKE: Duration = Duration::from_secs(5);

/// Why a request gets no answer from a sandbox.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The request breaks the contract of headers, host or HTTP itself.
    #[error("{0}")]
    Malformed(&'static str),
    /// Where the request ends can be read in two ways.
    #[error("{0}")]
    Framing(&'static str),
    /// The request's head has more fields than are taken.
    #[error("more than {0} header fields")]
    TooManyFields(usize),
    /// What came is no request of HTTP/1.1.
    #[error("{0}")]
    Http1(reveille_http1::Fault),
    /// The request asks for something that this proxy does not do.
    #[error("{0}")]
    NotImplemented(&'static str),
    /// Valid, and addressed to the proxy, which refuses the method.
    #[error("{0}")]
    MethodNotAllowed(&'static str),
    /// A web page that has no business with the sandbox; the text says what would let it in.
    #[error("{0}")]
    ForeignPage(Cow<'static, str>),
    /// No such sandbox, or not with that UID.
    #[error("sandbox not found: {0}")]
    NotFound(SandboxKey),
    /// Too many connections are open.
    #[error("too many connections")]
    Connections,
    /// The lot or the wake said no.
    #[error("no endpoint for {0}: {1:?}")]
    Refused(SandboxKey, Refusal),
    /// The pod is there, its port refuses or nothing answers.
    #[error("could not connect to {0}: {1}")]
    Connect(SandboxKey, Cow<'static, str>),
    /// The connection died, or spoke nonsense, after the request was sent.
    #[error("the exchange with {0} failed: {1}")]
    Exchange(SandboxKey, String),
    /// It answered a WebSocket as any other request, where the client can be told only that it is open.
    #[error("{0} answered a WebSocket with {1} instead of switching protocols")]
    NoSwitch(SandboxKey, StatusCode),
    /// No response head in time.
    #[error("no response from {0} within {1:?}")]
    NoResponse(SandboxKey, Duration),
    /// The time that the client gave is over.
    #[error("{key} took longer than the {waited:?} that the client waited: {}", awaited.as_str())]
    OutOfTime {
        key: SandboxKey,
        waited: Duration,
        awaited: Awaited,
    },
    /// The sandbox does not read the request's body.
    #[error("{0} has not read on in the request's body for {1:?}")]
    NotReading(SandboxKey, Duration),
    /// The client does not send on in its body.
    #[error("the client sent nothing of its body for {0:?}")]
    Stalled(Duration),
    /// The request's body ended early or was malformed.
    #[error("the request body failed: {0}")]
    RequestBody(String),
    /// This process lacks something: file descriptors, local ports.
    #[error("local resources: {0}")]
    Exhausted(std::io::Error),
    /// This process ends before the sandbox has answered.
    #[error("shutting down")]
    ShuttingDown,
    /// Nobody is left to answer.
    #[error("the client left")]
    ClientGone,
}

/// Whose fault it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The caller's.
    Client,
    /// The sandbox's, or of what wakes it.
    Sandbox,
    /// This process's.
    Ours,
}

impl Error {
    /// Fixed label for metrics and logs, CamelCase; no value a stranger sends becomes one.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "Malformed",
            Self::Framing(_) => "Framing",
            Self::TooManyFields(_) | Self::Http1(TooManyFields | TooLong) => "TooManyFields",
            Self::Http1(Head(_)) => "Malformed",
            Self::Http1(Coding) => "NotImplemented",
            Self::Http1(Ambiguous(_) | Chunk(_) | Truncated) => "Framing",
            Self::NotImplemented(_) => "NotImplemented",
            Self::MethodNotAllowed(_) => "MethodNotAllowed",
            Self::ForeignPage(_) => "ForeignPage",
            Self::NotFound(_) => "NotFound",
            Self::Connections => "TooManyConnections",
            Self::Refused(_, refusal) => refusal.kind(),
            Self::Connect(..) => "ConnectFailed",
            Self::Exchange(..) => "ExchangeFailed",
            Self::NoSwitch(..) => "NoSwitch",
            Self::NoResponse(..) => "NoResponse",
            Self::OutOfTime { .. } => "WaitExpired",
            Self::NotReading(..) => "NotReading",
            Self::Stalled(_) => "Stalled",
            Self::RequestBody(_) => "RequestBody",
            Self::Exhausted(_) => "Exhausted",
            Self::ShuttingDown => "ShuttingDown",
            Self::ClientGone => "ClientGone",
        }
    }

    /// Whose fault it was.
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Malformed(_)
            | Self::Framing(_)
            | Self::TooManyFields(_)
            | Self::Http1(_)
            | Self::NotImplemented(_)
            | Self::MethodNotAllowed(_)
            | Self::ForeignPage(_)
            | Self::NotFound(_)
            | Self::RequestBody(_)
            | Self::Stalled(_)
            | Self::ClientGone => Fault::Client,
            Self::Connect(..)
            | Self::Exchange(..)
            | Self::NoSwitch(..)
            | Self::NoResponse(..)
            | Self::OutOfTime { .. }
            | Self::NotReading(..) => Fault::Sandbox,
            Self::Connections | Self::Exhausted(_) | Self::ShuttingDown => Fault::Ours,
            Self::Refused(_, refusal) => match refusal {
                Refusal::ShuttingDown | Refusal::TotalFull => Fault::Ours,
                Refusal::LotFull | Refusal::Throttled { .. } => Fault::Client,
                _ => Fault::Sandbox,
            },
        }
    }

    /// The status of the response.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_)
            | Self::Framing(_)
            | Self::Http1(Head(_) | Ambiguous(_) | Chunk(_) | Truncated)
            | Self::RequestBody(_)
            | Self::ClientGone => StatusCode::BAD_REQUEST,
            Self::TooManyFields(_) | Self::Http1(TooManyFields | TooLong) => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::Http1(Coding) | Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::ForeignPage(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Connections | Self::Exhausted(_) | Self::ShuttingDown => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Connect(..) | Self::Exchange(..) | Self::NoSwitch(..) => StatusCode::BAD_GATEWAY,
            Self::NoResponse(..) | Self::OutOfTime { .. } | Self::NotReading(..) => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::Stalled(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Refused(_, refusal) => match refusal {
                Refusal::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
                Refusal::Expired { .. } => StatusCode::GATEWAY_TIMEOUT,
                Refusal::Gone | Refusal::PortNotDeclared { .. } => StatusCode::NOT_FOUND,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            },
        }
    }

    /// One CamelCase word for programs: the scaler's where it gave one, else [`Error::kind`].
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Refused(
                _,
                Refusal::Refused { reason, .. }
                | Refusal::Failed { reason, .. }
                | Refusal::Delayed { reason, .. }
                | Refusal::Blocked { reason, .. },
            )
            | Self::OutOfTime {
                awaited: Awaited::Delayed { reason, .. },
                ..
            } => reason,
            _ => self.kind(),
        }
    }

    /// The sentence the client reads. Texts that upstream's router has are upstream's.
    pub(crate) fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Malformed(text)
            | Self::Framing(text)
            | Self::NotImplemented(text)
            | Self::MethodNotAllowed(text) => Cow::Borrowed(text),
            Self::Http1(fault) => Cow::Owned(format!("This is not valid HTTP/1.1: {fault}.")),
            Self::TooManyFields(most) => Cow::Owned(format!(
                "The request has more than {most} header fields; send fewer."
            )),
            Self::ForeignPage(why) => why.clone(),
            Self::NotFound(key) => Cow::Owned(format!("Sandbox not found: {}", key.name())),
            Self::Connections => Cow::Borrowed("Too many connections are open."),
            Self::Connect(key, _) => could_not_connect(key),
            Self::Exchange(key, _) => Cow::Owned(format!(
                "The backend sandbox closed the connection without an answer: {}",
                key.name()
            )),
            Self::NoSwitch(key, status) => Cow::Owned(format!(
                "The backend sandbox does not speak WebSocket here, it answered with {}: {}",
                status.as_u16(),
                key.name()
            )),
            Self::NoResponse(key, limit) => timed_out(
                key,
                &format!(
                    "it has had the whole request for {} and has not answered",
                    seconds(*limit)
                ),
            ),
            Self::OutOfTime {
                key,
                waited,
                awaited,
            } => {
                let after = format!("after {}", seconds(*waited));
                match awaited.as_str() {
                    "" => timed_out(key, &after),
                    awaited => timed_out(key, &format!("{after}: {awaited}")),
                }
            }
            Self::NotReading(key, limit) => timed_out(
                key,
                &format!(
                    "it has not read on in the request's body for {}",
                    seconds(*limit)
                ),
            ),
            Self::Stalled(limit) => Cow::Owned(format!(
                "Nothing more of the request's body came for {}.",
                seconds(*limit)
            )),
            Self::RequestBody(_) => Cow::Borrowed("The request body is incomplete or malformed."),
            Self::Exhausted(_) => Cow::Borrowed("The proxy is out of local resources."),
            Self::ShuttingDown => Cow::Borrowed(
                "The proxy is shutting down, and the sandbox has not answered yet; it may have the request.",
            ),
            Self::ClientGone => Cow::Borrowed("The client left."),
            Self::Refused(key, refusal) => refusal_detail(key, refusal),
        }
    }

    /// What a log says of it after the name of the sandbox: the sentence of the client, or more where it
    /// is not for strangers.
    pub(crate) fn cause(&self) -> Cow<'static, str> {
        match self {
            Self::Connect(_, why) => Cow::Owned(format!("could not connect, {why}")),
            Self::Exchange(_, why) => Cow::Owned(format!("the exchange broke off, {why}")),
            Self::NoResponse(_, limit) => {
                Cow::Owned(format!("no response headers within {} s", limit.as_secs()))
            }
            Self::Exhausted(error) => Cow::Owned(format!(
                "this machine has no room for one more connection, {error}"
            )),
            _ => self.detail(),
        }
    }

    /// When asking again may help.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Connections | Self::Exhausted(_) => Some(SOON),
            Self::OutOfTime { awaited, .. } => match awaited {
                Awaited::Wake(_)
                | Awaited::Delayed { .. }
                | Awaited::Connection
                | Awaited::Port => Some(AFTER_WAKE),
                Awaited::Body | Awaited::Answer => None,
            },
            Self::Refused(_, refusal) => match refusal {
                Refusal::LotFull | Refusal::TotalFull | Refusal::ShuttingDown => Some(SOON),
                Refusal::Throttled { retry_after } | Refusal::StillWaking { retry_after, .. } => {
                    Some(*retry_after)
                }
                Refusal::Expired { .. } | Refusal::Delayed { .. } | Refusal::Unanswered => {
                    Some(AFTER_WAKE)
                }
                Refusal::Refused {
                    reason,
                    retry_after,
                    ..
                }
                | Refusal::Failed {
                    reason,
                    retry_after,
                    ..
                } => retry_after.filter(|_| fault::waiting_helps(reason)),
                Refusal::Blocked { .. } | Refusal::Gone | Refusal::PortNotDeclared { .. } => None,
            },
            _ => None,
        }
    }
}

fn refusal_detail(key: &SandboxKey, refusal: &Refusal) -> Cow<'static, str> {
    match refusal {
        Refusal::LotFull => Cow::Owned(format!(
            "Too many requests are waiting for the sandbox: {}",
            key.name()
        )),
        Refusal::TotalFull => Cow::Borrowed("Too many requests are waiting for sandboxes."),
        Refusal::Throttled { .. } => {
            Cow::Borrowed("Too many wakes were asked for; try again later.")
        }
        Refusal::Expired { stage, .. } => timed_out(key, stage),
        Refusal::StillWaking { stage, trouble, .. } => {
            let name = key.name();
            let (colon, trouble) = trouble
                .as_deref()
                .map_or(("", ""), |trouble| (": ", trouble));
            Cow::Owned(format!(
                "The backend sandbox is still starting: {name} ({stage}{colon}{trouble})"
            ))
        }
        Refusal::Unanswered => Cow::Owned(format!(
            "No scaler has answered the wake of the backend sandbox: {}",
            key.name()
        )),
        Refusal::Refused { message, .. }
        | Refusal::Failed { message, .. }
        | Refusal::Delayed { message, .. }
        | Refusal::Blocked { message, .. } => Cow::Owned(message.to_string()),
        Refusal::Gone => Cow::Owned(format!("Sandbox not found: {}", key.name())),
        Refusal::PortNotDeclared { port, declared } => no_such_port(key, *port, declared),
        Refusal::ShuttingDown => Cow::Borrowed("The proxy is shutting down."),
    }
}

fn no_such_port(key: &SandboxKey, port: u16, declared: &[u16]) -> Cow<'static, str> {
    let has = match declared {
        [] => "declares none".to_owned(),
        declared => {
            let all: Vec<String> = declared.iter().map(u16::to_string).collect();
            format!("declares {}", all.join(", "))
        }
    };
    Cow::Owned(format!(
        "The sandbox {} has no port {port}; it {has}. Ask for another, or add it to the ports of its containers.",
        key.name()
    ))
}

fn could_not_connect(key: &SandboxKey) -> Cow<'static, str> {
    Cow::Owned(format!(
        "Could not connect to the backend sandbox: {}",
        key.name()
    ))
}

/// Upstream's text; what was waited for stands behind it, for a person.
fn timed_out(key: &SandboxKey, awaited: &str) -> Cow<'static, str> {
    let text = format!("Timed out waiting for the backend sandbox: {}", key.name());
    Cow::Owned(match awaited {
        "" => text,
        awaited => format!("{text} ({awaited})"),
    })
}

/// `300 s`, `0.25 s`.
fn seconds(duration: Duration) -> String {
    let hundredths = (duration.as_secs_f64() * 100.0).round() / 100.0;
    format!("{hundredths} s")
}
