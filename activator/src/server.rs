//! The listener: one task per connection, a limit on how many, and an orderly end.
//!
//! Past the limit a connection is told 503 at once and closed; waiting in the kernel's queue would tell
//! the client nothing, and would hide a proxy that is full from whoever balances over several.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::Activator;
use crate::error::Error;
use crate::proxy::Proxy;
use crate::rescue;
use crate::sparing::{self, Line};
use crate::tunnel;

mod client;
mod connection;
mod http1;
mod socket;
mod tasks;
mod tether;

pub(crate) use client::{Client, Serving};
pub(crate) use tasks::Tasks;
pub(crate) use tether::{Mover, Tether};

/// Pause after an accept that failed for want of file descriptors: the next one would fail as well.
const OUT_OF_FILES: Duration = Duration::from_millis(50);
/// How long a client may take to read what it is told last.
pub(crate) const HEARING: Duration = Duration::from_secs(60);
/// Refused connections that are seen off at a time; each costs a task for [`socket::LINGER`]. More than
/// that are dropped without a word.
const SEEN_OFF: usize = 256;

/// Serves until `shutdown`, then stops accepting and lets connections finish within `config.grace`.
///
/// # Errors
/// If the listener fails for good.
pub(crate) async fn serve(
    listener: TcpListener,
    activator: Arc<Activator>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let grace = activator.config.grace;
    let limit = activator.config.connections;
    let proxy = Arc::new(Proxy::new(activator));
    let mut connections = JoinSet::new();
    let mut refused = JoinSet::new();
    let upstream = Arc::clone(proxy.upstream());
    let mut beside = JoinSet::new();
    beside.spawn(async move { upstream.sweep().await });
    loop {
        // Shutdown first: nothing is waited for after it. Ended tasks before new ones, so that the count
        // is the true one.
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            Some(_) = refused.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) if connections.len() < limit => {
                connections.spawn(connection::serve(
                    stream,
                    peer,
                    Arc::clone(&proxy),
                    shutdown.child_token(),
                ));
            }
            Ok((stream, _)) if refused.len() < SEEN_OFF => {
                refused.spawn(refuse(stream));
            }
            Ok(_) => {}
            Err(error) => on_accept_error(error).await?,
        }
    }
    // Clients whose connections the kernel has taken already would be reset by closing the listener.
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        if connections.len() < limit {
            connections.spawn(connection::serve(
                stream,
                peer,
                Arc::clone(&proxy),
                shutdown.child_token(),
            ));
        }
    }
    drop(listener);
    finish(&proxy, connections, grace).await;
    refused.shutdown().await;
    beside.shutdown().await;
    Ok(())
}

/// Waits for connections, streams and tunnels, at most for the grace. What is left near its end is asked to
/// say its last words, then cut.
async fn finish(proxy: &Proxy, mut connections: JoinSet<()>, grace: Duration) {
    let last_words = tunnel::LAST_WORDS.min(grace / 2);
    let undisturbed = grace.saturating_sub(last_words);
    let mut is_over = timeout(undisturbed, ended(proxy, &mut connections)).await;
    if is_over.is_err() {
        proxy.tasks().ask_to_leave();
        is_over = timeout(last_words, ended(proxy, &mut connections)).await;
    }
    if is_over.is_err() {
        let left = connections.len();
        warn!(
            connections = left,
            "the grace is over: cutting {left} connections"
        );
    }
    connections.shutdown().await;
    proxy.tasks().cut().await;
    proxy.upstream().close().await;
}

/// Waits for all. Cancel-safe.
async fn ended(proxy: &Proxy, connections: &mut JoinSet<()>) {
    while connections.join_next().await.is_some() {}
    proxy.tasks().finish().await;
}

/// # Errors
/// If it is the listener that is broken, not the connection that was about to be accepted.
async fn on_accept_error(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::Interrupted => {
            debug!(%error, "a connection ended before it was accepted");
            Ok(())
        }
        // EINVAL: it is no listener.
        io::ErrorKind::InvalidInput => Err(error),
        _ => {
            if let Some(Line { more, .. }) = sparing::line("AcceptFailed") {
                warn!(%error, "cannot accept connections, trying again{more}: {error}");
            }
            tokio::time::sleep(OUT_OF_FILES).await;
            Ok(())
        }
    }
}

/// Tells a connection past the limit why, and sees it off.
async fn refuse(stream: TcpStream) {
    let body = rescue::text(&Error::Connections);
    let response = [
        &b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: "[..],
        body.len().to_string().as_bytes(),
        b"\r\n\r\n",
        &body,
    ]
    .concat();
    // Some hundred bytes always fit into an empty send buffer.
    if stream.try_write(&response).is_ok() {
        socket::see_off(&stream).await;
    }
}

/// Settings of an accepted connection; a client that vanished is found out by the kernel.
fn tune(stream: &TcpStream, peer: SocketAddr) {
    let tuned = stream
        .set_nodelay(true)
        .and_then(|()| Ok(setsockopt(stream, sockopt::KeepAlive, &true)?))
        // 60 s of silence, then 5 probes 10 s apart.
        .and_then(|()| Ok(setsockopt(stream, sockopt::TcpKeepIdle, &60)?))
        .and_then(|()| Ok(setsockopt(stream, sockopt::TcpKeepInterval, &10)?))
        .and_then(|()| Ok(setsockopt(stream, sockopt::TcpKeepCount, &5)?));
    if let Err(error) = tuned {
        debug!(%peer, %error, "a connection could not be tuned");
    }
}
