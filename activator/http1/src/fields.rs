//! The header fields of one message, as the bytes they came in.

use std::mem::MaybeUninit;

use crate::Fault;

/// The most fields that a [`Table`] can be asked to hold.
pub(crate) const MOST_FIELDS: usize = 128;

/// Room for the headers that `httparse` finds, on the stack.
pub(crate) type Room<'b> = [MaybeUninit<httparse::Header<'b>>; MOST_FIELDS];

/// Where each field of a head stands. Kept from head to head: filling it allocates nothing once it has grown.
#[derive(Debug, Default)]
pub struct Table {
    lines: Vec<Line>,
}

/// One field line, as offsets into the head.
#[derive(Clone, Copy, Debug)]
struct Line {
    start: u32,
    name: u32,
    value_start: u32,
    value_end: u32,
    end: u32,
    /// Not to be passed on as it stands: its end is a bare LF, it is folded, or there are blanks before its
    /// colon. Readers differ about each of these.
    is_odd: bool,
}

/// One header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'h> {
    /// As it came; compare it without regard to case.
    pub name: &'h str,
    /// Without the blanks around it.
    pub value: &'h [u8],
}

/// The fields of a head or of a trailer section, in the order they came in.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'h> {
    bytes: &'h [u8],
    lines: &'h [Line],
}

impl Table {
    /// The fields of the head that it was filled with last, in the bytes of that head.
    #[must_use]
    pub fn fields<'h>(&'h self, bytes: &'h [u8]) -> Fields<'h> {
        Fields {
            bytes,
            lines: &self.lines,
        }
    }

    /// Notes where `headers`, which are parts of `bytes`, stand.
    pub(crate) fn fill<'h>(
        &'h mut self,
        bytes: &'h [u8],
        headers: &[httparse::Header<'h>],
    ) -> Result<Fields<'h>, Fault> {
        self.lines.clear();
        for header in headers {
            self.lines.push(Line::find(bytes, header)?);
        }
        Ok(Fields {
            bytes,
            lines: &self.lines,
        })
    }
}

impl Line {
    /// The line that holds `header`.
    fn find(bytes: &[u8], header: &httparse::Header<'_>) -> Result<Self, Fault> {
        let lost = Fault::Head("a field");
        let start = offset(bytes, header.name.as_bytes());
        let value_start = offset(bytes, header.value);
        let value_end = value_start + header.value.len();
        let rest = bytes.get(value_end..).ok_or(lost)?;
        // An empty value may stand before blanks, and a folded one may end in lines of blanks.
        let mut end = value_end;
        for (at, byte) in rest.iter().enumerate() {
            match byte {
                b'\n' if !matches!(rest.get(at + 1), Some(b' ' | b'\t')) => {
                    end = value_end + at + 1;
                    break;
                }
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ => return Err(lost),
            }
        }
        let name = start + header.name.len();
        let is_odd = !bytes[..end].ends_with(b"\r\n")
            || bytes.get(name) != Some(&b':')
            || memchr::memchr(b'\n', &bytes[name..end]) != Some(end - name - 1);
        let small = |offset: usize| u32::try_from(offset).map_err(|_| Fault::TooLong);
        Ok(Self {
            start: small(start)?,
            name: small(name)?,
            value_start: small(value_start)?,
            value_end: small(value_end)?,
            end: small(end)?,
            is_odd,
        })
    }

    fn field(self, bytes: &[u8]) -> Field<'_> {
        let name = &bytes[self.start as usize..self.name as usize];
        Field {
            // The parser lets tokens through alone, which are ASCII.
            name: std::str::from_utf8(name).unwrap_or_default(),
            value: &bytes[self.value_start as usize..self.value_end as usize],
        }
    }
}

impl<'h> Fields<'h> {
    /// Every field in turn.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Field<'h>> {
        self.lines.iter().map(move |line| line.field(self.bytes))
    }

    /// The values of every field of that name.
    pub fn all(self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        self.iter()
            .filter(move |field| field.is(name))
            .map(|field| field.value)
    }

    /// How many there are.
    #[must_use]
    pub const fn len(self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.lines.is_empty()
    }

    /// Whether each stands on one line that ends in CRLF, with its colon right behind its name.
    pub(crate) fn are_plain(self) -> bool {
        !self.lines.iter().any(|line| line.is_odd)
    }

    /// Writes the fields that `keep` is true of, each as it came, one after the other as they came.
    pub fn copy(self, mut keep: impl FnMut(Field<'h>) -> bool, out: &mut Vec<u8>) {
        // Lines that stay together are copied together.
        let mut run = 0..0;
        for line in self.lines {
            let field = line.field(self.bytes);
            if !keep(field) {
                continue;
            }
            let (start, end) = (line.start as usize, line.end as usize);
            if run.end == start && !line.is_odd {
                run.end = end;
                continue;
            }
            out.extend_from_slice(&self.bytes[run]);
            run = start..end;
            if line.is_odd {
                mend(field, out);
                run = 0..0;
            }
        }
        out.extend_from_slice(&self.bytes[run]);
    }
}

impl Field<'_> {
    /// Whether it bears that name.
    #[must_use]
    pub const fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// Writes a field on one line of its own, each fold as a blank (RFC 9112 §5.1, §5.2).
fn mend(field: Field<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(field.name.as_bytes());
    out.extend_from_slice(b": ");
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let start = out.len();
    for line in field.value.split(is_end).map(<[u8]>::trim_ascii) {
        if line.is_empty() {
            continue;
        }
        if out.len() > start {
            out.push(b' ');
        }
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b"\r\n");
}

/// Where `part`, a slice of `whole`, begins in it.
pub(crate) fn offset(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr().saturating_sub(whole.as_ptr().addr())
}
