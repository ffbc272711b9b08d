//! The content of one message as it comes in.

use crate::chunked::{Chunked, Piece};
use crate::heads::{Limits, ends_within};
use crate::{Fault, Fields, Length, Table};

/// Reads the content of one message.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    left: Left,
    limits: Limits,
}

/// What is still to come of it.
#[derive(Clone, Copy, Debug)]
enum Left {
    Exactly(u64),
    /// With the bytes of the trailer section in which no end was found yet.
    Chunked(Chunked, usize),
    UntilClose,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug)]
pub enum Part<'h> {
    /// Content.
    Data(&'h [u8]),
    /// Sizes and ends of chunks. With the data, in the order both come in, they are the same content in valid
    /// chunks; but for a trailer section and the empty line behind it, which come as [`Part::Trailers`].
    Framing(&'h [u8]),
    /// Chunk extensions, which go no further.
    Extension,
    /// The trailer section, which is the last of it.
    Trailers(Fields<'h>),
    /// There is no more.
    End,
}

impl Content {
    /// Nothing of it was read yet. What follows a head that begins a tunnel is no content.
    #[must_use]
    pub const fn of(length: Length, limits: Limits) -> Self {
        let left = match length {
            Length::Exactly(length) => Left::Exactly(length),
            Length::Chunked => Left::Chunked(Chunked::new(), 0),
            Length::UntilClose => Left::UntilClose,
            Length::Tunnel => Left::Exactly(0),
        };
        Self { left, limits }
    }

    /// Whether all of it was read; not known of chunks whose end was not asked for yet.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        match self.left {
            Left::Exactly(left) => left == 0,
            Left::Chunked(chunked, _) => chunked.has_ended(),
            Left::UntilClose => false,
        }
    }

    /// What `input`, which the other side ended there if `has_ended`, begins with, and how many of its bytes
    /// that is. To be called again, without them, until it is [`Part::End`]; `None` if more has to come.
    ///
    /// # Errors
    /// What is wrong with it. No more can be read from this connection then.
    pub fn next<'h>(
        &mut self,
        input: &'h [u8],
        has_ended: bool,
        table: &'h mut Table,
    ) -> Result<Option<(usize, Part<'h>)>, Fault> {
        let found = match &mut self.left {
            Left::Exactly(0) => Some((0, Part::End)),
            Left::UntilClose if input.is_empty() && has_ended => Some((0, Part::End)),
            Left::UntilClose => data(input, input.len()),
            Left::Exactly(left) => {
                let taken =
                    usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= taken as u64;
                data(input, taken)
            }
            Left::Chunked(chunked, scanned) => match chunked.next(input)? {
                None => None,
                Some(Piece::End) => Some((0, Part::End)),
                Some(Piece::Data(length)) => data(input, length),
                Some(Piece::Framing(length)) => Some((length, Part::Framing(&input[..length]))),
                Some(Piece::Extension(length)) => Some((length, Part::Extension)),
                Some(Piece::Trailers) => {
                    let trailers = trailers(input, scanned, has_ended, &self.limits, table)?;
                    if trailers.is_some() {
                        chunked.end();
                    }
                    trailers
                }
            },
        };
        if found.is_none() && has_ended {
            return Err(Fault::Truncated);
        }
        Ok(found)
    }
}

fn data(input: &[u8], length: usize) -> Option<(usize, Part<'_>)> {
    (length > 0).then(|| (length, Part::Data(&input[..length])))
}

fn trailers<'h>(
    input: &'h [u8],
    scanned: &mut usize,
    has_ended: bool,
    limits: &Limits,
    table: &'h mut Table,
) -> Result<Option<(usize, Part<'h>)>, Fault> {
    let section = &input[..input.len().min(limits.head_bytes)];
    let is_full = section.len() == limits.head_bytes;
    if !ends_within(section, scanned) && !is_full && !has_ended {
        return Ok(None);
    }
    let mut room = [httparse::EMPTY_HEADER; crate::fields::MOST_FIELDS];
    let most = limits.fields.min(room.len());
    match httparse::parse_headers(section, &mut room[..most])? {
        httparse::Status::Complete((length, fields)) => {
            let fields = table.fill(&section[..length], fields)?;
            // They are a part of where the content ends: no line of theirs is forgiven.
            if !fields.are_plain() || !section[..length].ends_with(b"\n\r\n") {
                return Err(Fault::Chunk("a trailer"));
            }
            Ok(Some((length, Part::Trailers(fields))))
        }
        httparse::Status::Partial if is_full => Err(Fault::TooLong),
        httparse::Status::Partial => Ok(None),
    }
}
