//! One HTTP/1.1 connection to the activator, the agent or the operator's API.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HOST;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Longest time any one request of a scenario may take: a wake's default deadline, and some.
const DEADLINE: Duration = Duration::from_secs(90);
/// How often the operator's API is asked whether a sandbox sleeps.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Microseconds up to the deadline, to three digits.
pub(crate) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_max(
        u64::try_from(DEADLINE.as_micros())?,
        3,
    )?)
}

/// Where a scenario sends its requests.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Place {
    /// The activator's listener.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) activator: SocketAddr,
    /// The operator's listener.
    #[arg(long, default_value = "127.0.0.1:9090")]
    pub(crate) admin: SocketAddr,
    /// The sandbox, as `namespace/name`.
    #[arg(long, default_value = "agents/alice")]
    pub(crate) sandbox: String,
    /// Path of the request.
    #[arg(long, default_value = "/")]
    pub(crate) path: String,
}

impl Place {
    /// A GET of the path, addressed to the sandbox by upstream's headers.
    pub(crate) fn request(&self) -> anyhow::Result<Request<Empty<Bytes>>> {
        let Some((namespace, name)) = self.sandbox.split_once('/') else {
            bail!("--sandbox takes namespace/name, not {:?}", self.sandbox)
        };
        Ok(Request::get(&self.path)
            .header(HOST, "loadtest")
            .header("x-sandbox-id", name)
            .header("x-sandbox-namespace", namespace)
            .body(Empty::new())?)
    }

    /// Puts the sandbox to sleep and waits until it is.
    pub(crate) async fn put_to_sleep(&self) -> anyhow::Result<()> {
        let path = format!("/v1/sandboxes/{}", self.sandbox);
        let mut admin = Client::connect(self.admin).await?;
        let begun = Instant::now();
        let mut asked = false;
        loop {
            let answer = admin
                .send(
                    Request::get(&path)
                        .header(HOST, "admin")
                        .body(Empty::new())?,
                )
                .await?;
            let state: serde_json::Value =
                serde_json::from_slice(&answer.body).context("state of the sandbox")?;
            match state["state"].as_str() {
                Some("asleep") => return Ok(()),
                _ if begun.elapsed() > DEADLINE => {
                    bail!("{} does not fall asleep: {state}", self.sandbox)
                }
                Some("awake") if !asked => {
                    let sleep = Request::post(format!("{path}/sleep"))
                        .header(HOST, "admin")
                        .body(Empty::new())?;
                    let answer = admin.send(sleep).await?;
                    asked = answer.status.is_success();
                }
                _ => {}
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

/// A whole response.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An open connection; requests go one after the other.
pub(crate) struct Client {
    sender: SendRequest<Empty<Bytes>>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = timeout(DEADLINE, TcpStream::connect(address))
            .await?
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends by itself when the sender is dropped or the peer closes; its errors reach the sender.
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    pub(crate) async fn send(&mut self, request: Request<Empty<Bytes>>) -> anyhow::Result<Answer> {
        timeout(DEADLINE, async {
            self.sender.ready().await?;
            let (head, body) = self.sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body,
            })
        })
        .await
        .context("no answer within the deadline")?
    }
}
