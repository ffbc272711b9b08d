//! The lines of a body that goes on: a watch sends one event a line.

use bytes::BytesMut;
use http_body_util::BodyExt;
use kube::client::Body;

use crate::fetch::Failure;

/// Longest line. etcd takes objects up to 1.5 MiB, and JSON escapes can swell one sixfold.
const LONGEST: usize = 16 * 1024 * 1024;

/// A body, split at newlines.
pub(crate) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// Of the buffer, how much is known to hold no newline.
    scanned: usize,
}

impl Lines {
    pub(crate) fn new(body: Body) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            scanned: 0,
        }
    }

    /// The next line without its newline; `None` when the server has ended the answer. What stands after
    /// the last newline is an event cut short: it comes again with the next watch.
    ///
    /// Cancel-safe: what was received stays in the buffer.
    pub(crate) async fn next(&mut self) -> Result<Option<BytesMut>, Failure> {
        loop {
            let fresh = &self.buffer[self.scanned..];
            if let Some(end) = fresh.iter().position(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_to(self.scanned + end + 1);
                line.truncate(line.len() - 1);
                self.scanned = 0;
                return Ok(Some(line));
            }
            self.scanned = self.buffer.len();
            if self.scanned > LONGEST {
                return Err(Failure::Garbled(format!("a line of over {LONGEST} bytes")));
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            if let Some(data) = frame?.data_ref() {
                self.buffer.extend_from_slice(data);
            }
        }
    }
}
