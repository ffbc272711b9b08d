//! One client connection from its first byte to its last.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Client;
use super::http1::{self, Ended};
use super::socket::{First, Speaks, see_off};
use super::tether::Streams;
use crate::body::{Body, FromClient};
use crate::metrics::Counted;
use crate::proxy::{Gone, Proxy};
use crate::wire::Socket;

/// How long a connection may be idle between requests: longer than the 60 s of common load balancers in
/// front, so that it is not this side that closes under a request on its way.
pub(super) const IDLE: Duration = Duration::from_secs(75);
/// Time for the client of an idle h2 connection to agree to its end, which takes one PING and its answer.
const FAREWELL: Duration = Duration::from_secs(10);
/// Time for bytes that are in the kernel to be told of, at a shutdown.
const ARRIVED: Duration = Duration::from_millis(100);
/// Requests one h2 connection may have open. Together with the windows it bounds what a connection can
/// make this process hold: 128 × 64 KiB = 8 MiB.
const STREAMS: u32 = 128;
/// Bytes of a body that a parked h2 request may send ahead.
const STREAM_WINDOW: u32 = 64 * 1024;
/// As much as all streams together may send ahead: parked uploads cannot starve the others.
const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;
/// Silence on an h2 connection after which the client is asked whether it lives, and its time to answer.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_WITHIN: Duration = Duration::from_secs(20);

/// Serves a connection to its end; after `shutdown` the requests it has are finished, and no more.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    proxy: Arc<Proxy>,
    shutdown: CancellationToken,
) {
    let _counted = Counted::on(&proxy.metrics().connections);
    super::tune(&stream, peer);
    let stream = Arc::new(stream);
    let client = Arc::new(Client::new(Arc::clone(&stream), peer));
    let mut first = First::default();
    let within = proxy.config().header_read_timeout;
    let Some(speaks) = first_bytes(&mut first, &stream, within, &shutdown).await else {
        return;
    };
    match speaks {
        Ok(Speaks::Http1) => match http1::serve(&client, first.bytes(), &proxy, &shutdown).await {
            Ended::Closed => see_off(&stream).await,
            Ended::Upgraded | Ended::Broken => {}
        },
        Ok(Speaks::Http2) => {
            let preface = Bytes::copy_from_slice(first.bytes());
            let socket = Socket::new(Arc::clone(&stream), preface);
            match serve_http2(socket, client, &proxy, &shutdown).await {
                Ok(()) => see_off(&stream).await,
                Err(error) => debug!(%peer, %error, "connection failed"),
            }
        }
        Err(error) => debug!(%peer, %error, "no request"),
    }
}

/// What the client speaks; `None` if it has said nothing by the time of the shutdown.
async fn first_bytes(
    first: &mut First,
    stream: &TcpStream,
    within: Duration,
    shutdown: &CancellationToken,
) -> Option<io::Result<Speaks>> {
    let mut detect = pin!(first.detect(stream, within));
    tokio::select! {
        biased;
        speaks = detect.as_mut() => Some(speaks),
        // Bytes that have arrived are a request in flight, but the runtime may not have told of them yet.
        () = shutdown.cancelled() => timeout(ARRIVED, detect).await.ok(),
    }
}

async fn serve_http2(
    socket: Socket,
    client: Arc<Client>,
    proxy: &Arc<Proxy>,
    shutdown: &CancellationToken,
) -> hyper::Result<()> {
    let proxy = Arc::clone(proxy);
    let builder = http2_builder(&proxy);
    let requests = Arc::clone(&client);
    let service = service_fn(move |request| {
        let (proxy, client) = (Arc::clone(&proxy), Arc::clone(&client));
        async move { answer(&proxy, &client, request).await }
    });
    let connection = builder.serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        outcome = connection.as_mut() => return outcome,
        () = shutdown.cancelled() => {}
        () = requests.idle_for(IDLE) => {}
    }
    // GOAWAY. A request that was on its way is still served; a client that says nothing at all is left.
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        outcome = connection.as_mut() => outcome,
        () = requests.idle_for(FAREWELL) => Ok(()),
    }
}

/// Begins a request. Not async, so that it counts as soon as its head is read.
fn answer<'a>(
    proxy: &'a Proxy,
    client: &'a Arc<Client>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Body>, Gone>> + use<'a> {
    let serving = Client::serving(client);
    proxy.serve(client, request.map(FromClient::Http2), serving)
}

fn http2_builder(proxy: &Proxy) -> http2::Builder<Streams> {
    let config = proxy.config();
    let mut builder = http2::Builder::new(Streams::new(proxy.tasks()));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(config.header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WITHIN)
        // WebSocket over h2 (RFC 8441).
        .enable_connect_protocol();
    builder
}
