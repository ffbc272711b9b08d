//! Wakes by the scaler's HTTP API, for the time while the carrier is down.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use reveille_activator_core::view::{Denial, DenialKind};
use reveille_crds::SandboxKey;
use reveille_crds::message::Cause;
use tokio::net::TcpStream;

use crate::config::Config;

/// Most bytes read of an answer; a reason and a sentence fit well.
const LONGEST_ANSWER: usize = 16 * 1024;

/// The scaler's API.
#[derive(Clone, Debug)]
pub(crate) struct Fallback {
    authority: String,
    prefix: String,
    timeout: Duration,
}

/// How a call went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Called {
    /// The wake is under way.
    Accepted,
    /// The scaler said no.
    Denied(Denial),
    /// Nobody said anything that can be read.
    Unreachable,
}

impl Fallback {
    /// `None` if no API is configured, or its URL is not `http://host:port[/prefix]`.
    pub(crate) fn new(config: &Config) -> Option<Self> {
        let url = config.fallback_api.as_ref()?;
        let parsed = Self::parse(url, config.fallback_timeout);
        if parsed.is_none() {
            tracing::warn!(url, "fallback api ignored, write http://host:port");
        }
        parsed
    }

    fn parse(url: &str, timeout: Duration) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let authority = uri
            .authority()
            .filter(|_| uri.scheme_str() == Some("http"))?;
        Some(Self {
            authority: format!(
                "{}:{}",
                authority.host(),
                authority.port_u16().unwrap_or(80)
            ),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            timeout,
        })
    }

    /// Asks for a wake on behalf of so many parked requests.
    pub(crate) async fn wake(self, key: SandboxKey, waiting: usize) -> Called {
        match tokio::time::timeout(self.timeout, self.post(&key, waiting)).await {
            Ok(Some((status, retry_after, body))) => read(status, retry_after, &body),
            Ok(None) | Err(_) => Called::Unreachable,
        }
    }

    async fn post(
        &self,
        key: &SandboxKey,
        waiting: usize,
    ) -> Option<(StatusCode, Option<Duration>, Bytes)> {
        let body = serde_json::json!({"cause": Cause::Http, "waiting": waiting}).to_string();
        let path = format!(
            "{}/v1/sandboxes/{}/{}/wake",
            self.prefix,
            key.namespace(),
            key.name()
        );
        let request = Request::post(path)
            .header(http::header::HOST, &self.authority)
            .header(http::header::CONNECTION, "close")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .ok()?;
        let stream = TokioIo::new(TcpStream::connect(&self.authority).await.ok()?);
        let (mut sender, connection) = http1::handshake(stream).await.ok()?;
        let exchange = async move {
            let response = sender.send_request(request).await.ok()?;
            let status = response.status();
            let retry_after = retry_after(response.headers());
            let body = Limited::new(response.into_body(), LONGEST_ANSWER)
                .collect()
                .await
                .ok()?;
            Some((status, retry_after, body.to_bytes()))
        };
        let driver = async {
            // It may end in the very moment it hands over the answer; an exchange it leaves without one
            // fails by itself.
            drop(connection.await);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answer = exchange => answer,
            () = driver => None,
        }
    }
}

fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(http::header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

fn read(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Called {
    if status.is_success() {
        return Called::Accepted;
    }
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) else {
        return Called::Unreachable;
    };
    let text = |name: &str| json.get(name).and_then(serde_json::Value::as_str);
    let Some(reason) = text("reason") else {
        return Called::Unreachable;
    };
    let kind = if status.is_server_error() {
        DenialKind::Failed
    } else {
        DenialKind::Refused
    };
    Called::Denied(Denial {
        kind,
        reason: reason.into(),
        message: text("message")
            .unwrap_or("the scaler did not say why")
            .into(),
        retry_after,
    })
}
