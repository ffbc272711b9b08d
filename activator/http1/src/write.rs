//! What is written to the next hop.

use crate::{Field, Fields};

/// What ends a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A value that cannot stand in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a field value may not hold control characters")]
pub struct BadValue;

/// The first line of a request.
pub fn request_line(method: &str, target: &str, out: &mut Vec<u8>) {
    for part in [method, " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// The first line of a response; `status` has three digits.
pub fn status_line(status: u16, reason: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    for unit in [100, 10, 1] {
        out.push(b'0' + u8::try_from(status / unit % 10).unwrap_or_default());
    }
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// One field. The name is ours.
///
/// # Errors
/// If the value would not read back as that value; nothing is written then.
pub fn field(name: &'static str, value: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    if !value.iter().all(is_text) {
        return Err(BadValue);
    }
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
    Ok(())
}

/// A chunk; nothing if `data` is empty, as an empty one would be the last.
pub fn chunk(data: &[u8], out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    chunk_size(data.len(), out);
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// What comes before the data of a chunk; its size is not 0.
pub fn chunk_size(size: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        let digit = size >> (digit * 4) & 0xf;
        out.push(b"0123456789abcdef"[digit]);
    }
    out.extend_from_slice(b"\r\n");
}

/// The trailer section, and the end of the message, after the last chunk's size.
pub fn trailers(fields: Fields<'_>, keep: impl FnMut(Field<'_>) -> bool, out: &mut Vec<u8>) {
    fields.copy(keep, out);
    out.extend_from_slice(b"\r\n");
}
