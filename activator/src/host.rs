//! The authority a request is addressed to, whose its name can be, and the part of it that names a sandbox.

use std::borrow::Cow;
use std::net::IpAddr;

use http::Version;
use http::header::HOST;
use http::request::Parts;

use crate::error::Error;
use crate::pages;

const NO_HOST: &str = "Host header is required.";
const BAD_HOST: &str = "Invalid Host header.";

/// Host and port the client addressed: the request target's authority where it has one, else `Host`
/// (RFC 9112 §3.2, RFC 9113 §8.3.1). `None` only where HTTP/1.0 or an empty `Host` leaves it open.
///
/// # Errors
/// If `Host` is missing in HTTP/1.1, doubled, malformed, or at odds with `:authority`.
pub(crate) fn authority(parts: &Parts) -> Result<Option<&str>, Error> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Error::Malformed(BAD_HOST));
    }
    if host.is_none() && parts.version == Version::HTTP_11 {
        return Err(Error::Malformed(NO_HOST));
    }
    let host = match host {
        Some(value) => Some(
            value
                .to_str()
                .ok()
                .filter(|text| is_valid(text))
                .ok_or(Error::Malformed(BAD_HOST))?,
        ),
        None => None,
    };
    let Some(target) = parts.uri.authority() else {
        return Ok(host.filter(|host| !host.is_empty()));
    };
    let target = target.as_str();
    let disagrees = host.is_some_and(|host| !host.eq_ignore_ascii_case(target));
    if !is_valid(target) || target.is_empty() || (parts.version == Version::HTTP_2 && disagrees) {
        return Err(Error::Malformed(BAD_HOST));
    }
    Ok(Some(target))
}

/// The host without its port and without the root's dot.
#[must_use]
pub fn without_port(authority: &str) -> &str {
    let host = match authority.rfind(':') {
        Some(at) if !authority.ends_with(']') => &authority[..at],
        _ => authority,
    };
    host.strip_suffix('.').unwrap_or(host)
}

/// The port, where one is named.
#[must_use]
pub fn port(authority: &str) -> Option<u16> {
    let at = authority.rfind(':').filter(|_| !authority.ends_with(']'))?;
    authority[at + 1..].parse().ok()
}

/// Whether a page of this origin was asked for at this authority, as far as name and port go: a front may have
/// taken TLS off without a word, so of the scheme only the port counts.
#[must_use]
pub fn is_origin_of(origin: &str, authority: &str) -> bool {
    let Some((scheme, page)) = pages::parse(origin) else {
        return false;
    };
    let bare = |authority: &str| {
        let port = port(authority).filter(|port| *port != scheme.port());
        (without_port(authority).to_ascii_lowercase(), port)
    };
    bare(page) == bare(authority)
}

/// The address that a host is written as, if it is no name.
pub(crate) fn address(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address: IpAddr = bare.unwrap_or(host).parse().ok()?;
    Some(address.to_canonical())
}

/// Whether no stranger can have the name, so that it must be meant for this machine or this network: an
/// address, a name without a dot, or below a domain that is nobody's (RFC 6761, RFC 8375, RFC 9476,
/// `internal` of ICANN, `svc` of Kubernetes), or below one that is no top-level domain, which are of letters
/// (RFC 3696 §2): `service.my-namespace`.
#[must_use]
pub fn is_private(host: &str) -> bool {
    const NOBODYS: [&str; 8] = [
        "localhost",
        "local",
        "internal",
        "home.arpa",
        "test",
        "invalid",
        "alt",
        "svc",
    ];
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_top = |label: &str| {
        label.bytes().all(|byte| byte.is_ascii_alphabetic()) || label.starts_with("xn--")
    };
    let top = host.rsplit('.').next().unwrap_or_default();
    !host.contains('.')
        || !is_top(&top.to_ascii_lowercase())
        || address(host).is_some()
        || NOBODYS.iter().any(|domain| below(host, domain).is_some())
}

/// What stands before `.domain`, in lower case (host names compare without case); `None` if the host is
/// not below the domain.
pub(crate) fn below<'a>(host: &'a str, domain: &str) -> Option<Cow<'a, str>> {
    let at = host.len().checked_sub(domain.len() + 1)?;
    // `is_valid` has made sure that the host is ASCII, so any index is a boundary.
    let (labels, rest) = host.split_at_checked(at)?;
    let is_below = !domain.is_empty()
        && !labels.is_empty()
        && rest.starts_with('.')
        && rest[1..].eq_ignore_ascii_case(domain);
    is_below.then(|| {
        if labels.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(labels.to_ascii_lowercase())
        } else {
            Cow::Borrowed(labels)
        }
    })
}

/// `uri-host [":" port]` of RFC 3986, without user information; empty is valid.
pub(crate) fn is_valid(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((literal, after)) => {
                let is_literal = !literal.is_empty()
                    && literal
                        .bytes()
                        .all(|byte| byte.is_ascii_hexdigit() || b":.v".contains(&byte));
                match after.strip_prefix(':') {
                    _ if !is_literal => return false,
                    Some(port) => ("", port),
                    None if after.is_empty() => ("", ""),
                    None => return false,
                }
            }
            None => return false,
        },
        None => authority.rsplit_once(':').unwrap_or((authority, "")),
    };
    let is_host_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
    // The grammar lets a port be of any length; no connection can be made to one above 65535.
    let is_port = port.is_empty()
        || (port.starts_with(|c: char| c.is_ascii_digit()) && port.parse::<u16>().is_ok());
    host.bytes().all(is_host_byte) && is_port
}
