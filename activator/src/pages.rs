//! Web pages of other sites. A browser sends what any page asks it to, to this machine and to names that
//! only this network knows; where nobody authenticates, such a page would drive an agent.
//!
//! Browsers say what a request is for: by `Sec-Fetch-*` (W3C Fetch Metadata), to addresses they trust, and
//! by `Origin`. Pages cannot forge either. What bears neither was sent by no page.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, REFERER,
    USER_AGENT, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reveille_crds::names::header;

use crate::error::Error;
use crate::host;
use crate::route::{By, Target};
use crate::way::{Scheme, Way};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// What an answer of this proxy says to a page beyond its body.
const READABLE: HeaderValue =
    HeaderValue::from_static("Retry-After, Server-Timing, X-Reveille-Wake");
/// Seconds a browser may remember a preflight.
const PREFLIGHT_FOR: HeaderValue = HeaderValue::from_static("600");

/// Which pages may use sandboxes, besides a sandbox's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pages {
    /// Whoever is in front sees to it.
    #[default]
    Unchecked,
    /// All.
    Any,
    /// Those of these origins.
    Of(Vec<Origin>),
}

/// Scheme, host and port of a page's URL, as browsers write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(Box<str>);

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no origin; write for example https://app.example.com");
        let text = text.to_ascii_lowercase();
        let text = text.strip_suffix('/').unwrap_or(&text);
        let (scheme, authority) = text.split_once("://").ok_or_else(wrong)?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !is_scheme || authority.is_empty() || !host::is_valid(authority) {
            return Err(wrong());
        }
        let default = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => "",
        };
        let authority = authority.strip_suffix(default).unwrap_or(authority);
        Ok(Self(format!("{scheme}://{authority}").into()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Origin {
    fn host(&self) -> &str {
        let authority = self
            .0
            .split_once("://")
            .map_or("", |(_, authority)| authority);
        host::without_port(authority)
    }
}

impl Pages {
    /// Refuses what a page of another site sends, but for the navigation of a person who follows a link: that
    /// shows the sandbox to the person, not to the page. To be asked before anything is done for the request.
    ///
    /// # Errors
    /// If the page has no business with the sandbox.
    pub(crate) fn admit(
        &self,
        parts: &Parts,
        way: &Way,
        target: &Target,
        domain: &str,
    ) -> Result<(), Error> {
        let Self::Of(allowed) = self else {
            return Ok(());
        };
        let headers = &parts.headers;
        let domain = domain.trim_matches('.');
        let origin = headers.get(ORIGIN);
        let site = headers.get(FETCH_SITE).map(HeaderValue::as_bytes);
        if is_of_browser(headers) {
            if target.contradicts_host {
                return Err(refused(
                    "The host names one sandbox and X-Sandbox-ID another.",
                ));
            }
            if target.by != By::Host {
                is_known(way, allowed, domain)?;
            }
        }
        let is_allowed = origin.is_some_and(|origin| is_among(origin, allowed));
        let is_own = match (site, origin) {
            (Some(b"same-origin" | b"none"), _) | (None, None) => true,
            (Some(_), _) => is_navigation(parts),
            (None, Some(origin)) => origin.to_str().is_ok_and(|origin| way.is_own(origin)),
        };
        if is_allowed || is_own {
            return Ok(());
        }
        Err(foreign(origin))
    }

    /// The `Origin` of a request whose page may read what this proxy itself answers.
    pub(crate) fn reader(&self, headers: &HeaderMap) -> Option<Reader> {
        let origin = headers.get(ORIGIN)?;
        let is_named = match self {
            Self::Unchecked | Self::Any => false,
            Self::Of(allowed) if is_among(origin, allowed) => true,
            Self::Of(_) => return None,
        };
        Some(Reader {
            origin: origin.clone(),
            is_named,
        })
    }

    /// The answer to a preflight for a request that will name its sandbox in a header, which a preflight
    /// cannot do: no sandbox could be asked. Where pages are not checked it stays unanswered, which stops
    /// them.
    pub(crate) fn preflight(&self, parts: &Parts) -> Option<http::Response<()>> {
        let headers = &parts.headers;
        let method = headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        let fields = headers.get(ACCESS_CONTROL_REQUEST_HEADERS)?;
        let names_sandbox = fields
            .to_str()
            .ok()?
            .split(',')
            .any(|name| name.trim().eq_ignore_ascii_case(header::SANDBOX_ID));
        if parts.method != Method::OPTIONS || !names_sandbox || *self == Self::Unchecked {
            return None;
        }
        let reader = self.reader(headers)?;
        let mut response = http::Response::new(());
        *response.status_mut() = StatusCode::NO_CONTENT;
        reader.let_in(response.headers_mut());
        let answer = response.headers_mut();
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, fields.clone());
        answer.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_FOR);
        Some(response)
    }
}

/// A page that may read an answer (CORS).
#[derive(Debug)]
pub(crate) struct Reader {
    origin: HeaderValue,
    /// It was named, rather than nobody refused.
    is_named: bool,
}

impl Reader {
    /// Lets the page read an answer with these headers.
    pub(crate) fn let_in(self, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, READABLE);
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if self.is_named {
            let yes = HeaderValue::from_static("true");
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
    }
}

/// Whether a browser may have sent it: programs of other kinds have no reason to look like this.
fn is_of_browser(headers: &HeaderMap) -> bool {
    let is_mozilla = |agent: &HeaderValue| agent.as_bytes().starts_with(b"Mozilla/");
    headers.contains_key(ORIGIN)
        || headers.contains_key(FETCH_SITE)
        || headers.contains_key(FETCH_MODE)
        || headers.contains_key(REFERER)
        || headers.get(USER_AGENT).is_some_and(is_mozilla)
}

/// A page whose name was made to resolve to this proxy (DNS rebinding) is of the same origin as what it asks
/// for. So where the host does not name the sandbox, it must be a name that no stranger can own.
fn is_known(way: &Way, allowed: &[Origin], domain: &str) -> Result<(), Error> {
    let Some(authority) = way.authority.as_ref().and_then(|name| name.to_str().ok()) else {
        return Ok(());
    };
    let name = host::without_port(authority);
    let is_allowed = || {
        allowed
            .iter()
            .any(|origin| origin.host().eq_ignore_ascii_case(name))
    };
    if host::is_private(name)
        || name.eq_ignore_ascii_case(domain)
        || host::below(name, domain).is_some()
        || is_allowed()
    {
        return Ok(());
    }
    Err(refused(format!(
        "A web page asked under the name {name}, which may be anybody's; start Reveille with --allow-origin {}://{authority} if it is yours.",
        way.scheme.as_str()
    )))
}

/// A person follows a link, or types an address.
fn is_navigation(parts: &Parts) -> bool {
    let says = |name: HeaderName, word: &[u8]| {
        let value = parts.headers.get(name);
        value.is_some_and(|value| value.as_bytes() == word)
    };
    matches!(parts.method, Method::GET | Method::HEAD)
        && says(FETCH_MODE, b"navigate")
        && says(FETCH_DEST, b"document")
}

fn is_among(origin: &HeaderValue, allowed: &[Origin]) -> bool {
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    allowed
        .iter()
        .any(|allowed| origin.eq_ignore_ascii_case(&allowed.0))
}

fn foreign(origin: Option<&HeaderValue>) -> Error {
    // Only what is an origin is worth repeating; `null` is that of a page without one.
    let origin: Option<Origin> = origin.and_then(|origin| origin.to_str().ok()?.parse().ok());
    refused(match origin {
        Some(origin) => format!(
            "A page of another site may not use this sandbox; start Reveille with --allow-origin {origin} to let those of {origin} in."
        ),
        None => "A page of another site may not use this sandbox; start Reveille with --allow-origin and the page's origin to let it in.".to_owned(),
    })
}

fn refused(why: impl Into<Cow<'static, str>>) -> Error {
    Error::ForeignPage(why.into())
}

/// Scheme and authority of an origin that goes over HTTP.
pub(crate) fn parse(origin: &str) -> Option<(Scheme, &str)> {
    let (scheme, authority) = origin.split_once("://")?;
    let scheme = match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
        _ if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
        _ => return None,
    };
    Some((scheme, authority))
}

#[cfg(test)]
mod tests;
