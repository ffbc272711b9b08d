//! What is to be written to a socket: a head, or the framing of a piece of content, and the piece itself.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::Frame;
use tokio::net::TcpStream;

use super::head::{may_trail, write_fields};

/// How content is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As it is: its length was said before, or the end of the connection is its end.
    Plain,
    /// In chunks.
    Chunked,
}

/// Bytes on their way out. What is written goes in one call where the socket takes it.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    head: Vec<u8>,
    /// So many bytes of the head were written.
    head_at: usize,
    data: Bytes,
    tail: &'static [u8],
    /// So many bytes were written in all.
    written: u64,
}

impl Outbox {
    /// Where a head is written to, in front of the first piece of its content.
    pub(crate) fn head(&mut self) -> &mut Vec<u8> {
        debug_assert!(
            self.data.is_empty() && self.tail.is_empty(),
            "content goes first"
        );
        &mut self.head
    }

    /// So many bytes were written in all.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Whether there is room for a piece of content.
    pub(crate) fn takes_content(&self) -> bool {
        self.data.is_empty() && self.tail.is_empty()
    }

    /// Whether all of it was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.len() == self.head_at && self.data.is_empty() && self.tail.is_empty()
    }

    /// Puts in a piece of content, which is the last one if `is_last`. All content before it was written.
    pub(crate) fn put(&mut self, frame: Frame<Bytes>, coding: Coding, is_last: bool) {
        let frame = match frame.into_data() {
            Ok(data) => return self.put_data(data, coding, is_last),
            Err(frame) => frame,
        };
        if let Ok(trailers) = frame.into_trailers()
            && coding == Coding::Chunked
        {
            let mut trailers = trailers;
            let doomed: Vec<_> = trailers
                .keys()
                .filter(|name| !may_trail(name))
                .cloned()
                .collect();
            for name in doomed {
                trailers.remove(name);
            }
            self.head().extend_from_slice(b"0\r\n");
            write_fields(&trailers, self.head());
            self.head().extend_from_slice(b"\r\n");
        }
    }

    /// The content is over; nothing of it was left.
    pub(crate) fn end(&mut self, coding: Coding) {
        if coding == Coding::Chunked {
            self.head()
                .extend_from_slice(reveille_http1::write::LAST_CHUNK);
        }
    }

    fn put_data(&mut self, data: Bytes, coding: Coding, is_last: bool) {
        if coding == Coding::Plain {
            self.data = data;
            return;
        }
        if !data.is_empty() {
            reveille_http1::write::chunk_size(data.len(), self.head());
            self.data = data;
            self.tail = if is_last { b"\r\n0\r\n\r\n" } else { b"\r\n" };
        } else if is_last {
            self.end(coding);
        }
    }

    /// Writes until all is written.
    ///
    /// # Errors
    /// If the connection failed.
    pub(crate) fn poll_flush(
        &mut self,
        stream: &TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            ready!(stream.poll_write_ready(cx))?;
            let parts = [
                IoSlice::new(&self.head[self.head_at..]),
                IoSlice::new(&self.data),
                IoSlice::new(self.tail),
            ];
            let outcome = if self.data.is_empty() && self.tail.is_empty() {
                stream.try_write(&self.head[self.head_at..])
            } else {
                stream.try_write_vectored(&parts)
            };
            match outcome {
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        self.written += written as u64;
        let of_head = written.min(self.head.len() - self.head_at);
        self.head_at += of_head;
        let of_data = (written - of_head).min(self.data.len());
        self.data.advance(of_data);
        self.tail = &self.tail[written - of_head - of_data..];
        if self.head_at == self.head.len() {
            // A connection that waits holds none.
            self.head = Vec::new();
            self.head_at = 0;
        }
    }
}
