//! Answers, turned back into the client's names.

use std::net::SocketAddr;

use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_LOCATION, HeaderName, LINK, LOCATION, REFRESH, SET_COOKIE,
};
use http::{HeaderMap, HeaderValue};

use super::{Naming, Told, cookie, localhost};
use crate::host;
use crate::way::Scheme;

const SERVICE_WORKER_ALLOWED: HeaderName = HeaderName::from_static("service-worker-allowed");

impl Naming {
    /// Turns what an answer of the sandbox at this address says of itself into what its client can use:
    /// URLs at an inner address, and under a prefix also those that stand for the whole host.
    pub(crate) fn turn_back(&self, headers: &mut HeaderMap, at: SocketAddr) {
        for name in [LOCATION, CONTENT_LOCATION, SERVICE_WORKER_ALLOWED] {
            change(headers, &name, |url| self.turned(url.trim(), at));
        }
        change(headers, &REFRESH, |value| self.turned_refresh(value, at));
        change(headers, &LINK, |value| self.turned_links(value, at));
        change(headers, &SET_COOKIE, |value| {
            cookie::turned(self, value, at.ip())
        });
        if let (Told::Localhost, Some(origin)) = (&self.told, &self.origin)
            && let Some(allowed) = headers.get_mut(ACCESS_CONTROL_ALLOW_ORIGIN)
            && *allowed == *format!("http://{}", localhost(at.port()))
        {
            *allowed = origin.clone();
        }
    }

    /// The URL as the client has to write it; `None` if it is right as it is.
    fn turned(&self, url: &str, at: SocketAddr) -> Option<String> {
        if url.starts_with('/') && !url.starts_with("//") {
            return self.prefixed(url);
        }
        let (before, scheme, authority, rest) = parts(url)?;
        if self.is_inner(scheme, authority, at) {
            let rest = match self.prefixed(rest) {
                Some(rest) => rest,
                None if rest.starts_with('/') => rest.to_owned(),
                None => format!("/{rest}"),
            };
            let Some(authority) = self.authority() else {
                return Some(rest);
            };
            // `//host/…` goes on meaning the scheme that the client uses.
            return Some(match before {
                "//" => format!("//{authority}{rest}"),
                _ => format!("{}://{authority}{rest}", self.scheme_like(before)),
            });
        }
        // Its own name, without the prefix that it does not know of.
        let own = self.authority()?;
        if !authority.eq_ignore_ascii_case(own) {
            return None;
        }
        Some(format!("{before}{authority}{}", self.prefixed(rest)?))
    }

    /// What follows the authority, below the prefix; `None` without a prefix, and where it is there already.
    fn prefixed(&self, rest: &str) -> Option<String> {
        let prefix = self.prefix.as_deref()?;
        if self.below_prefix(rest).is_some() {
            return None;
        }
        let slash = if rest.starts_with('/') { "" } else { "/" };
        Some(format!("{prefix}{slash}{rest}"))
    }

    /// `<seconds>; url=<URL>`, as browsers read it.
    fn turned_refresh(&self, value: &str, at: SocketAddr) -> Option<String> {
        let start = value.to_ascii_lowercase().find("url=")? + "url=".len();
        let (before, url) = value.split_at(start);
        let bare = url.trim().trim_matches(['"', '\'']);
        Some(format!("{before}{}", self.turned(bare, at)?))
    }

    /// `<URL>; parameters, …`
    fn turned_links(&self, value: &str, at: SocketAddr) -> Option<String> {
        let (mut turned, mut rest, mut is_other) = (String::new(), value, false);
        while let Some((before, after)) = rest.split_once('<') {
            let Some((url, after)) = after.split_once('>') else {
                break;
            };
            let other = self.turned(url, at);
            is_other |= other.is_some();
            turned += before;
            turned += "<";
            turned += other.as_deref().unwrap_or(url);
            turned += ">";
            rest = after;
        }
        is_other.then(|| turned + rest)
    }

    fn authority(&self) -> Option<&str> {
        self.authority.as_ref()?.to_str().ok()
    }

    /// Host of the client's URL.
    pub(super) fn host(&self) -> Option<&str> {
        self.authority().map(host::without_port)
    }

    pub(super) fn prefix(&self) -> Option<&str> {
        self.prefix.as_deref()
    }

    /// The client's scheme, of the kind that the sandbox wrote.
    fn scheme_like(&self, before: &str) -> &'static str {
        let is_websocket = before
            .get(..2)
            .is_some_and(|ws| ws.eq_ignore_ascii_case("ws"));
        match (is_websocket, self.scheme) {
            (false, scheme) => scheme.as_str(),
            (true, Scheme::Http) => "ws",
            (true, Scheme::Https) => "wss",
        }
    }
}

/// `http://`, its scheme, the authority, and what follows; of URLs that go over HTTP.
fn parts(url: &str) -> Option<(&str, Scheme, &str, &str)> {
    let start = url.find("//")? + 2;
    let (before, after) = url.split_at(start);
    let scheme = match before.to_ascii_lowercase().as_str() {
        "http://" | "ws://" | "//" => Scheme::Http,
        "https://" | "wss://" => Scheme::Https,
        _ => return None,
    };
    let end = after.find(['/', '?', '#']).unwrap_or(after.len());
    let (authority, rest) = after.split_at(end);
    host::is_valid(authority).then_some((before, scheme, authority, rest))
}

/// Replaces the values of a field for which there is another one.
fn change(headers: &mut HeaderMap, name: &HeaderName, other: impl Fn(&str) -> Option<String>) {
    if !headers.contains_key(name) {
        return;
    }
    let others: Vec<Option<HeaderValue>> = headers
        .get_all(name)
        .iter()
        .map(|value| {
            let other = other(std::str::from_utf8(value.as_bytes()).ok()?)?;
            HeaderValue::from_bytes(other.as_bytes()).ok()
        })
        .collect();
    if let http::header::Entry::Occupied(mut lines) = headers.entry(name) {
        for (line, other) in lines.iter_mut().zip(others) {
            if let Some(other) = other {
                *line = other;
            }
        }
    }
}
