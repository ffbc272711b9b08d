//! Where the head of each message on a connection ends.

use crate::{Asked, Fault, Framing, Length, RequestHead, ResponseHead, Table};

/// What a head, or a trailer section, may be at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes, up to the last line end.
    pub head_bytes: usize,
    /// Fields; 128 at the most.
    pub fields: usize,
}

/// Reads the heads that come on one connection. What comes between two of them is for [`Content`] to read.
///
/// [`Content`]: crate::Content
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    limits: Limits,
    /// Bytes of the next head in which no end was found.
    scanned: usize,
}

/// A head, what it says of its message, and its length in bytes.
pub type Found<H> = (H, Framing, usize);

impl Heads {
    /// None has come yet.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, scanned: 0 }
    }

    /// The request that `input`, which the client ended there if `has_ended`, begins with. `None` if more has
    /// to come, or the client has ended without a further request.
    ///
    /// # Errors
    /// What is wrong with it. No more can be read from this connection then.
    pub fn request<'h>(
        &mut self,
        input: &'h [u8],
        has_ended: bool,
        table: &'h mut Table,
    ) -> Result<Option<Found<RequestHead<'h>>>, Fault> {
        if is_blank(input) && input.len() < self.limits.head_bytes {
            return Ok(None);
        }
        let Some(head) = self.look(input, has_ended) else {
            return Ok(None);
        };
        let Some((head, length)) = RequestHead::parse(head, self.limits.fields, table)? else {
            return self.is_missing(input, has_ended).map(|()| None);
        };
        self.scanned = 0;
        Ok(Some((head, Framing::of_request(&head)?, length)))
    }

    /// The response to a request that asked so, which `input`, which the server ended there if `has_ended`,
    /// begins with; `None` if more has to come. After an interim one (1xx but 101) comes another.
    ///
    /// # Errors
    /// What is wrong with it. No more can be read from this connection then.
    pub fn response<'h>(
        &mut self,
        asked: Asked,
        input: &'h [u8],
        has_ended: bool,
        table: &'h mut Table,
    ) -> Result<Option<Found<ResponseHead<'h>>>, Fault> {
        let Some(head) = self.look(input, has_ended) else {
            return Ok(None);
        };
        let Some((head, length)) = ResponseHead::parse(head, self.limits.fields, table)? else {
            return self.is_missing(input, has_ended).map(|()| None);
        };
        self.scanned = 0;
        Ok(Some((head, Framing::of_response(&head, asked)?, length)))
    }

    /// The bytes in which a head is to be looked for; `None` if there is no need to look yet: parsing a head
    /// anew with each of its bytes would cost their square.
    fn look<'h>(&mut self, input: &'h [u8], has_ended: bool) -> Option<&'h [u8]> {
        let head = &input[..input.len().min(self.limits.head_bytes)];
        // What is no head at all shows in the first bytes.
        let is_first = self.scanned == 0 && !head.is_empty();
        let is_last = has_ended || head.len() == self.limits.head_bytes;
        let has_end = ends_within(head, &mut self.scanned);
        (is_first || is_last || has_end).then_some(head)
    }

    fn is_missing(&self, input: &[u8], has_ended: bool) -> Result<(), Fault> {
        if input.len() >= self.limits.head_bytes {
            Err(Fault::TooLong)
        } else if has_ended {
            Err(Fault::Truncated)
        } else {
            Ok(())
        }
    }
}

impl Framing {
    /// Whether this is the head of an interim response.
    #[must_use]
    pub fn is_interim(&self, status: u16) -> bool {
        status < 200 && self.length != Length::Tunnel
    }
}

/// Whether `bytes` hold the empty line that ends a head, where the first `scanned` of them were known not to.
pub(crate) fn ends_within(bytes: &[u8], scanned: &mut usize) -> bool {
    let from = scanned.saturating_sub(2);
    *scanned = bytes.len();
    memchr::memchr_iter(b'\n', &bytes[from..]).any(|at| {
        let rest = &bytes[from + at + 1..];
        rest.starts_with(b"\n") || rest.starts_with(b"\r\n")
    })
}

/// Empty lines alone: a client may send some before a request (RFC 9112 §2.2).
#[must_use]
pub fn is_blank(input: &[u8]) -> bool {
    let mut lines = input.split(|byte| *byte == b'\n');
    lines.all(|line| matches!(line, b"" | b"\r"))
}
