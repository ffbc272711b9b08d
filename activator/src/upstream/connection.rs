//! One connection to a pod, from the pool or new, for the time of one exchange.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue, TE, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::broken::{Broken, Unanswered};
use super::http1::Http1;
use super::life::Living;
use super::shared::Shared;
use super::{Idle, Life, Name, Upstream};
use crate::body::{Progress, RequestBody};
use crate::metrics::Counted;
use crate::server::Tasks;
use crate::slot::Endpoint;
use crate::wire::Socket;

/// Bytes a pod may send on one h2 stream before its client takes them; on all streams of a connection
/// sixteen times that, so that one slow client does not starve the others.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Time to agree on HTTP/2: one exchange of SETTINGS with a process that has already accepted.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// Silence on an h2 connection with open streams after which the sandbox is asked whether it lives, and its
/// time to answer. The kernel finds out about nodes that died; this is about processes that hang for good.
/// Servers of gRPC close the connection of a client that asks more often than every five minutes while
/// nothing else is said (`too_many_pings`), and a server that works on one thread may be busy for long.
const PING_EVERY: Duration = Duration::from_secs(310);
const PING_WITHIN: Duration = Duration::from_secs(300);

/// One connection, for one exchange at a time.
pub(crate) struct Connection {
    pool: Arc<Upstream>,
    pod: Arc<str>,
    address: SocketAddr,
    sender: Sender,
    name: Name,
    life: Arc<Life>,
    /// How long it took to open; `None` if it was idle in the pool.
    opened_in: Option<Duration>,
    progress: Option<Arc<Progress>>,
    /// The content of an h2 response.
    incoming: Option<Incoming>,
}

impl Connection {
    /// One of the pool.
    pub(super) fn new(
        pool: &Arc<Upstream>,
        endpoint: &Endpoint,
        sender: Sender,
        name: Name,
        life: Arc<Life>,
    ) -> Self {
        let (pod, address) = (Arc::clone(&endpoint.pod), endpoint.address);
        Self {
            pool: Arc::clone(pool),
            pod,
            address,
            sender,
            name,
            life,
            opened_in: None,
            progress: None,
            incoming: None,
        }
    }

    /// It was opened for this exchange, which took so long.
    pub(super) fn opened(self, took: Duration) -> Self {
        Self {
            opened_in: Some(took),
            ..self
        }
    }

    /// How long it took to open; `None` if it came from the pool.
    pub(crate) fn opened_in(&self) -> Option<Duration> {
        self.opened_in
    }

    /// Where it ends.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The pod at the other end.
    pub(crate) fn pod(&self) -> &Arc<str> {
        &self.pod
    }

    /// The life of that pod, for what goes on after the connection left HTTP.
    pub(crate) fn life(&self) -> &Arc<Life> {
        &self.life
    }

    /// It left a request unanswered for too long: no further one gets it.
    pub(crate) fn retire(&self) {
        if let Sender::Http2(shared) = &self.sender {
            shared.retire();
        }
    }

    /// Sends one request and waits for the response's head. Dropping the future cuts the exchange.
    ///
    /// # Errors
    /// If the connection ends before there is one.
    pub(crate) async fn send(
        &mut self,
        mut request: Request<RequestBody>,
    ) -> Result<Response<()>, Unanswered> {
        self.progress = request.body().progress();
        match &mut self.sender {
            Sender::Http1(http1) => {
                self.name.address_http1(&mut request);
                http1.send(request).await
            }
            Sender::Http2(shared) => {
                self.name.address_http2(&mut request);
                let response = shared.sender().try_send_request(request).await?;
                let (parts, incoming) = response.into_parts();
                self.incoming = Some(incoming);
                Ok(Response::from_parts(parts, ()))
            }
        }
    }

    /// The next piece of the content of the response.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match (&mut self.sender, &mut self.incoming) {
            (Sender::Http1(http1), _) => http1.poll_frame(cx),
            (_, Some(incoming)) => Pin::new(incoming).poll_frame(cx).map_err(Broken::Http2),
            (_, None) => Poll::Ready(None),
        }
    }

    /// Whether there is no more of it.
    pub(crate) fn is_end_stream(&self) -> bool {
        match (&self.sender, &self.incoming) {
            (Sender::Http1(http1), _) => http1.is_end_stream(),
            (_, incoming) => incoming.as_ref().is_none_or(Body::is_end_stream),
        }
    }

    /// How much there is of it, where that is known.
    pub(crate) fn size_hint(&self) -> SizeHint {
        match (&self.sender, &self.incoming) {
            (Sender::Http1(http1), _) => http1.size_hint(),
            (_, Some(incoming)) => incoming.size_hint(),
            (_, None) => SizeHint::with_exact(0),
        }
    }

    /// The socket, once the sandbox has switched protocols on it; `None` of h2, where none does.
    pub(crate) fn into_socket(self) -> Option<Socket> {
        match self.sender {
            Sender::Http1(http1) => Some(http1.into_socket()),
            Sender::Http2(_) => None,
        }
    }

    /// Gives the connection back after a response that was read to its end.
    pub(crate) fn release(self) {
        if matches!(&self.sender, Sender::Http1(http1) if http1.is_free()) {
            let idle = Idle {
                address: self.address,
                since: Instant::now(),
                sender: self.sender,
                name: self.name,
            };
            self.pool.keep(&self.pod, idle);
        }
    }
}

impl From<TrySendError<Request<RequestBody>>> for Unanswered {
    fn from(mut error: TrySendError<Request<RequestBody>>) -> Self {
        Self {
            unsent: error.take_message().map(Box::new),
            error: Broken::Http2(error.into_error()),
        }
    }
}

pub(super) enum Sender {
    Http1(Box<Http1>),
    Http2(Shared),
}

impl Sender {
    /// Speaks HTTP/1.1 on a new stream, and counts for as long as it does.
    pub(super) fn http1(stream: TcpStream, life: &Arc<Life>, counted: Counted) -> Self {
        Self::Http1(Box::new(Http1::new(Arc::new(stream), life, counted)))
    }

    /// Speaks HTTP/2 on a new stream, in a task of `tasks`, and counts for as long as it does.
    pub(super) async fn http2<S>(
        stream: S,
        life: &Arc<Life>,
        tasks: &Tasks,
        counted: Counted,
    ) -> io::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        let living = Living::new(life, tasks);
        let mut builder = http2::Builder::new(living.clone());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(STREAM_WINDOW * 16)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_WITHIN);
        let (sender, connection) = timeout(HANDSHAKE, builder.handshake(io))
            .await?
            .map_err(io::Error::other)?;
        let shared = Shared::new(sender);
        living.spawn(log(shared.drive(connection), counted));
        Ok(Self::Http2(shared))
    }

    pub(super) fn is_closed(&mut self) -> bool {
        match self {
            Self::Http1(http1) => !http1.is_idle(),
            Self::Http2(shared) => shared.is_closed(),
        }
    }

    /// Whether many requests use it at a time.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// A further handle of a connection that many requests use at a time, if there is room for one.
    pub(super) fn join(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(shared) => shared.join().map(Self::Http2),
        }
    }

    pub(super) fn has_room(&self) -> bool {
        matches!(self, Self::Http2(shared) if !shared.is_closed() && shared.has_room())
    }
}

impl Name {
    /// A request that names the other end itself is left to it.
    fn address_http1<B>(&self, request: &mut Request<B>) {
        let path = request
            .uri()
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        if !headers.contains_key(HOST) {
            headers.insert(HOST, self.host.clone());
        }
        // Fields of this hop have to be named (RFC 9110 §7.6.1).
        if headers.contains_key(UPGRADE) {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        } else if headers.contains_key(TE) {
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
    }

    fn address_http2<B>(&self, request: &mut Request<B>) {
        let host = request.headers_mut().remove(HOST);
        let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(authority.unwrap_or_else(|| self.authority.clone()));
        if parts.path_and_query.is_none() {
            parts.path_and_query = Some(PathAndQuery::from_static("/"));
        }
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().remove(CONNECTION);
    }
}

async fn log(connection: impl Future<Output = hyper::Result<()>>, _counted: Counted) {
    if let Err(error) = connection.await {
        debug!(%error, "connection to a sandbox ended");
    }
}
