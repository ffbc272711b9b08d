//! One GET, with a deadline, and the ways it can fail.

use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde::Deserialize;

/// For an answer, or for the headers of one that goes on (a watch). A server under load queues a request
/// for up to a quarter of this; one that says nothing for so long is away.
const DEADLINE: Duration = Duration::from_secs(30);

/// Of a Status that cannot be read, what is shown to a person.
const EXCERPT: usize = 200;

/// How a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The API server answered, and said no.
    #[error("the API server answers {code}: {message}")]
    Refused {
        /// HTTP status.
        code: u16,
        /// For a person.
        message: String,
    },
    /// No answer within a deadline.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// No connection, or one that died.
    #[error("{0}")]
    Unreachable(String),
    /// An answer that is none.
    #[error("the answer cannot be read: {0}")]
    Garbled(String),
    /// A watch that the server ended with an error.
    #[error("the API server broke the watch off: {0}")]
    Broken(String),
}

impl Failure {
    /// The HTTP status, where there was one.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// What an event of type ERROR says. Only "gone" is an everyday one.
    pub(crate) fn of_event(object: &str) -> Result<Self, Self> {
        let status: Status = serde_json::from_str(object)?;
        Ok(match status.code {
            410 => status.into(),
            _ => Self::Broken(status.text()),
        })
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Garbled(error.to_string())
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        Self::Unreachable(chain(&error))
    }
}

/// What a server says when it says no.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
    message: String,
    /// One word.
    reason: String,
}

impl Status {
    fn text(self) -> String {
        if self.message.is_empty() {
            self.reason
        } else {
            self.message
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refused {
            code: status.code,
            message: status.text(),
        }
    }
}

/// The text at `path`.
pub(crate) async fn text(client: &kube::Client, path: &str) -> Result<String, Failure> {
    let request = Request::get(path)
        .body(Vec::new())
        .map_err(|error| Failure::Garbled(error.to_string()))?;
    whole(client, request).await
}

/// A whole answer.
pub(crate) async fn whole(
    client: &kube::Client,
    request: Request<Vec<u8>>,
) -> Result<String, Failure> {
    let answer = async { collect(begin(client, request).await?).await };
    within(answer).await
}

/// An answer whose body goes on for as long as the server likes.
pub(crate) async fn open(
    client: &kube::Client,
    request: Request<Vec<u8>>,
) -> Result<Body, Failure> {
    within(async { Ok(begin(client, request).await?.into_body()) }).await
}

async fn within<T>(answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = |_| Failure::Late(DEADLINE);
    tokio::time::timeout(DEADLINE, answer).await.map_err(late)?
}

async fn begin(
    client: &kube::Client,
    request: Request<Vec<u8>>,
) -> Result<Response<Body>, Failure> {
    let response = client.send(request.map(Body::from)).await?;
    if response.status().is_success() {
        return Ok(response);
    }
    let code = response.status().as_u16();
    let text = collect(response).await?;
    let told: Status = serde_json::from_str(&text).unwrap_or_else(|_| Status {
        message: text.chars().take(EXCERPT).collect(),
        ..Status::default()
    });
    Err(Status { code, ..told }.into())
}

async fn collect(response: Response<Body>) -> Result<String, Failure> {
    let body = response.into_body().collect().await?.to_bytes();
    String::from_utf8(body.into()).map_err(|error| Failure::Garbled(error.to_string()))
}

/// An error with its causes: the outermost of a client says only that it failed.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}
