//! A socket for who reads and writes a stream of bytes: a tunnel, or the library for HTTP/2.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use nix::sys::socket::{Shutdown, shutdown};
use std::os::fd::AsRawFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// The socket, and the bytes that were read from it already.
pub(crate) struct Socket {
    stream: Arc<TcpStream>,
    unread: Bytes,
}

impl Socket {
    pub(crate) fn new(stream: Arc<TcpStream>, unread: Bytes) -> Self {
        Self { stream, unread }
    }

    /// For who may have to break it off.
    pub(crate) fn abort(&self) -> Abort {
        Abort(Arc::clone(&self.stream))
    }
}

/// Has the end of a connection be a reset: its other side is not to take it for a regular one.
pub(crate) struct Abort(Arc<TcpStream>);

impl Abort {
    /// The connection ends so, whenever it does.
    pub(crate) fn set(&self) {
        // One that has ended already cannot.
        let _ = self.0.set_zero_linger();
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let length = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread.split_to(length));
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match read_ready(&self.stream, buf) {
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
        Poll::Ready(hang_up(&self.stream))
    }
}

impl Socket {
    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }
}

/// Says that nothing more will be sent.
///
/// # Errors
/// If the connection failed.
pub(crate) fn hang_up(stream: &TcpStream) -> io::Result<()> {
    match shutdown(stream.as_raw_fd(), Shutdown::Write) {
        Ok(()) | Err(nix::errno::Errno::ENOTCONN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
