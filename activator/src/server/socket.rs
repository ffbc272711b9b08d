//! A client's socket: what it speaks, and how the library for HTTP/2 reads and writes it.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::sys::socket::{self, Shutdown as Side};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Client;

/// How long a closed connection is read to its end, so that the kernel does not answer unread bytes with
/// a reset that overtakes the response.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// First bytes of a client that speaks HTTP/2 by prior knowledge (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The socket as the library for HTTP/2 sees it.
pub(super) struct Socket {
    client: Arc<Client>,
    /// Read while finding out which HTTP this is.
    early: [u8; PREFACE.len()],
    early_at: usize,
    early_end: usize,
    /// Time for them.
    first_within: Duration,
}

/// The HTTP that a client begins to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http1,
    Http2,
}

impl Socket {
    pub(super) fn new(client: Arc<Client>, first_within: Duration) -> Self {
        let early = [0; PREFACE.len()];
        Self {
            client,
            early,
            early_at: 0,
            early_end: 0,
            first_within,
        }
    }

    /// Reads just enough to know which HTTP the client speaks; the library will read it again.
    ///
    /// # Errors
    /// If the client leaves first, or says nothing in time.
    pub(super) async fn detect(&mut self) -> io::Result<Speaks> {
        let stream = Arc::clone(self.client.stream());
        let detect = async {
            loop {
                stream.readable().await?;
                match stream.try_read(&mut self.early[self.early_end..]) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(read) => self.early_end += read,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error),
                }
                let so_far = &self.early[..self.early_end];
                if !PREFACE.starts_with(so_far) {
                    return Ok(Speaks::Http1);
                }
                if so_far.len() == PREFACE.len() {
                    return Ok(Speaks::Http2);
                }
            }
        };
        timeout(self.first_within, detect).await?
    }

    /// What was read to find out.
    pub(super) fn early(&self) -> &[u8] {
        &self.early[self.early_at..self.early_end]
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.early_at < this.early_end {
            let early = &this.early[this.early_at..this.early_end];
            let taken = early.len().min(buf.remaining());
            buf.put_slice(&early[..taken]);
            this.early_at += taken;
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(this.client.stream().poll_read_ready(cx))?;
            match read_ready(this.client.stream(), buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }
}

/// Reads what is there. A read that leaves room in the buffer has emptied the socket, so readiness is
/// cleared without a second system call to be told so.
fn read_ready(stream: &TcpStream, buf: &mut ReadBuf<'_>) -> io::Result<()> {
    let mut outcome = Ok(());
    let _ = stream.try_io(Interest::READABLE, || match stream.try_read_buf(buf) {
        Ok(read) if read > 0 && buf.remaining() > 0 => Err(io::ErrorKind::WouldBlock.into()),
        Ok(_) => Ok(()),
        Err(error) => {
            outcome = Err(error);
            Err(io::ErrorKind::WouldBlock.into())
        }
    });
    outcome
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |stream| stream.try_write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |stream| stream.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(hang_up(self.client.stream()))
    }
}

impl Socket {
    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let stream = self.client.stream();
        loop {
            ready!(stream.poll_write_ready(cx))?;
            match write(stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }
}

/// Says that nothing more will be sent.
fn hang_up(stream: &TcpStream) -> io::Result<()> {
    match socket::shutdown(stream.as_raw_fd(), Side::Write) {
        Ok(()) | Err(nix::errno::Errno::ENOTCONN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Hangs up and reads what the client still sends, for a while, so that it gets to read the response.
pub(super) async fn see_off(stream: &TcpStream) {
    if hang_up(stream).is_err() {
        return;
    }
    let drain = async {
        let mut sink = [0; 4096];
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut sink) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    let _ = timeout(LINGER, drain).await;
}
