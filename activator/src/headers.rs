//! Header fields at both edges: what ends here, what goes through, what is set anew
//! (RFC 9110 §7.6, RFC 9113 §8.2, upstream's router contract).

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderName, MAX_FORWARDS,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use reveille_crds::names::header;
use reveille_crds::scaled_sandbox::Authorization;

use crate::error::Error;
use crate::parking::{Waited, WakeRole};
use crate::route::By;

const BUSY_FOR: HeaderName = HeaderName::from_static(header::BUSY_FOR);
const WAKE: HeaderName = HeaderName::from_static(header::WAKE);
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Refuses a message whose end the two sides of this proxy might see at different places.
///
/// HTTP/1.1 has refused most of it already (`reveille_http1`), and HTTP/2 has no transfer codings
/// (RFC 9113 §8.2.2): one that comes all the same would be forwarded undecoded and unannounced.
///
/// # Errors
/// If there is any transfer coding but one `chunked`.
pub(crate) fn check_framing(headers: &HeaderMap) -> Result<(), Error> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (Some(_), None) => Err(Error::NotImplemented(
            "Only the chunked transfer coding is supported.",
        )),
        (Some(_), Some(_)) => Err(Error::Framing("Transfer-Encoding is repeated.")),
    }
}

/// Refuses a target in a form that its method does not have (RFC 9112 §3.2): the path that a sandbox would be
/// asked for is not the one that the client wrote.
///
/// # Errors
/// If the target is neither a path nor an absolute URI, nor `*` for OPTIONS.
pub(crate) fn check_target(parts: &Parts) -> Result<(), Error> {
    let is_named = parts.uri.scheme().is_some() || parts.method == Method::CONNECT;
    let is_asterisk = parts.method == Method::OPTIONS && parts.uri.path() == "*";
    if is_named || is_asterisk || parts.uri.path().starts_with('/') {
        Ok(())
    } else {
        Err(Error::Malformed(
            "The request target must be a path that begins with a slash.",
        ))
    }
}

/// Makes the framing of an answer one that this proxy and the client see alike: a length beside a transfer
/// coding is not the content's (RFC 9112 §6.3). A coding that is not undone on the way would reach the
/// client unannounced.
///
/// # Errors
/// What is wrong with the answer.
pub(crate) fn check_answer(headers: &mut HeaderMap) -> Result<(), &'static str> {
    if !headers.contains_key(TRANSFER_ENCODING) {
        return Ok(());
    }
    check_framing(headers).map_err(|_| "its answer has a transfer coding other than chunked")?;
    headers.remove(CONTENT_LENGTH);
    Ok(())
}

/// What a TRACE or OPTIONS that may travel no further is answered with (RFC 9110 §7.6.2); otherwise
/// counts this hop.
///
/// # Errors
/// If the request ends here.
pub(crate) fn count_hop(parts: &mut Parts) -> Result<(), Error> {
    if !matches!(parts.method, Method::TRACE | Method::OPTIONS) {
        return Ok(());
    }
    let hops = parts
        .headers
        .get(MAX_FORWARDS)
        .and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    match hops {
        None => Ok(()),
        Some(0) => Err(Error::MethodNotAllowed(
            "Max-Forwards is 0 and the proxy has nothing to say itself.",
        )),
        Some(hops) => {
            parts
                .headers
                .insert(MAX_FORWARDS, HeaderValue::from(hops - 1));
            Ok(())
        }
    }
}

/// The protocols an HTTP/1.1 request asks to switch to, without `h2c`: this proxy speaks HTTP/2 by prior
/// knowledge only, and forwarding the offer would let the sandbox switch under it.
pub(crate) fn upgrade(parts: &Parts) -> Option<HeaderValue> {
    if parts.version != Version::HTTP_11
        || !tokens(&parts.headers, CONNECTION).any(|token| is(token, "upgrade"))
    {
        return None;
    }
    let mut offers = parts.headers.get_all(UPGRADE).iter();
    let (first, second) = (offers.next()?, offers.next());
    let is_h2c = |token: &str| is(token, "h2c") || is(token, "h2");
    if second.is_none() && !tokens(&parts.headers, UPGRADE).any(is_h2c) {
        return Some(first.clone()).filter(|value| !value.is_empty());
    }
    let kept: Vec<&str> = tokens(&parts.headers, UPGRADE)
        .filter(|token| !is_h2c(token))
        .collect();
    HeaderValue::from_str(&kept.join(", "))
        .ok()
        .filter(|value| !value.is_empty())
}

/// Makes the head that the sandbox sees, but for `Host` and `Connection`, which belong to the connection
/// it is sent on. Who the client addressed was checked with the route.
///
/// `Authorization` is the sandbox's own affair (its tokens, its OAuth) unless the policy takes it out. Of
/// `X-Sandbox-*` it sees what upstream's router shows it: what has named it, and not the client's patience
/// or guess at an address.
pub(crate) fn to_upstream(parts: &mut Parts, by: &By, authorization: Authorization) {
    let headers = &mut parts.headers;
    let wants_trailers = tokens(headers, TE).any(|token| is(token, "trailers"));
    strip_nominated(headers);
    strip(headers, ends_here);
    match by {
        By::Headers => {}
        By::Host => drop(headers.remove(header::SANDBOX_NAMESPACE)),
        By::Path { .. } => strip(headers, |name| name.as_str().starts_with("x-sandbox-")),
    }
    if authorization == Authorization::Strip {
        headers.remove(AUTHORIZATION);
    }
    if parts.version == Version::HTTP_2 {
        join_cookies(headers);
    }
    if parts.version != Version::HTTP_11 {
        headers.remove(EXPECT);
    }
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    headers.append(
        VIA,
        HeaderValue::from_static(match parts.version {
            Version::HTTP_10 => "1.0 reveille",
            Version::HTTP_2 => "2 reveille",
            _ => "1.1 reveille",
        }),
    );
}

/// Asks the sandbox to switch to another protocol.
pub(crate) fn offer(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    if let Some(upgrade) = upgrade {
        headers.remove(TE);
        headers.insert(UPGRADE, upgrade);
    }
}

/// Makes the head that the client sees; the seconds of the agent's busy header are taken out of it.
pub(crate) fn to_client<B>(response: &mut Response<B>) -> Option<u64> {
    let status = response.status();
    let headers = response.headers_mut();
    // The two answers that have to name a protocol; h2 leaves it out by itself.
    let names_protocol = matches!(
        status,
        StatusCode::SWITCHING_PROTOCOLS | StatusCode::UPGRADE_REQUIRED
    );
    let protocol = if names_protocol {
        headers.remove(UPGRADE)
    } else {
        None
    };
    strip_nominated(headers);
    strip(headers, is_hop_by_hop);
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    // A length with no content, which RFC 9110 §8.6 forbids for 1xx and 204 and makes useless for 304.
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || status.is_informational()
    {
        headers.remove(CONTENT_LENGTH);
    }
    let busy = headers.remove(BUSY_FOR)?;
    busy.to_str().ok()?.trim().parse().ok()
}

/// Says what happened on the way: where the time went, and whether a wake was part of it.
pub(crate) fn tell(
    headers: &mut HeaderMap,
    waited: Option<&Waited>,
    dialled: Option<std::time::Duration>,
) {
    let role = match waited.map(|waited| waited.how) {
        None => "none",
        Some(WakeRole::Started) => "started",
        Some(WakeRole::Joined) => "joined",
    };
    headers.insert(WAKE, HeaderValue::from_static(role));
    let millis = |duration: std::time::Duration| duration.as_secs_f64() * 1000.0;
    let mut timing = String::new();
    if let Some(waited) = waited {
        timing = format!(
            "park;dur={:.1}, wake;dur={:.1}",
            millis(waited.parked),
            millis(waited.wake)
        );
    }
    if let Some(dialled) = dialled {
        let separator = if timing.is_empty() { "" } else { ", " };
        timing = format!("{timing}{separator}connect;dur={:.1}", millis(dialled));
    }
    if let Ok(value) = HeaderValue::from_str(&timing)
        && !timing.is_empty()
    {
        headers.append(SERVER_TIMING, value);
    }
}

fn is(token: &str, name: &str) -> bool {
    token.eq_ignore_ascii_case(name)
}

/// The members of a comma-separated list, over all lines of the field.
fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// Removes the fields that `Connection` names. The length stays: it frames the message.
fn strip_nominated(headers: &mut HeaderMap) {
    if !headers.contains_key(CONNECTION) {
        return;
    }
    let named: Vec<HeaderName> = tokens(headers, CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| *name != CONTENT_LENGTH)
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Removes the fields that `doomed` names. Allocates only if there are any.
fn strip(headers: &mut HeaderMap, doomed: fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| doomed(name))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == CONNECTION
        || *name == TRANSFER_ENCODING
        || *name == UPGRADE
        || *name == TE
        || *name == PROXY_AUTHENTICATE
        || *name == PROXY_AUTHORIZATION
        || matches!(
            name.as_str(),
            "keep-alive" | "proxy-connection" | "http2-settings"
        )
}

/// Request fields that the sandbox does not see.
fn ends_here(name: &HeaderName) -> bool {
    is_hop_by_hop(name)
        || *name == HOST
        || matches!(
            name.as_str(),
            header::SANDBOX_TIMEOUT | header::SANDBOX_POD_IP
        )
}

/// HTTP/2 may split `cookie` into crumbs; elsewhere they are one line (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests;
