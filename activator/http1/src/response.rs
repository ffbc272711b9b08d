//! The head of a response.

use std::mem::MaybeUninit;

use crate::fields::{MOST_FIELDS, Room};
use crate::{Fault, Fields, Table, Version};

/// The head of a response (RFC 9112 §4), as it came.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'h> {
    /// Of the server.
    pub version: Version,
    /// Three digits.
    pub status: u16,
    /// May be empty.
    pub reason: &'h str,
    /// All of them.
    pub fields: Fields<'h>,
}

impl<'h> ResponseHead<'h> {
    /// The head that `bytes` begin with and its length; `None` if it does not end in them. Fields may be
    /// folded and may have blanks before their colon: a proxy is to mend both (RFC 9112 §5.1, §5.2).
    ///
    /// # Errors
    /// If they are not a head, or it has more than `most` fields.
    pub fn parse(
        bytes: &'h [u8],
        most: usize,
        table: &'h mut Table,
    ) -> Result<Option<(Self, usize)>, Fault> {
        let mut room: Room<'_> = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let room = &mut room[..most.min(MOST_FIELDS)];
        let mut head = httparse::Response::new(&mut []);
        let mut config = httparse::ParserConfig::default();
        config
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true);
        let parsed = config.parse_response_with_uninit_headers(&mut head, bytes, room)?;
        let httparse::Status::Complete(length) = parsed else {
            return Ok(None);
        };
        let status = head.code.unwrap_or_default();
        if !(100..1000).contains(&status) {
            return Err(Fault::Head("the status"));
        }
        let found = Self {
            version: Version::of(head.version),
            status,
            reason: head.reason.unwrap_or_default(),
            fields: table.fill(bytes, head.headers)?,
        };
        Ok(Some((found, length)))
    }
}
