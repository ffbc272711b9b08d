//! Chunked content (RFC 9112 §7.1), piece by piece.

use crate::Fault;

/// Hexadecimal digits of a chunk's size: more would not fit 64 bits, or are zeros that nobody means.
const DIGITS: u8 = 16;
/// Bytes of extensions in one message. An extension costs its sender little and its reader a look at each byte.
const EXTENSIONS: u32 = 16 * 1024;

/// How far a chunked body has been read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunked {
    at: At,
    extensions: u32,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Size {
        size: u64,
        digits: u8,
    },
    /// Blanks between a size and its extension, or its end.
    Blanks {
        size: u64,
    },
    Extension {
        size: u64,
    },
    ExtensionEnd {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// After the last chunk's size: the end, or trailers.
    Last,
    LastLf,
    Trailers,
    End,
}

/// What the next bytes of a chunked body are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Data(usize),
    Framing(usize),
    Extension(usize),
    /// The trailer section begins here.
    Trailers,
    End,
}

impl Chunked {
    pub(crate) const fn new() -> Self {
        Self {
            at: At::Size { size: 0, digits: 0 },
            extensions: 0,
        }
    }

    /// What `input` begins with; `None` if more of it has to come.
    ///
    /// # Errors
    /// If it is not chunked.
    pub(crate) fn next(&mut self, input: &[u8]) -> Result<Option<Piece>, Fault> {
        loop {
            match self.at {
                At::End => return Ok(Some(Piece::End)),
                _ if input.is_empty() => return Ok(None),
                At::Trailers => return Ok(Some(Piece::Trailers)),
                At::Data { left } => return Ok(Some(Piece::Data(self.data(left, input)))),
                At::Blanks { .. } | At::Extension { .. } => match self.extension(input)? {
                    0 => {}
                    length => return Ok(Some(Piece::Extension(length))),
                },
                _ => match self.framing(input)? {
                    0 => {}
                    length => return Ok(Some(Piece::Framing(length))),
                },
            }
        }
    }

    pub(crate) const fn has_ended(&self) -> bool {
        matches!(self.at, At::End)
    }

    /// The trailer section has been read.
    pub(crate) const fn end(&mut self) {
        self.at = At::End;
    }

    fn data(&mut self, left: u64, input: &[u8]) -> usize {
        let taken = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        self.at = match left - taken as u64 {
            0 => At::DataCr,
            left => At::Data { left },
        };
        taken
    }

    /// How many bytes belong to an extension, or are the blanks before it.
    fn extension(&mut self, input: &[u8]) -> Result<usize, Fault> {
        let is_blank = matches!(self.at, At::Blanks { .. });
        let belongs = |byte: &u8| match byte {
            b'\t' | b' ' => true,
            b'!'..=b'~' | 0x80.. => !is_blank,
            _ => false,
        };
        let length = input.iter().take_while(|byte| belongs(byte)).count();
        let counted = u32::try_from(length).unwrap_or(u32::MAX);
        self.extensions = self.extensions.saturating_add(counted);
        if self.extensions > EXTENSIONS {
            return Err(Fault::Chunk("its extensions are too long"));
        }
        if let Some(byte) = input.get(length) {
            self.at = self.at.after(*byte)?;
        }
        Ok(length)
    }

    /// How many bytes are neither data nor an extension.
    fn framing(&mut self, input: &[u8]) -> Result<usize, Fault> {
        for (taken, byte) in input.iter().enumerate() {
            let before = self.at;
            self.at = before.after(*byte)?;
            match (before, self.at) {
                // The byte is the first of what comes now.
                (At::Size { .. }, At::Blanks { .. } | At::Extension { .. })
                | (At::Last, At::Trailers) => {
                    return Ok(taken);
                }
                (_, At::Data { .. } | At::End) => return Ok(taken + 1),
                _ => {}
            }
        }
        Ok(input.len())
    }
}

impl At {
    fn after(self, byte: u8) -> Result<Self, Fault> {
        Ok(match (self, byte) {
            (Self::Size { digits, .. }, _) if digits == DIGITS && byte.is_ascii_hexdigit() => {
                return Err(Fault::Chunk("a size"));
            }
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                Self::Size {
                    size: size << 4 | u64::from(digit),
                    digits: digits + 1,
                }
            }
            (Self::Size { digits: 0, .. }, _) => return Err(Fault::Chunk("a size")),
            (Self::Size { size, .. }, b' ' | b'\t') => Self::Blanks { size },
            (Self::Size { size, .. }, b';') => Self::Extension { size },
            (Self::Size { size, .. } | Self::ExtensionEnd { size }, b'\r') => Self::SizeLf { size },
            (Self::SizeLf { size: 0 }, b'\n') => Self::Last,
            (Self::SizeLf { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::Last, b'\r') => Self::LastLf,
            (Self::LastLf, b'\n') => Self::End,
            (Self::Size { .. } | Self::SizeLf { .. }, _) => return Err(Fault::Chunk("a size")),
            (Self::DataCr | Self::DataLf, _) => return Err(Fault::Chunk("its end")),
            (Self::Last, b'\n') | (Self::LastLf, _) => return Err(Fault::Chunk("the last")),
            (Self::Last, _) => Self::Trailers,
            (Self::Blanks { size }, b';') => Self::Extension { size },
            (Self::Blanks { size } | Self::Extension { size }, b'\r') => {
                Self::ExtensionEnd { size }
            }
            (Self::Blanks { .. } | Self::ExtensionEnd { .. } | Self::Extension { .. }, _) => {
                return Err(Fault::Chunk("an extension"));
            }
            (Self::Data { .. } | Self::Trailers | Self::End, _) => self,
        })
    }
}
