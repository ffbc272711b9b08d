//! The head of a request.

use std::mem::MaybeUninit;

use crate::fields::{MOST_FIELDS, Room};
use crate::{Fault, Fields, Table, Version};

/// The head of a request (RFC 9112 §3), as it came.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'h> {
    /// Case-sensitive.
    pub method: &'h str,
    /// In whichever of its four forms it came; not checked.
    pub target: &'h str,
    /// Of the client.
    pub version: Version,
    /// All of them.
    pub fields: Fields<'h>,
}

impl<'h> RequestHead<'h> {
    /// The head that `bytes` begin with and its length, the blank lines before it included; `None` if it does
    /// not end in them.
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
        let mut head = httparse::Request::new(&mut []);
        let httparse::Status::Complete(length) = head.parse_with_uninit_headers(bytes, room)?
        else {
            return Ok(None);
        };
        let found = Self {
            method: head.method.unwrap_or_default(),
            target: head.path.unwrap_or_default(),
            version: Version::of(head.version),
            fields: table.fill(bytes, head.headers)?,
        };
        Ok(Some((found, length)))
    }
}
