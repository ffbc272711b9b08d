//! A socket that HTTP/1.1 is spoken on, read and written by whoever serves its messages: no task and no buffer
//! of its own. What it holds is what was read and belongs to nobody yet.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use reveille_http1::Table;
use tokio::io::Interest;
use tokio::net::TcpStream;

mod head;
mod outbox;
mod reading;
mod socket;

pub(crate) use head::{fields_of, write_fields};
pub(crate) use outbox::{Coding, Outbox};
pub(crate) use reading::{Read, Reading};
pub(crate) use socket::{Abort, Socket, hang_up};

/// Bytes read at a time.
const READ: usize = 64 * 1024;

thread_local! {
    /// Every connection of a thread is read into this one: what is kept of it is copied out.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
    /// Where the fields of the head stand that is looked at.
    static TABLE: RefCell<Table> = RefCell::default();
}

/// One socket.
pub(crate) struct Wire {
    stream: Arc<TcpStream>,
    unread: BytesMut,
    has_ended: bool,
}

impl Wire {
    /// `unread` was read from it already.
    pub(crate) fn new(stream: Arc<TcpStream>, unread: &[u8]) -> Self {
        Self {
            stream,
            unread: BytesMut::from(unread),
            has_ended: false,
        }
    }

    pub(crate) fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// What was read and not taken.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Whether the other side will send no more than that.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Takes so many bytes of what was read.
    pub(crate) fn take(&mut self, length: usize) -> Bytes {
        let taken = self.unread.split_to(length).freeze();
        self.let_go();
        taken
    }

    /// Drops them.
    pub(crate) fn skip(&mut self, length: usize) {
        self.unread.advance(length);
        self.let_go();
    }

    /// A connection that waits holds no buffer.
    fn let_go(&mut self) {
        if self.unread.is_empty() {
            self.unread = BytesMut::new();
        }
    }

    /// Reads what has come, once; ready too when the other side has ended.
    ///
    /// # Errors
    /// If the connection failed.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_ended {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            if let Some(outcome) = self.read_now() {
                return Poll::Ready(outcome);
            }
        }
    }

    /// What it is once it has left HTTP.
    pub(crate) fn into_socket(self) -> Socket {
        Socket::new(self.stream, self.unread.freeze())
    }

    /// Whether the other side has neither said anything nor left without being asked. No system call where the runtime
    /// knows that there is nothing.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.unread.is_empty() && !self.has_ended && self.read_now().is_none()
    }

    /// `None` if there is nothing to read. A read that leaves room in the buffer has emptied the socket, so its
    /// readiness is cleared without a second call to be told so.
    fn read_now(&mut self) -> Option<io::Result<()>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut outcome = None;
            let _ = self.stream.try_io(Interest::READABLE, || {
                let read = self.stream.try_read(buffer);
                let is_short = matches!(read, Ok(length) if length > 0 && length < buffer.len());
                if !matches!(&read, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
                    outcome = Some(read);
                }
                if is_short || outcome.is_none() {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(())
            });
            outcome.map(|read| {
                let length = read?;
                self.has_ended = length == 0;
                self.unread.extend_from_slice(&buffer[..length]);
                Ok(())
            })
        })
    }
}

/// Runs `read` with room for the fields of one head.
pub(crate) fn with_table<T>(read: impl FnOnce(&mut Table) -> T) -> T {
    TABLE.with_borrow_mut(read)
}
