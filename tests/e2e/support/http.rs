//! HTTP/1.1 as a client speaks it: one connection a request, nothing retried, nothing hidden.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::support::within;

/// Why there is no whole response.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A whole response.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// Status.
    pub(crate) status: StatusCode,
    /// Headers.
    pub(crate) headers: HeaderMap,
    /// Body.
    pub(crate) body: Bytes,
}

impl Reply {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// A header as text; empty where it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The reply itself, if it is 200.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{self:?}");
        self
    }
}

/// Sends a request and returns when the response's head is there.
pub(crate) async fn open<B>(
    address: SocketAddr,
    request: Request<B>,
) -> Result<Response<Incoming>, Failure>
where
    B: Body<Data: Send, Error: Into<Failure>> + Send + 'static,
{
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends when the response has been read or dropped.
    tokio::spawn(connection.with_upgrades());
    Ok(sender.send_request(request).await?)
}

/// Sends a request and reads the whole response.
pub(crate) async fn send<B>(address: SocketAddr, request: Request<B>) -> Result<Reply, Failure>
where
    B: Body<Data: Send, Error: Into<Failure>> + Send + 'static,
{
    let what = format!("{} {}", request.method(), request.uri());
    let exchange = async {
        let (head, body) = open(address, request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body,
        })
    };
    within(&what, exchange).await
}
