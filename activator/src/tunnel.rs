//! Connections that leave HTTP: `Upgrade` of HTTP/1.1, and WebSocket over h2 (RFC 8441), which is
//! translated to the former. Bytes are copied both ways for as long as the two ends want; there is no
//! timeout. What a silent tunnel loses is its say in keeping the sandbox awake. A WebSocket that ends with its
//! sandbox, or with this process, is told so by a close frame.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Uri, Version};
use hyper::ext::Protocol;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;
use tracing::debug;

use crate::body::Body;
use crate::error::Error;
use crate::headers;
use crate::metrics::Counted;
use crate::server::{Mover, Serving, Tasks, Tether};
use crate::slot::Activity;
use crate::upstream::Connection;
use crate::wire::Socket;

mod copy;
mod stream;
mod way;

/// Time for what this side ends to be told so.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(2);

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const WEBSOCKET_KEY: HeaderName = http::header::SEC_WEBSOCKET_KEY;
const WEBSOCKET_ACCEPT: HeaderName = http::header::SEC_WEBSOCKET_ACCEPT;

/// A client's wish to leave HTTP, and its end of the connection.
pub(crate) struct Switch {
    client: Leaving,
    offer: HeaderValue,
    /// Over h2: what moves the bytes to the client, once both ends have switched.
    mover: Option<oneshot::Receiver<Mover>>,
}

/// The client's end of a connection that is about to leave HTTP.
enum Leaving {
    Http1(Handover),
    Http2(OnUpgrade),
}

/// The same once it has left.
enum End {
    Http1(Socket),
    Http2(Upgraded),
}

/// How an HTTP/1.1 connection hands its socket to the tunnel, once its client was told so.
#[derive(Clone)]
pub(crate) struct Handover(Arc<Mutex<Option<oneshot::Receiver<Socket>>>>);

impl Handover {
    /// And the way to hand it over.
    pub(crate) fn new() -> (Self, oneshot::Sender<Socket>) {
        let (hand, handed) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(handed)))), hand)
    }

    async fn socket(self) -> Option<Socket> {
        let handed = self.0.lock().take();
        handed?.await.ok()
    }
}

/// Takes the wish out of a request's head.
///
/// # Errors
/// If it is for something that this proxy does not do: a plain CONNECT, or another protocol over h2.
pub(crate) fn wanted(parts: &mut Parts, tether: &Tether) -> Result<Option<Switch>, Error> {
    if parts.method == Method::CONNECT {
        let is_websocket = parts
            .extensions
            .get::<Protocol>()
            .is_some_and(|protocol| protocol.as_str() == "websocket");
        if !is_websocket {
            return Err(Error::NotImplemented(
                "CONNECT is supported for WebSocket over HTTP/2 only.",
            ));
        }
        let client = parts.extensions.remove::<OnUpgrade>();
        return Ok(client.map(|client| Switch {
            client: Leaving::Http2(client),
            offer: WEBSOCKET,
            mover: Some(tether.mover()),
        }));
    }
    let Some(offer) = headers::upgrade(parts) else {
        return Ok(None);
    };
    let client = parts.extensions.remove::<Handover>();
    Ok(client.map(|client| Switch {
        client: Leaving::Http1(client),
        offer,
        mover: None,
    }))
}

/// Rewrites an extended CONNECT into the request that an HTTP/1.1 server understands.
pub(crate) fn as_http1(parts: &mut Parts) {
    parts.method = Method::GET;
    parts.version = Version::HTTP_11;
    let path = parts
        .uri
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.uri = Uri::from(path);
    // The key proves to an HTTP/1.1 client that the server understood it; here that client is this proxy.
    parts.headers.insert(WEBSOCKET_KEY, key());
}

impl Switch {
    /// The value of `Upgrade`.
    pub(crate) fn offer(&self) -> HeaderValue {
        self.offer.clone()
    }

    pub(crate) fn is_over_h2(&self) -> bool {
        self.mover.is_some()
    }

    /// Answers the client, and copies bytes in a task once both ends have switched. The sandbox counts as
    /// active for as long as the tunnel moves bytes, and the client's connection is in use to its end. Once
    /// the pod is gone for good, the tunnel ends.
    pub(crate) fn run(
        self,
        response: Response<()>,
        activity: Activity,
        connection: Connection,
        serving: Serving,
        tunnels: &Gauge,
        tasks: &Tasks,
    ) -> Response<Body> {
        let (pod, life) = (Arc::clone(connection.pod()), Arc::clone(connection.life()));
        let protocol = response.headers().get(UPGRADE);
        let is_websocket = protocol.is_some_and(|protocol| {
            protocol
                .as_bytes()
                .eq_ignore_ascii_case(WEBSOCKET.as_bytes())
        });
        let leaving = tasks.leaving();
        let Self { client, mover, .. } = self;
        let is_over_h2 = mover.is_some();
        let sandbox = connection.into_socket();
        let counted = Counted::on(tunnels);
        tasks.spawn(async move {
            let _counted = counted;
            let Some(sandbox) = sandbox else {
                return debug!("the sandbox did not switch protocols");
            };
            let broken = sandbox.abort();
            let client = match client {
                Leaving::Http1(client) => client.socket().await.map(End::Http1),
                Leaving::Http2(client) => client.await.ok().map(End::Http2),
            };
            let Some(client) = client else {
                return debug!("the client did not switch protocols");
            };
            let mover = match mover {
                Some(mover) => mover.await.ok(),
                None => None,
            };
            let ties = copy::Ties {
                pulse: activity.pulse(),
                pod: &pod,
                life: &life,
                is_websocket,
                leaving,
                sandbox: Some(broken),
                can_reset: mover.is_some(),
            };
            match (client, mover) {
                (End::Http1(client), _) => {
                    if copy::both_ways(client, sandbox, &ties).await == copy::End::Unheard {
                        serving.client().reset();
                    }
                }
                (End::Http2(client), Some(mover)) => {
                    stream::both_ways(TokioIo::new(client), mover, sandbox, &ties).await;
                }
                (End::Http2(_), None) => debug!("the client's stream is gone"),
            }
        });
        let (mut parts, _) = response.into_parts();
        parts.extensions = http::Extensions::new();
        if is_over_h2 {
            as_http2(&mut parts);
        }
        Response::from_parts(parts, Body::empty())
    }
}

/// Rewrites the answer to a switch into that to an extended CONNECT.
fn as_http2(parts: &mut http::response::Parts) {
    parts.status = StatusCode::OK;
    for name in [
        UPGRADE,
        http::header::CONNECTION,
        WEBSOCKET_ACCEPT,
        CONTENT_LENGTH,
    ] {
        parts.headers.remove(name);
    }
}

/// Sixteen random bytes in base64 (RFC 6455 §4.1).
fn key() -> HeaderValue {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let random = uuid::Uuid::new_v4();
    let mut text = Vec::with_capacity(24);
    for chunk in random.as_bytes().chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for at in 0..4 {
            let is_padding = at > chunk.len();
            let index = (bits >> (18 - 6 * at)) & 63;
            text.push(if is_padding {
                b'='
            } else {
                ALPHABET[usize::try_from(index).unwrap_or(0)]
            });
        }
    }
    HeaderValue::from_bytes(&text).expect("base64 is a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_websocket_key_is_sixteen_bytes_in_base64() {
        let key = key();
        let text = key.to_str().unwrap();
        assert_eq!(text.len(), 24);
        assert!(text.ends_with("==") && !text[..22].contains('='), "{text}");
    }
}
