//! The client's end of a tunnel over h2: one stream of its connection.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::copy::{self, End, Ties};
use crate::server::Mover;

/// The stream. To the library one that its client has reset with CANCEL, as WebSocket over h2 says that a
/// connection broke (RFC 8441 §5), reads as one that has said all; here it reads as broken.
struct Stream {
    io: TokioIo<Upgraded>,
    sending: Arc<Sending>,
    has_said_all: bool,
}

/// Its way to the client, until that is over: all was said, or the stream was reset.
struct Sending(Mutex<Option<Mover>>);

/// Copies as for any tunnel, and ends the stream as the tunnel ends.
pub(super) async fn both_ways<S>(
    client: TokioIo<Upgraded>,
    mover: Mover,
    sandbox: S,
    ties: &Ties<'_>,
) where
    S: AsyncRead + AsyncWrite,
{
    let sending = Arc::new(Sending(Mutex::new(Some(mover))));
    let client = Stream {
        io: client,
        sending: Arc::clone(&sending),
        has_said_all: false,
    };
    let mut copying = pin!(copy::both_ways(client, sandbox, ties));
    let sent = async {
        sending.run().await;
        std::future::pending().await
    };
    let end = tokio::select! {
        biased;
        end = copying.as_mut() => end,
        () = sent => unreachable!("it is pending"),
    };
    if matches!(end, End::Broken | End::Unheard) {
        sending.break_off();
    }
}

impl Sending {
    /// Moves what was written, for as long as it is polled in the task of the tunnel.
    async fn run(&self) {
        std::future::poll_fn(|cx| self.poll_over(cx)).await;
    }

    /// Nothing more is sent: a stream that has not said all is reset when it is dropped after this.
    fn break_off(&self) {
        let _mover = self.0.lock().take();
    }

    fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut mover = self.0.lock();
        if let Some(moving) = mover.as_mut() {
            ready!(moving.as_mut().poll(cx));
        }
        *mover = None;
        Poll::Ready(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let is_end = buf.filled().len() == before && buf.remaining() > 0;
        // A reset ends the other direction as well, at the next look; whoever has said all lets it be.
        if is_end && !this.has_said_all && this.sending.poll_over(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.has_said_all = true;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}
