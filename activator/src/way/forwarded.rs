//! The grammar of `Forwarded` (RFC 7239 §4), and of the nodes in it and in `X-Forwarded-For`.

use std::net::{IpAddr, SocketAddr};

use http::HeaderValue;

/// The elements of one line, the last first. A quoted string that does not end takes the rest of the line.
pub(super) fn elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut elements = split(line, b',');
    elements.reverse();
    elements.into_iter()
}

/// Address of the client that an element names; `None` where it names none, or hides it (`unknown`,
/// `_hidden`).
pub(super) fn client(element: &[u8]) -> Option<IpAddr> {
    let value = split(element, b';').into_iter().find_map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    })?;
    node(&unquoted(value.trim())?)
}

/// An address with or without a port; IPv6 with a port stands in brackets.
pub(super) fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(bare)
        .or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

/// What this hop adds.
pub(super) fn element(peer: IpAddr, host: Option<&HeaderValue>) -> HeaderValue {
    let peer = match peer {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    };
    // A valid authority has no quotes in it.
    let host = host.and_then(|host| host.to_str().ok());
    let host = host.map(|host| format!(";host=\"{host}\""));
    let element = format!("for={peer}{};proto=http", host.unwrap_or_default());
    HeaderValue::from_str(&element).unwrap_or(HeaderValue::from_static("for=unknown"))
}

/// Splits at a byte where it is not within a quoted string.
fn split(text: &[u8], at: u8) -> Vec<&[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(|byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            byte => return *byte == at && !is_quoted,
        }
        false
    })
    .collect()
}

/// A token as it is, a quoted string without its quotes and escapes.
fn unquoted(value: &str) -> Option<String> {
    let Some(rest) = value.strip_prefix('"') else {
        return Some(value.to_owned());
    };
    let mut is_escaped = false;
    let inner = rest.strip_suffix('"')?.chars().filter(|c| {
        let is_mark = *c == '\\' && !is_escaped;
        is_escaped = is_mark;
        !is_mark
    });
    Some(inner.collect())
}
