//! Step 1 of a request's life: which sandbox, which port. By `X-Sandbox-*` headers (upstream's router
//! contract: its order of checks and its texts), else by a host name below the configured domain. Where the
//! host names no sandbox and there is a prefix for it, a path below that comes before all else.

use std::net::IpAddr;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri};
use reveille_crds::SandboxKey;
use reveille_crds::key::is_label;
use reveille_crds::names::header;

use crate::config::Config;
use crate::error::Error;
use crate::front;
use crate::host;

pub(crate) mod path;

/// Upstream's texts.
const ID_REQUIRED: &str = "X-Sandbox-ID header is required.";
const BAD_ID: &str = "Invalid sandbox ID format.";
const BAD_NAMESPACE: &str = "Invalid namespace format.";
const BAD_PORT: &str = "Invalid port format.";
const BAD_POD_IP: &str = "Invalid target IP address.";
/// Ours, for headers upstream does not check.
const BAD_UID: &str = "Invalid sandbox UID format.";
const BAD_TIMEOUT: &str = "Invalid timeout format.";
const BAD_PATH: &str = "Invalid path.";
const BAD_HOST: &str = "Invalid sandbox host; expected <name>.<namespace>.<domain>.";

/// Who a request is for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Route {
    /// `GET /healthz` of the proxy itself.
    Health,
    /// The page that says what this is.
    Front,
    /// A sandbox.
    Sandbox(Target),
}

/// A sandbox as the client names it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    /// Its own name, or that of the claim that stands for it.
    pub(crate) key: SandboxKey,
    /// Container port.
    pub(crate) port: u16,
    /// The UID the Sandbox must have.
    pub(crate) uid: Option<HeaderValue>,
    /// Longest wait the client asks for.
    pub(crate) wait: Option<Duration>,
    /// What named it.
    pub(crate) by: By,
    /// The host names another sandbox.
    pub(crate) contradicts_host: bool,
}

/// What names a sandbox in a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum By {
    /// `X-Sandbox-*`.
    Headers,
    /// The host.
    Host,
    /// The path.
    Path {
        /// The part that names it, as the client sees it.
        prefix: Box<str>,
        /// Bytes of the path that are not the sandbox's.
        length: usize,
    },
}

impl By {
    /// Takes what names the sandbox off the target of its request.
    ///
    /// # Errors
    /// If nothing that can be sent is left.
    pub(crate) fn leave(&self, uri: &mut Uri) -> Result<(), Error> {
        if let Self::Path { length, .. } = self {
            *uri =
                path::stripped(std::mem::take(uri), *length).ok_or(Error::Malformed(BAD_PATH))?;
        }
        Ok(())
    }
}

/// What names are completed with.
#[derive(Clone, Debug)]
pub(crate) struct Router {
    /// Lower case, without dots at either end.
    domain: Box<str>,
    /// Of paths that name a sandbox; empty where none do.
    path_prefix: Box<str>,
    namespace: Box<str>,
    port: u16,
    allow_loopback: bool,
}

impl Router {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            domain: config.domain.trim_matches('.').to_ascii_lowercase().into(),
            path_prefix: config.path_routing_prefix.as_str().into(),
            namespace: config.default_namespace.as_str().into(),
            port: config.default_port,
            allow_loopback: config.allow_loopback_pod_ip,
        }
    }

    /// The domain that hosts end in.
    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    /// # Errors
    /// If the request names no sandbox, or names one in a way that no sandbox can be named.
    pub(crate) fn route(&self, parts: &Parts) -> Result<Route, Error> {
        let authority = host::authority(parts)?;
        let headers = &parts.headers;
        let host = authority.map(host::without_port).unwrap_or_default();
        let labels = host::below(host, &self.domain);
        // What is under a sandbox's own host is all the sandbox's.
        if labels.is_none()
            && let Some(named) = path::parse(&self.path_prefix, parts.uri.path())?
        {
            return self.by_path(&named, headers).map(Route::Sandbox);
        }
        let id = single(headers, header::SANDBOX_ID, BAD_ID)?;
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            let mut target = self.by_headers(id, headers)?;
            let by_host = labels.and_then(|labels| self.by_host(&labels, headers).ok());
            target.contradicts_host = by_host.is_some_and(|host| host.key != target.key);
            return Ok(Route::Sandbox(target));
        }
        match labels {
            Some(labels) => self.by_host(&labels, headers).map(Route::Sandbox),
            None if is_health(parts) => Ok(Route::Health),
            None if !host.is_empty() && front::is_asked_for(parts) => Ok(Route::Front),
            None => Err(Error::Malformed(ID_REQUIRED)),
        }
    }

    fn by_headers(&self, id: &HeaderValue, headers: &HeaderMap) -> Result<Target, Error> {
        let id = label(id.as_bytes(), BAD_ID)?;
        let namespace = match present(headers, header::SANDBOX_NAMESPACE, BAD_NAMESPACE)? {
            Some(value) => label(value.as_bytes(), BAD_NAMESPACE)?,
            None => &self.namespace,
        };
        let port = port_header(headers)?.unwrap_or(self.port);
        let key = SandboxKey::new(namespace, id).map_err(|_| Error::Malformed(BAD_ID))?;
        self.target(key, port, By::Headers, headers)
    }

    fn by_host(&self, labels: &str, headers: &HeaderMap) -> Result<Target, Error> {
        let Some((first, namespace)) = labels.split_once('.') else {
            return Err(Error::Malformed(BAD_HOST));
        };
        if namespace.contains('.') {
            return Err(Error::Malformed(BAD_HOST));
        }
        let (port, id) = match first.split_once("--") {
            Some((digits, rest))
                if digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() =>
            {
                (Some(port(digits.as_bytes())?), rest)
            }
            _ => (None, first),
        };
        let id = label(id.as_bytes(), BAD_ID)?;
        let namespace = label(namespace.as_bytes(), BAD_NAMESPACE)?;
        let key = SandboxKey::new(namespace, id).map_err(|_| Error::Malformed(BAD_ID))?;
        let port = match port {
            Some(port) => port,
            None => port_header(headers)?.unwrap_or(self.port),
        };
        self.target(key, port, By::Host, headers)
    }

    /// Upstream's order of checks. Of the headers only the timeout counts.
    fn by_path(&self, named: &path::Named<'_>, headers: &HeaderMap) -> Result<Target, Error> {
        let namespace = label(named.namespace.as_bytes(), BAD_NAMESPACE)?;
        let name = label(named.name.as_bytes(), BAD_ID)?;
        let port = port(named.port.as_bytes())?;
        let key = SandboxKey::new(namespace, name).map_err(|_| Error::Malformed(BAD_ID))?;
        let prefix = format!("{}/{namespace}/{name}/{port}", self.path_prefix).into();
        Ok(Target {
            key,
            port,
            uid: None,
            wait: wait(headers)?,
            by: By::Path {
                prefix,
                length: named.length,
            },
            contradicts_host: false,
        })
    }

    /// The checks that headers and host share, in upstream's order.
    fn target(
        &self,
        key: SandboxKey,
        port: u16,
        by: By,
        headers: &HeaderMap,
    ) -> Result<Target, Error> {
        if let Some(value) = present(headers, header::SANDBOX_POD_IP, BAD_POD_IP)? {
            check_pod_ip(value, self.allow_loopback)?;
        }
        let uid = present(headers, header::SANDBOX_UID, BAD_UID)?.cloned();
        Ok(Target {
            key,
            port,
            uid,
            wait: wait(headers)?,
            by,
            contradicts_host: false,
        })
    }
}

fn is_health(parts: &Parts) -> bool {
    matches!(parts.method, Method::GET | Method::HEAD)
        && parts.uri.path() == "/healthz"
        && !parts
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("x-sandbox-"))
}

/// The one value of a header; a repeated one is as bad as a malformed one.
fn single<'a>(
    headers: &'a HeaderMap,
    name: &str,
    bad: &'static str,
) -> Result<Option<&'a HeaderValue>, Error> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.next() {
        Some(_) => Err(Error::Malformed(bad)),
        None => Ok(first),
    }
}

/// As [`single`]; an empty value is the same as none.
fn present<'a>(
    headers: &'a HeaderMap,
    name: &str,
    bad: &'static str,
) -> Result<Option<&'a HeaderValue>, Error> {
    Ok(single(headers, name, bad)?.filter(|value| !value.is_empty()))
}

fn label<'a>(bytes: &'a [u8], bad: &'static str) -> Result<&'a str, Error> {
    std::str::from_utf8(bytes)
        .ok()
        .filter(|text| is_label(text))
        .ok_or(Error::Malformed(bad))
}

fn port_header(headers: &HeaderMap) -> Result<Option<u16>, Error> {
    present(headers, header::SANDBOX_PORT, BAD_PORT)?
        .map(|value| port(value.as_bytes()))
        .transpose()
}

/// 1 to 65535, digits only.
fn port(digits: &[u8]) -> Result<u16, Error> {
    std::str::from_utf8(digits)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|port| *port != 0)
        .ok_or(Error::Malformed(BAD_PORT))
}

/// The hint itself is not believed; one that no pod can have is refused, as upstream does.
fn check_pod_ip(value: &HeaderValue, allow_loopback: bool) -> Result<(), Error> {
    let address = value
        .to_str()
        .ok()
        .and_then(|text| text.parse::<IpAddr>().ok());
    let allowed = address.is_some_and(|address| {
        let address = address.to_canonical();
        let link_local = match address {
            IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        let loopback = address.is_loopback() && !allow_loopback;
        !(link_local || loopback || address.is_multicast() || address.is_unspecified())
    });
    allowed.then_some(()).ok_or(Error::Malformed(BAD_POD_IP))
}

fn wait(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    Ok(single(headers, header::SANDBOX_TIMEOUT, BAD_TIMEOUT)?.and_then(seconds))
}

/// Positive float seconds. Anything else is ignored: the header can only lower the wait, and half of
/// upstream's routers never read it.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    let seconds: f64 = value.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests;
