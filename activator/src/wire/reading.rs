//! The content of the message that a socket brings.

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use reveille_http1::{Content, Fault, Length, Limits, Part, Table};

use super::head::trailers_of;
use super::{Wire, with_table};

/// How far it has been read.
#[derive(Clone, Copy)]
pub(crate) struct Reading {
    length: Length,
    content: Content,
}

/// What was read.
pub(crate) enum Read {
    /// A piece of it.
    Frame(Frame<Bytes>),
    /// There is no more.
    End,
    /// More has to come.
    Wait,
}

enum Piece {
    Data(usize),
    Trailers(usize, HeaderMap),
    Framing(usize),
    End,
    None,
}

impl Reading {
    /// Nothing of it was read yet.
    pub(crate) fn of(length: Length, limits: Limits) -> Self {
        Self {
            length,
            content: Content::of(length, limits),
        }
    }

    /// Whether all of it was read.
    pub(crate) fn has_ended(&self) -> bool {
        self.content.has_ended()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self.length {
            Length::Exactly(length) => SizeHint::with_exact(length),
            _ => SizeHint::default(),
        }
    }

    /// The next of what was read from the socket.
    ///
    /// # Errors
    /// If it is not what was announced.
    pub(crate) fn next(&mut self, wire: &mut Wire) -> Result<Read, Fault> {
        loop {
            let (piece, content) = with_table(|table| self.look(wire, wire.has_ended(), table))?;
            self.content = content;
            let frame = match piece {
                Piece::None => return Ok(Read::Wait),
                Piece::End => return Ok(Read::End),
                Piece::Framing(length) => {
                    wire.skip(length);
                    continue;
                }
                Piece::Data(length) => Frame::data(wire.take(length)),
                Piece::Trailers(length, trailers) => {
                    wire.skip(length);
                    Frame::trailers(trailers)
                }
            };
            self.look_ahead(wire);
            return Ok(Read::Frame(frame));
        }
    }

    /// Reads on to the end of the content if that is there already, so that the last piece is known to be it.
    fn look_ahead(&mut self, wire: &mut Wire) {
        while let Ok((Piece::Framing(length), content)) =
            with_table(|table| self.look(wire, false, table))
        {
            self.content = content;
            wire.skip(length);
        }
    }

    /// What comes next, and where the reading is after it.
    fn look(
        &self,
        wire: &Wire,
        has_ended: bool,
        table: &mut Table,
    ) -> Result<(Piece, Content), Fault> {
        let mut content = self.content;
        let piece = match content.next(wire.unread(), has_ended, table)? {
            None => Piece::None,
            Some((length, Part::Data(_))) => Piece::Data(length),
            Some((length, Part::Framing(_) | Part::Extension)) => Piece::Framing(length),
            Some((length, Part::Trailers(fields))) => Piece::Trailers(length, trailers_of(fields)),
            Some((_, Part::End)) => Piece::End,
        };
        Ok((piece, content))
    }
}
