//! One sandbox, two names: the one its client uses, and the one it is told. What goes to the sandbox says
//! the latter, what comes back the former, so that no client is led to an address that only we can reach.

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, ORIGIN, REFERER};
use http::{HeaderMap, HeaderValue};
use reveille_crds::scaled_sandbox::HostHeader;

use crate::host;
use crate::route::By;
use crate::way::{Scheme, Way};

mod back;
mod cookie;

/// The names of one exchange.
#[derive(Debug)]
pub(crate) struct Naming {
    told: Told,
    /// Of the URL that the client used.
    scheme: Scheme,
    /// Host and port of that URL.
    authority: Option<HeaderValue>,
    /// Path under which the client sees the sandbox, where that is not `/`.
    prefix: Option<Box<str>>,
    /// The client's `Origin`, where it is replaced.
    origin: Option<HeaderValue>,
    /// What follows the authority in the client's `Referer`, where that is replaced.
    referer: Option<Box<str>>,
}

/// What the sandbox is told that it is called.
#[derive(Debug)]
enum Told {
    /// Its own address, as upstream's router does.
    Address,
    /// As the client calls it.
    Clients(HeaderValue),
    /// `localhost`: the one name that servers take which defend themselves against DNS rebinding and know
    /// nothing of a proxy (Chromium's DevTools, Vite, webpack's dev server).
    Localhost,
}

impl Naming {
    /// The names of a request that came this way and was routed so. `headers` are
    /// the client's.
    pub(crate) fn of(way: &Way, by: &By, mode: HostHeader, headers: &HeaderMap) -> Self {
        let told = match (mode, by, way.asked()) {
            (HostHeader::Rewrite, ..) => Told::Localhost,
            (HostHeader::Auto, By::Headers, _) | (_, _, None) => Told::Address,
            (HostHeader::Auto | HostHeader::Preserve, _, Some(asked)) => {
                Told::Clients(asked.clone())
            }
        };
        let mut naming = Self {
            told,
            scheme: way.scheme,
            authority: way.authority.clone(),
            prefix: way.prefix(by).map(Into::into),
            origin: None,
            referer: None,
        };
        if matches!(naming.told, Told::Localhost) {
            let is_own = |origin: &str| way.is_own(origin);
            naming.origin = headers
                .get(ORIGIN)
                .filter(|origin| origin.to_str().is_ok_and(is_own))
                .cloned();
            naming.referer = headers.get(REFERER).and_then(|referer| {
                let (origin, rest) = split(referer.to_str().ok()?)?;
                let rest = naming.below_prefix(rest).unwrap_or(rest);
                is_own(origin).then(|| rest.into())
            });
        }
        naming
    }

    /// Takes the `Origin` out of a request to switch protocols where the sandbox is told its own address: no
    /// origin can match that, and a server that compares the two would refuse every WebSocket of a browser.
    pub(crate) fn hide_origin(&self, headers: &mut HeaderMap) {
        if matches!(self.told, Told::Address) {
            headers.remove(ORIGIN);
        }
    }

    /// Names the sandbox that listens at this address in the head of a request to it. May be done again, for
    /// another address.
    pub(crate) fn address(&self, headers: &mut HeaderMap, at: SocketAddr) {
        match &self.told {
            // One that a connection has put there belongs to that connection.
            Told::Address => drop(headers.remove(HOST)),
            Told::Clients(host) => {
                headers.insert(HOST, host.clone());
            }
            Told::Localhost => {
                let host = localhost(at.port());
                let own = format!("http://{host}");
                set(headers, HOST, &host);
                if self.origin.is_some() {
                    set(headers, ORIGIN, &own);
                }
                if let Some(rest) = &self.referer {
                    set(headers, REFERER, &format!("{own}{rest}"));
                }
            }
        }
    }

    /// What follows the prefix in a path that is below it.
    fn below_prefix<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(self.prefix.as_deref()?)?;
        (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then_some(rest)
    }

    /// Whether that is how only this side of the proxy knows the sandbox at this address.
    fn is_inner(&self, scheme: Scheme, authority: &str, at: SocketAddr) -> bool {
        let port = host::port(authority).unwrap_or_else(|| scheme.port());
        port == at.port() && self.is_inner_host(host::without_port(authority), at.ip())
    }

    fn is_inner_host(&self, name: &str, at: IpAddr) -> bool {
        let address = host::address(name);
        if matches!(self.told, Told::Localhost) {
            let is_loopback = address.is_some_and(|address| address.is_loopback());
            if is_loopback || name.eq_ignore_ascii_case("localhost") {
                return true;
            }
        }
        address == Some(at.to_canonical())
    }
}

fn localhost(port: u16) -> String {
    if port == Scheme::Http.port() {
        "localhost".to_owned()
    } else {
        format!("localhost:{port}")
    }
}

fn set(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Origin and rest of an absolute URL.
fn split(url: &str) -> Option<(&str, &str)> {
    let authority = url.find("://")? + 3;
    let end = url[authority..].find(['/', '?', '#']);
    Some(url.split_at(end.map_or(url.len(), |end| authority + end)))
}

#[cfg(test)]
mod tests;
