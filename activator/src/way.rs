//! Who is in front of this proxy, and what they say of the client: `X-Forwarded-*`, `Forwarded`,
//! `X-Real-IP`.
//!
//! A trusted front's word is kept and this hop is added to it. Anybody else's is replaced: whoever could
//! write these fields could choose the address that quotas and agents see.

use std::net::{IpAddr, Ipv6Addr};

use http::header::{FORWARDED, HOST, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use crate::host;
use crate::route::By;

mod forwarded;

pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Hops that are read of a chain. No path through fronts is longer; a head of 64 KiB could name thousands.
const HOPS: usize = 32;

/// Scheme of the client's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Port of a URL that names none.
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The way one request has come, as far as it can be believed.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// The client: the peer, or whom a trusted front names.
    pub(crate) client: IpAddr,
    /// Of the URL the client used.
    pub(crate) scheme: Scheme,
    /// Host and port of that URL, where it is known.
    pub(crate) authority: Option<HeaderValue>,
    /// What a trusted front has taken off the path.
    prefix: Option<HeaderValue>,
    /// Host and port that this proxy was asked for.
    asked: Option<HeaderValue>,
    peer: IpAddr,
    is_trusted: bool,
}

/// What is known of a request whose authority was found valid.
pub(crate) fn of(parts: &Parts, peer: IpAddr, trusted: &[IpNet]) -> Way {
    let headers = &parts.headers;
    let is_trusted = is_among(peer, trusted);
    let asked = asked(parts);
    let told = |name| {
        let value: Option<&HeaderValue> = if is_trusted { headers.get(name) } else { None };
        first(value?)
    };
    let scheme = match told(FORWARDED_PROTO) {
        Some(proto) if proto.eq_ignore_ascii_case("https") || proto.eq_ignore_ascii_case("wss") => {
            Scheme::Https
        }
        _ => Scheme::Http,
    };
    let authority = told(FORWARDED_HOST)
        .filter(|host| !host.is_empty() && host::is_valid(host))
        .and_then(|host| HeaderValue::from_str(host).ok())
        .or_else(|| asked.clone());
    let prefix = told(FORWARDED_PREFIX)
        .map(|prefix| prefix.trim_end_matches('/'))
        .filter(|prefix| is_prefix(prefix))
        .and_then(|prefix| HeaderValue::from_str(prefix).ok());
    Way {
        client: if is_trusted {
            client(headers, peer, trusted)
        } else {
            peer
        },
        scheme,
        authority,
        prefix,
        asked,
        peer,
        is_trusted,
    }
}

impl Way {
    /// Says to the sandbox which way the request has come. `peer` is the peer's address as text.
    pub(crate) fn tell(&self, headers: &mut HeaderMap, peer: &HeaderValue, by: &By) {
        let was_sent = |name| headers.contains_key(name);
        let (forwarded, real_ip) = (was_sent(FORWARDED), was_sent(REAL_IP));
        let port = was_sent(FORWARDED_PORT);
        if !self.is_trusted {
            strip(headers);
        }
        let chain = self.is_trusted.then(|| joined(headers, &FORWARDED_FOR));
        headers.insert(FORWARDED_FOR, append(chain.flatten(), peer));
        let keep = |headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>| {
            if let Some(value) = value
                && !headers.contains_key(&name)
            {
                headers.insert(name, value);
            }
        };
        keep(
            headers,
            FORWARDED_PROTO,
            Some(HeaderValue::from_static("http")),
        );
        keep(headers, FORWARDED_HOST, self.asked.clone());
        if forwarded {
            let chain = joined(headers, &FORWARDED);
            let element = forwarded::element(self.peer, self.asked.as_ref());
            headers.insert(FORWARDED, append(chain, &element));
        }
        if real_ip {
            keep(headers, REAL_IP, Some(peer.clone()));
        }
        if port {
            keep(
                headers,
                FORWARDED_PORT,
                Some(HeaderValue::from(self.port())),
            );
        }
        if let Some(prefix) = self.prefix(by)
            && let Ok(prefix) = HeaderValue::from_str(&prefix)
        {
            headers.insert(FORWARDED_PREFIX, prefix);
        }
    }

    /// Host and port that this proxy was asked for.
    pub(crate) fn asked(&self) -> Option<&HeaderValue> {
        self.asked.as_ref()
    }

    /// Whether a page of this origin is one that was asked for under the same name.
    pub(crate) fn is_own(&self, origin: &str) -> bool {
        let names = [self.authority.as_ref(), self.asked.as_ref()];
        names
            .into_iter()
            .flatten()
            .filter_map(|name| name.to_str().ok())
            .any(|name| host::is_origin_of(origin, name))
    }

    /// What the client sees before the sandbox's own paths, where this proxy has taken it off.
    pub(crate) fn prefix(&self, by: &By) -> Option<String> {
        let By::Path { prefix, .. } = by else {
            return None;
        };
        let before = self.prefix.as_ref().and_then(|prefix| prefix.to_str().ok());
        Some(format!("{}{prefix}", before.unwrap_or_default()))
    }

    /// Port that this proxy was asked for.
    fn port(&self) -> u16 {
        let authority = self.asked.as_ref().and_then(|asked| asked.to_str().ok());
        authority
            .and_then(host::port)
            .unwrap_or_else(|| Scheme::Http.port())
    }
}

/// Whom a quota counts: one IPv6 customer has at least 2^64 addresses (RFC 6177).
pub(crate) fn caller(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

fn is_among(address: IpAddr, networks: &[IpNet]) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// The client at the other end of the chain: from this end on, the first that is no trusted front. What
/// stands before that one could have been written by it.
fn client(headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let mut nearest = peer;
    for hop in chain(headers) {
        // A hop that hides its name hides all before it.
        let Some(hop) = hop else { return nearest };
        nearest = hop;
        if !is_among(hop, trusted) {
            return nearest;
        }
    }
    nearest
}

/// The addresses that fronts have noted, the latest first.
fn chain(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = |name: HeaderName| headers.get_all(name).into_iter().rev();
    if headers.contains_key(FORWARDED_FOR) {
        return lines(FORWARDED_FOR)
            .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
            .take(HOPS)
            .map(|node| std::str::from_utf8(node).ok().and_then(forwarded::node))
            .collect();
    }
    if headers.contains_key(FORWARDED) {
        return lines(FORWARDED)
            .flat_map(|line| forwarded::elements(line.as_bytes()))
            .take(HOPS)
            .map(forwarded::client)
            .collect();
    }
    headers
        .get(REAL_IP)
        .map(|value| value.to_str().ok().and_then(forwarded::node))
        .into_iter()
        .collect()
}

/// The authority of the request's target, else `Host`.
fn asked(parts: &Parts) -> Option<HeaderValue> {
    match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => parts
            .headers
            .get(HOST)
            .filter(|host| !host.is_empty())
            .cloned(),
    }
}

/// Takes a stranger's words out.
fn strip(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            name.as_str().starts_with("x-forwarded-") || **name == FORWARDED || **name == REAL_IP
        })
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// The first member of a list.
fn first(value: &HeaderValue) -> Option<&str> {
    Some(value.to_str().ok()?.split(',').next()?.trim())
}

/// All lines of a field as one: many servers read only the first.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut lines = headers.get_all(name).iter();
    let mut all = lines.next()?.as_bytes().to_vec();
    for line in lines {
        all.extend_from_slice(b", ");
        all.extend_from_slice(line.as_bytes());
    }
    Some(all)
}

fn append(chain: Option<Vec<u8>>, hop: &HeaderValue) -> HeaderValue {
    let Some(mut chain) = chain.filter(|chain| !chain.is_empty()) else {
        return hop.clone();
    };
    chain.extend_from_slice(b", ");
    chain.extend_from_slice(hop.as_bytes());
    // It is made of valid values.
    HeaderValue::from_bytes(&chain).unwrap_or_else(|_| hop.clone())
}

/// Whether this can stand before a path in a URL of our own origin: `//host` would lead elsewhere.
fn is_prefix(prefix: &str) -> bool {
    let is_path_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@/".contains(&byte);
    prefix.starts_with('/') && !prefix.starts_with("//") && prefix.bytes().all(is_path_byte)
}

#[cfg(test)]
mod tests;
