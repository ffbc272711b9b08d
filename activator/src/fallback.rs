//! Wakes by the scalers' HTTP API, for the time while the carrier is down.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
/// Time for one connection attempt: two resent SYNs would leave the next scaler no time.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// Reason of a scaler that cannot take the request now.
const OVERLOADED: &str = "Unavailable";

/// How often each URL is tried for one wake: behind one of them may be several scalers, and one that died
/// is still tried for a moment.
const TRIES: usize = 2;

/// The API of all scalers. Any of them can wake any sandbox, so they are asked in turn until one answers,
/// beginning with the one that answered last.
#[derive(Clone, Debug)]
pub(crate) struct Fallback {
    apis: Arc<[Api]>,
    latest: Arc<AtomicUsize>,
    timeout: Duration,
}

#[derive(Debug)]
struct Api {
    authority: String,
    prefix: String,
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
    /// Nothing to go by: somebody may still answer another way, or better.
    InVain,
}

impl Fallback {
    /// `None` if no API is configured, or none of the URLs is `http://host:port[/prefix]`.
    pub(crate) fn new(config: &Config) -> Option<Self> {
        let parse = |url: &String| {
            let api = Api::parse(url);
            if api.is_none() {
                tracing::warn!(
                    url,
                    "{url:?} is no address of a scaler's API and is passed over: write http://host:port"
                );
            }
            api
        };
        let apis: Arc<[Api]> = config.fallback_apis.iter().filter_map(parse).collect();
        (!apis.is_empty()).then(|| Self {
            apis,
            latest: Arc::default(),
            timeout: config.fallback_timeout,
        })
    }

    /// Asks for a wake on behalf of so many parked requests.
    pub(crate) async fn wake(self, key: SandboxKey, waiting: usize) -> Called {
        let first = self.latest.load(Ordering::Relaxed);
        let mut called = Called::Unreachable;
        for turn in 0..self.apis.len() * TRIES {
            let number = (first + turn) % self.apis.len();
            let call = self.apis[number].post(&key, waiting);
            let Ok(Some((status, retry_after, body))) =
                tokio::time::timeout(self.timeout, call).await
            else {
                continue;
            };
            match read(status, retry_after, &body) {
                Called::Unreachable => {}
                Called::InVain => called = Called::InVain,
                answer => {
                    self.latest.store(number, Ordering::Relaxed);
                    return answer;
                }
            }
        }
        called
    }
}

impl Api {
    fn parse(url: &str) -> Option<Self> {
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
        })
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
        let stream = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(&self.authority));
        let stream = TokioIo::new(stream.await.ok()?.ok()?);
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
    // The first says that this scaler has not heard of a sandbox that is known here, the second that it has
    // too much to do: neither is about the sandbox.
    if status == StatusCode::NOT_FOUND || reason == OVERLOADED {
        return Called::InVain;
    }
    let kind = if status.is_server_error() {
        DenialKind::Failed
    } else {
        DenialKind::Refused
    };
    Called::Denied(Denial {
        kind,
        reason: reason.into(),
        // Scalers before 0.1.1 said `message`.
        message: text("detail")
            .or_else(|| text("message"))
            .unwrap_or("the scaler did not say why")
            .into(),
        retry_after,
    })
}
