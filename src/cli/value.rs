//! How the values of flags are read. A value that could not work is refused here, at the start, with a
//! sentence that says what to write instead.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use axum::http::Uri;
use reveille_crds::key::is_label;
use reveille_crds::subject;

/// Less is no time that anything over a network takes; who writes it means something else.
const SHORTEST: Duration = Duration::from_millis(1);
/// Nobody waits longer, and no clock overflows.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// `host:port`. A port alone listens on all addresses of this machine, as `:8080`; `localhost` is IPv4's.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || {
        format!(
            "{text:?} is no address; write host:port, for example 127.0.0.1:8080, localhost:8080 or :8080"
        )
    };
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    match host {
        "" => Ok((Ipv4Addr::UNSPECIFIED, port).into()),
        "localhost" => Ok((Ipv4Addr::LOCALHOST, port).into()),
        _ if host.contains([' ', ':', '/', '@']) => Err(wrong()),
        _ => {
            let found = (host, port).to_socket_addrs();
            let found = found.map_err(|error| format!("{host:?} has no address: {error}"))?;
            let mut all: Vec<SocketAddr> = found.collect();
            all.sort_by_key(|address| !address.is_ipv4());
            all.first().copied().ok_or_else(wrong)
        }
    }
}

/// DNS labels joined by dots.
pub(crate) fn domain(text: &str) -> Result<String, String> {
    let name = text.trim_matches('.').to_ascii_lowercase();
    if !name.is_empty() && name.len() <= 253 && name.split('.').all(is_label) {
        return Ok(name);
    }
    Err(format!(
        "{text:?} is no domain; write letters, digits, '-' and dots, for example sandbox.localhost"
    ))
}

/// `300s`, `5m`, `1m 30s`, or a plain number of seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let told = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let parsed: jiff::SignedDuration = text.parse().map_err(|_| {
                format!("{text:?} is no duration; write for example 300s, 5m or 1m 30s")
            })?;
            Duration::try_from(parsed)
                .map_err(|_| format!("{text:?} is negative; write for example 300s"))?
        }
    };
    if told > Duration::ZERO && told < SHORTEST {
        return Err(format!(
            "{text:?} is less than a millisecond; write for example 300s, 5m or 500ms"
        ));
    }
    if told > LONGEST {
        return Err(format!(
            "{text:?} is longer than a year; write for example 24h"
        ));
    }
    Ok(told)
}

/// A duration that something has to happen in.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => {
            Err("within no time nothing can be done; write for example 300s".to_owned())
        }
        told => Ok(told),
    }
}

/// How many there may be, at least one.
pub(crate) fn limit<T>(text: &str) -> Result<T, String>
where
    T: FromStr + PartialEq + Default,
{
    let told: Option<T> = text.parse().ok();
    told.filter(|told| *told != T::default()).ok_or_else(|| {
        format!("{text:?} is no limit that lets anything through; write a whole number from 1 on")
    })
}

/// One NATS server.
pub(crate) fn nats(text: &str) -> Result<String, String> {
    let wrong =
        |why: &str| format!("{why}; write for example nats://127.0.0.1:4222, or leave it out");
    if text.trim().is_empty() {
        return Err(wrong("it is empty"));
    }
    let parsed: Result<async_nats::ServerAddr, _> = text.parse();
    match parsed {
        Ok(_) => Ok(text.to_owned()),
        // The text may hold a password.
        Err(error) => Err(wrong(&format!("it is no URL of a NATS server ({error})"))),
    }
}

/// The base of a scaler's API.
pub(crate) fn api(text: &str) -> Result<String, String> {
    let uri: Option<Uri> = text.parse().ok();
    let good = uri.is_some_and(|uri| {
        uri.scheme_str() == Some("http") && uri.authority().is_some() && uri.query().is_none()
    });
    match good {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is no scaler's API; write http://host:port, for example http://reveille-scaler:9090"
        )),
    }
}

/// The name of a namespace or a Lease.
pub(crate) fn label(text: &str) -> Result<String, String> {
    match is_label(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is no name in Kubernetes; write lower-case letters, digits and '-', 63 at most"
        )),
    }
}

/// As [`label`], for lists: an empty variable is as none.
pub(crate) fn label_or_none(text: &str) -> Result<String, String> {
    match text {
        "" => Ok(String::new()),
        text => label(text),
    }
}

/// The name that an activator reports under.
pub(crate) fn activator(text: &str) -> Result<String, String> {
    match subject::is_activator(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} cannot be the name of an activator; write letters, digits, '-' and '_', as its --name"
        )),
    }
}

/// Anything but nothing.
pub(crate) fn text(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty; give a value, or leave the flag out".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let reads = |text: &str, address: &str| {
            assert_eq!(super::address(text), Ok(address.parse().unwrap()), "{text}");
        };
        reads("127.0.0.1:8080", "127.0.0.1:8080");
        reads("[::1]:0", "[::1]:0");
        reads(":8080", "0.0.0.0:8080");
        reads("localhost:8080", "127.0.0.1:8080");
        for bad in [
            "",
            "8080",
            "localhost",
            "localhost:",
            ":http",
            "a b:1",
            ":65536",
            "::1:80:x",
            "http://a:1",
        ] {
            assert!(
                address(bad).unwrap_err().contains("write host:port"),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_domain_is_labels_and_dots() {
        assert_eq!(
            domain("Sandbox.Localhost."),
            Ok("sandbox.localhost".to_owned())
        );
        for bad in [
            "",
            ".",
            "bad domain",
            "a..b",
            "-a.b",
            "a_b",
            "a/b",
            &"x".repeat(64),
        ] {
            assert!(domain(bad).unwrap_err().contains("is no domain"), "{bad}");
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("300s"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(duration("-1s").unwrap_err().contains("negative"));
        assert!(duration("soon").unwrap_err().contains("for example"));
        assert!(duration("").unwrap_err().contains("for example"));
        assert!(
            duration("18446744073709551615")
                .unwrap_err()
                .contains("a year")
        );
        assert_eq!(duration("1ms"), Ok(Duration::from_millis(1)));
        for nonsense in ["1ns", "999us", "0.0005s"] {
            for read in [duration, timeout] {
                assert!(
                    read(nonsense).unwrap_err().contains("a millisecond"),
                    "{nonsense}"
                );
            }
        }
        assert!(timeout("0s").unwrap_err().contains("for example"));
        assert_eq!(timeout("1s"), Ok(Duration::from_secs(1)));
    }

    #[test]
    fn a_limit_lets_something_through() {
        assert_eq!(limit("7"), Ok(7_u32));
        for bad in ["0", "-1", "", "many", "4294967296"] {
            assert!(
                limit::<u32>(bad).unwrap_err().contains("from 1 on"),
                "{bad}"
            );
        }
    }

    #[test]
    fn what_cannot_be_reached_or_found_is_refused() {
        assert!(nats("nats://127.0.0.1:4222").is_ok());
        assert!(nats("").unwrap_err().contains("leave it out"));
        assert!(api("http://scaler:9090").is_ok());
        for bad in ["", "scaler:9090", "https://scaler", "http://"] {
            assert!(api(bad).unwrap_err().contains("write http://"), "{bad}");
        }
        assert!(label("agents").is_ok() && label("A").is_err() && label("").is_err());
        assert_eq!(label_or_none(""), Ok(String::new()));
        assert!(text(" ").is_err() && text("a").is_ok());
    }
}
