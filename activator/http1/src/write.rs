//! What is written to the next hop.

/// What ends a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

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

/// What comes before the data of a chunk; its size is not 0.
pub fn chunk_size(size: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        let digit = size >> (digit * 4) & 0xf;
        out.push(b"0123456789abcdef"[digit]);
    }
    out.extend_from_slice(b"\r\n");
}
