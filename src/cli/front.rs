//! Who is in front of an activator, and whose web pages may use sandboxes.

use std::net::IpAddr;

use clap::Args;
use ipnet::IpNet;
use reveille_activator::config::{Origin, Pages};

#[derive(Debug, Args)]
#[command(next_help_heading = "Fronts and pages")]
pub(crate) struct FrontArgs {
    /// Paths <PREFIX>/<namespace>/<name>/<port>/… reach a sandbox too: for browsers, which cannot set
    /// headers, where names below --domain do not resolve. All sandboxes then share one origin.
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true,
        value_parser = path_prefix,
        env = "REVEILLE_PATH_ROUTING_PREFIX"
    )]
    pub(crate) path_routing_prefix: String,
    /// Addresses or networks (10.0.0.0/8) of proxies in front, separated by commas. What they say of the
    /// client in X-Forwarded-*, Forwarded and X-Real-IP is believed, kept and added to; what anybody else
    /// says is replaced.
    #[arg(
        long,
        value_name = "CIDR",
        value_delimiter = ',',
        value_parser = network,
        env = "REVEILLE_TRUSTED_PROXIES"
    )]
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Origin (https://app.example.com) whose web pages may use sandboxes besides a sandbox's own, or * for
    /// all, or none for no other. May be repeated [default: none on one machine; on Kubernetes pages are not
    /// checked unless this is given].
    #[arg(
        long,
        value_name = "ORIGIN",
        value_delimiter = ',',
        value_parser = pages,
        env = "REVEILLE_ALLOW_ORIGIN"
    )]
    pub(crate) allow_origin: Vec<Pages>,
}

impl FrontArgs {
    /// All that were named, or `unnamed`.
    pub(crate) fn pages(&self, unnamed: Pages) -> Pages {
        let mut origins = Vec::new();
        for pages in &self.allow_origin {
            match pages {
                Pages::Of(some) => origins.extend_from_slice(some),
                all => return all.clone(),
            }
        }
        if self.allow_origin.is_empty() {
            unnamed
        } else {
            Pages::Of(origins)
        }
    }
}

/// Upstream's rule, and nothing in it that would have to be escaped: it is compared with the path as it came.
fn path_prefix(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let is_prefix = text.starts_with('/')
        && !text.ends_with('/')
        && !text.contains("//")
        && text.bytes().all(is_plain);
    if text.is_empty() || is_prefix {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is no path prefix; write for example /sandboxes, without a slash at its end"
        ))
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(address).ok_or_else(|| {
        format!("{text:?} is neither a network nor an address; write for example 10.0.0.0/8")
    })
}

fn pages(text: &str) -> Result<Pages, String> {
    match text {
        "*" => Ok(Pages::Any),
        "none" => Ok(Pages::Of(Vec::new())),
        origin => Ok(Pages::Of(vec![origin.parse::<Origin>()?])),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        front: FrontArgs,
    }

    fn front(flags: &[&str]) -> Result<FrontArgs, String> {
        let flags = Flags::try_parse_from(["it"].iter().chain(flags));
        flags
            .map(|flags| flags.front)
            .map_err(|error| error.to_string())
    }

    fn allowed(flags: &[&str]) -> Pages {
        front(flags).unwrap().pages(Pages::Unchecked)
    }

    #[test]
    fn pages_are_of_the_origins_that_are_named() {
        let of = |origins: &[&str]| {
            Pages::Of(
                origins
                    .iter()
                    .map(|origin| origin.parse().unwrap())
                    .collect(),
            )
        };
        assert_eq!(allowed(&[]), Pages::Unchecked);
        assert_eq!(allowed(&["--allow-origin", "none"]), of(&[]));
        assert_eq!(allowed(&["--allow-origin", "*"]), Pages::Any);
        let two = [
            "--allow-origin",
            "https://a.example",
            "--allow-origin",
            "http://b:3000",
        ];
        assert_eq!(allowed(&two), of(&["https://a.example", "http://b:3000"]));
        let error = front(&["--allow-origin", "a.example"]).unwrap_err();
        assert!(error.contains("write for example https://"), "{error}");
    }

    #[test]
    fn a_front_is_an_address_or_a_network() {
        let flags = ["--trusted-proxies", "10.0.0.0/8,192.0.2.1,fd00::/8"];
        let networks = front(&flags).unwrap().trusted_proxies;
        let texts: Vec<String> = networks.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.0.0.0/8", "192.0.2.1/32", "fd00::/8"]);
        let error = front(&["--trusted-proxies", "nginx"]).unwrap_err();
        assert!(error.contains("10.0.0.0/8"), "{error}");
    }

    #[test]
    fn a_prefix_is_a_plain_path() {
        let read =
            |text: &str| front(&["--path-routing-prefix", text]).map(|it| it.path_routing_prefix);
        assert_eq!(read("/sandboxes").as_deref(), Ok("/sandboxes"));
        assert_eq!(read("/a/b-c").as_deref(), Ok("/a/b-c"));
        for wrong in ["/", "a", "/a/", "/a//b", "/a b", "/a%20b", "/a?b"] {
            assert!(read(wrong).unwrap_err().contains("/sandboxes"), "{wrong}");
        }
    }
}
