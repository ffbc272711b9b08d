//! Heads between the wire and the types that both versions of HTTP share.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use reveille_http1::{Fault, Fields};

use crate::headers::is_hop_by_hop;

/// The fields of a head, in the bytes that it came in.
///
/// # Errors
/// If a name is longer than can be kept.
pub(crate) fn fields_of(fields: Fields<'_>, bytes: &Bytes) -> Result<HeaderMap, Fault> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields.iter() {
        let bad = |_| Fault::Head("a field");
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_| Fault::Head("a field name"))?;
        let value = unfolded(bytes.slice_ref(field.value));
        headers.append(name, HeaderValue::from_maybe_shared(value).map_err(bad)?);
    }
    Ok(headers)
}

/// The fields of a trailer section that may go on: not those that say how a message is framed, or where it goes
/// (RFC 9110 §6.5.1).
pub(crate) fn trailers_of(fields: Fields<'_>) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    for field in fields.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        if let (Ok(name), Ok(value)) = (name, value)
            && may_trail(&name)
        {
            trailers.append(name, value);
        }
    }
    trailers
}

/// Writes each field on a line of its own.
pub(crate) fn write_fields(headers: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
}

pub(super) fn may_trail(name: &HeaderName) -> bool {
    !is_hop_by_hop(name) && *name != CONTENT_LENGTH && *name != HOST && *name != TRANSFER_ENCODING
}

/// A folded value on one line: each line end as a blank (RFC 9112 §5.2).
fn unfolded(value: Bytes) -> Bytes {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    if !value.iter().any(is_end) {
        return value;
    }
    let blank = |byte: &u8| if is_end(byte) { b' ' } else { *byte };
    value.iter().map(blank).collect()
}
