//! `<prefix>/<namespace>/<name>/<port>/…`: upstream's form for browsers, which cannot set headers on a
//! navigation or a WebSocket (sandbox-router `proxy/pathroute.go`).

use std::borrow::Cow;

use http::Uri;
use http::uri::PathAndQuery;

use crate::error::Error;

/// Upstream's texts.
const FORM: &str = "Path-routed request must have the form <prefix>/<namespace>/<id>/<port>/...";
const BAD_ENCODING: &str = "Invalid percent-encoding in path.";

/// A path below the prefix, in its parts.
#[derive(Debug, PartialEq)]
pub(super) struct Named<'a> {
    pub(super) namespace: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
    pub(super) port: Cow<'a, str>,
    /// How much of the path names the sandbox.
    pub(super) length: usize,
}

/// What the raw path names; `None` if it is not below the prefix. One that is belongs to this form for good.
///
/// # Errors
/// If it is below the prefix and names no sandbox.
pub(super) fn parse<'a>(prefix: &str, path: &'a str) -> Result<Option<Named<'a>>, Error> {
    let Some(rest) = path.strip_prefix(prefix).filter(|_| !prefix.is_empty()) else {
        return Ok(None);
    };
    let Some(rest) = rest.strip_prefix('/') else {
        return Ok(None);
    };
    let mut parts = rest.splitn(4, '/');
    let mut part = || parts.next().filter(|part| !part.is_empty());
    let (Some(namespace), Some(name), Some(port)) = (part(), part(), part()) else {
        return Err(Error::Malformed(FORM));
    };
    let length = prefix.len() + 3 + namespace.len() + name.len() + port.len();
    Ok(Some(Named {
        namespace: decoded(namespace)?,
        name: decoded(name)?,
        port: decoded(port)?,
        length,
    }))
}

/// The target without the first `length` bytes of its path; the rest of it is left as it came.
pub(crate) fn stripped(uri: Uri, length: usize) -> Option<Uri> {
    let mut parts = uri.into_parts();
    let whole = parts.path_and_query.take()?;
    let rest = whole.as_str().get(length..)?;
    let rest = match rest.starts_with('/') {
        true => Cow::Borrowed(rest),
        false => Cow::Owned(format!("/{rest}")),
    };
    parts.path_and_query = Some(PathAndQuery::try_from(rest.as_ref()).ok()?);
    Uri::from_parts(parts).ok()
}

/// # Errors
/// If a `%` is not followed by two hexadecimal digits.
fn decoded(segment: &str) -> Result<Cow<'_, str>, Error> {
    if !segment.contains('%') {
        return Ok(Cow::Borrowed(segment));
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest
            .split_at_checked(2)
            .ok_or(Error::Malformed(BAD_ENCODING))?;
        let byte = std::str::from_utf8(digits)
            .ok()
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .ok_or(Error::Malformed(BAD_ENCODING))?;
        bytes.push(byte);
        rest = after;
    }
    // What is not UTF-8 is no name either, and is refused as such.
    Ok(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
}
