//! `Set-Cookie`: its domain and its path are names too.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::Naming;
use crate::host;

/// The cookie as the client has to keep it; `None` if it is right as it is.
///
/// A domain that only we know becomes that of the client's URL. Under a prefix the path is led below it:
/// sandboxes that share a host must not get each other's cookies.
pub(super) fn turned(naming: &Naming, cookie: &str, at: IpAddr) -> Option<String> {
    let mut attributes = cookie.split(';');
    let pair = attributes.next()?;
    // A browser takes this prefix only with the path `/` (RFC 6265bis §4.1.3.2).
    let is_of_host = pair
        .trim_start()
        .get(.."__Host-".len())
        .is_some_and(|start| start.eq_ignore_ascii_case("__Host-"));
    let (mut turned, mut is_other) = (pair.to_owned(), false);
    for attribute in attributes {
        let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("domain")
            && naming.is_inner_host(value.trim_start_matches('.'), at)
        {
            is_other = true;
            // An address is no domain; without one the cookie is the host's alone.
            let host = naming.host().filter(|name| host::address(name).is_none());
            if let Some(host) = host {
                // Writing to a String cannot fail.
                let _ = write!(turned, "; Domain={host}");
            }
        } else if name.eq_ignore_ascii_case("path")
            && !is_of_host
            && value.starts_with('/')
            && let Some(prefix) = naming.prefix()
            && naming.below_prefix(value).is_none()
        {
            is_other = true;
            let _ = write!(turned, "; Path={prefix}{value}");
        } else {
            turned.push(';');
            turned += attribute;
        }
    }
    is_other.then_some(turned)
}
