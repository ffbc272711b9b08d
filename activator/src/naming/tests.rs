use http::Request;
use ipnet::IpNet;

use super::*;
use crate::way;

const AT: &str = "10.0.0.5:9222";
const NAME: &str = "alice.agents.example.com";

/// A request of a browser at `https://alice.agents.example.com`, seen by a proxy behind a front that it
/// trusts.
fn request(by: &By, mode: HostHeader, fields: &[(&str, &str)]) -> (Naming, HeaderMap) {
    let mut request = Request::get("/").header("host", NAME);
    request = request.header("x-forwarded-proto", "https");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    let trusted: [IpNet; 1] = ["192.0.2.1/32".parse().unwrap()];
    let way = way::of(&parts, "192.0.2.1".parse().unwrap(), &trusted);
    let naming = Naming::of(&way, by, mode, &parts.headers);
    parts.headers.remove(HOST);
    naming.address(&mut parts.headers, AT.parse().unwrap());
    (naming, parts.headers)
}

fn path() -> By {
    By::Path {
        prefix: "/r/agents/alice/9222".into(),
        length: 20,
    }
}

fn seen(by: &By, mode: HostHeader, name: &str, value: &str) -> String {
    let (_, headers) = request(by, mode, &[(name, value)]);
    headers[name].to_str().unwrap().to_owned()
}

/// What the client gets of a header of the answer.
fn back(by: &By, mode: HostHeader, name: &'static str, value: &str) -> String {
    let own = format!("https://{NAME}");
    let (naming, _) = request(by, mode, &[("origin", &own)]);
    let mut answer = HeaderMap::new();
    answer.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    naming.turn_back(&mut answer, AT.parse().unwrap());
    String::from_utf8(answer[name].as_bytes().to_vec()).unwrap()
}

#[test]
fn who_is_routed_by_headers_sees_its_address_and_everybody_else_the_clients_name() {
    let host = |by: &By, mode| {
        let (_, headers) = request(by, mode, &[]);
        headers
            .get(HOST)
            .map(|host| host.to_str().unwrap().to_owned())
    };
    // The connection knows the address.
    assert_eq!(host(&By::Headers, HostHeader::Auto), None);
    assert_eq!(host(&By::Host, HostHeader::Auto).as_deref(), Some(NAME));
    assert_eq!(host(&path(), HostHeader::Auto).as_deref(), Some(NAME));
    for by in [By::Headers, By::Host, path()] {
        assert_eq!(host(&by, HostHeader::Preserve).as_deref(), Some(NAME));
        let localhost = host(&by, HostHeader::Rewrite);
        assert_eq!(localhost.as_deref(), Some("localhost:9222"));
    }
}

#[test]
fn a_second_attempt_names_the_second_address() {
    let (naming, mut headers) = request(&By::Host, HostHeader::Rewrite, &[]);
    naming.address(&mut headers, "10.0.0.6:80".parse().unwrap());
    assert_eq!(headers[HOST], "localhost");
    let (naming, mut headers) = request(&By::Headers, HostHeader::Auto, &[]);
    headers.insert(HOST, HeaderValue::from_static(AT));
    naming.address(&mut headers, "10.0.0.6:80".parse().unwrap());
    assert_eq!(headers.get(HOST), None);
}

#[test]
fn a_sandbox_called_localhost_sees_its_own_pages_as_its_own_and_foreign_ones_as_foreign() {
    let own = format!("https://{NAME}");
    let rewrite = |name: &str, value: &str| seen(&By::Host, HostHeader::Rewrite, name, value);
    assert_eq!(rewrite("origin", &own), "http://localhost:9222");
    assert_eq!(
        rewrite("origin", "https://evil.example"),
        "https://evil.example"
    );
    assert_eq!(rewrite("origin", "null"), "null");
    let page = format!("{own}/page?x=1");
    assert_eq!(rewrite("referer", &page), "http://localhost:9222/page?x=1");
    assert_eq!(rewrite("referer", &own), "http://localhost:9222");
    let other = "https://evil.example/page";
    assert_eq!(rewrite("referer", other), other);
    let below = format!("{own}/r/agents/alice/9222/page");
    let referer = seen(&path(), HostHeader::Rewrite, "referer", &below);
    assert_eq!(referer, "http://localhost:9222/page");
    // Where the name stays, all else does.
    assert_eq!(seen(&By::Host, HostHeader::Auto, "origin", &own), own);
    assert_eq!(seen(&By::Host, HostHeader::Auto, "referer", &page), page);
}

#[test]
fn no_redirect_leads_to_an_address_that_only_we_know() {
    let led = [
        (
            "http://10.0.0.5:9222/x?y#z",
            "https://alice.agents.example.com/x?y#z",
        ),
        ("http://10.0.0.5:9222", "https://alice.agents.example.com/"),
        (
            "https://10.0.0.5:9222?q",
            "https://alice.agents.example.com/?q",
        ),
        ("//10.0.0.5:9222/x", "//alice.agents.example.com/x"),
        ("ws://10.0.0.5:9222/x", "wss://alice.agents.example.com/x"),
        (
            "http://10.0.0.5:9222/\u{fc}",
            "https://alice.agents.example.com/\u{fc}",
        ),
    ];
    let left = [
        "/x",
        "x",
        "",
        "http://10.0.0.5:9223/x",
        "http://10.0.0.6:9222/x",
        "http://10.0.0.5:9222.evil.example/",
        "http://user@10.0.0.5:9222/",
        "https://login.example/?back=http://10.0.0.5:9222/",
        "https://alice.agents.example.com/x",
        "mailto:a@10.0.0.5",
        "http://",
        "//",
    ];
    for mode in [HostHeader::Auto, HostHeader::Preserve, HostHeader::Rewrite] {
        for by in [By::Headers, By::Host] {
            for name in ["location", "content-location"] {
                for (inner, outer) in led {
                    assert_eq!(back(&by, mode, name, inner), outer, "{mode:?}");
                }
                for url in left {
                    assert_eq!(back(&by, mode, name, url), url, "{mode:?}");
                }
            }
        }
    }
    let refresh = back(
        &By::Host,
        HostHeader::Auto,
        "refresh",
        "5; URL='http://10.0.0.5:9222/x'",
    );
    assert_eq!(refresh, "5; URL=https://alice.agents.example.com/x");
    let links = "<http://10.0.0.5:9222/2>; rel=next, <https://other/>; rel=help";
    let expected = "<https://alice.agents.example.com/2>; rel=next, <https://other/>; rel=help";
    assert_eq!(back(&By::Host, HostHeader::Auto, "link", links), expected);
}

#[test]
fn the_name_localhost_is_turned_back_only_where_it_was_told() {
    let inner = "http://localhost:9222/x";
    let outer = "https://alice.agents.example.com/x";
    assert_eq!(
        back(&By::Host, HostHeader::Rewrite, "location", inner),
        outer
    );
    assert_eq!(back(&By::Host, HostHeader::Auto, "location", inner), inner);
    let other_port = "http://localhost:3000/callback";
    assert_eq!(
        back(&By::Host, HostHeader::Rewrite, "location", other_port),
        other_port
    );
    let allowed = |mode, origin: &str| back(&By::Host, mode, "access-control-allow-origin", origin);
    let own = "https://alice.agents.example.com";
    assert_eq!(allowed(HostHeader::Rewrite, "http://localhost:9222"), own);
    assert_eq!(allowed(HostHeader::Rewrite, "*"), "*");
    assert_eq!(
        allowed(HostHeader::Auto, "http://localhost:9222"),
        "http://localhost:9222"
    );
}

#[test]
fn a_cookie_of_an_inner_name_is_one_of_the_clients() {
    let cookie = |mode, value: &str| back(&By::Host, mode, "set-cookie", value);
    let turned = cookie(
        HostHeader::Rewrite,
        "a=1; Domain=localhost; Path=/; HttpOnly",
    );
    assert_eq!(
        turned,
        "a=1; Domain=alice.agents.example.com; Path=/; HttpOnly"
    );
    let address = cookie(HostHeader::Auto, "a=\"x;y\"; domain=10.0.0.5");
    assert_eq!(address, "a=\"x;y\"; Domain=alice.agents.example.com");
    for left in ["a=1; Domain=example.com", "a=1", "", "a=localhost; Path=/"] {
        assert_eq!(cookie(HostHeader::Rewrite, left), left);
    }
    assert_eq!(
        cookie(HostHeader::Auto, "a=1; Domain=localhost"),
        "a=1; Domain=localhost"
    );
}

#[test]
fn what_stands_for_the_whole_host_is_led_below_the_prefix() {
    let back = |name, value: &str| back(&path(), HostHeader::Auto, name, value);
    let own = "https://alice.agents.example.com";
    let led = [
        ("/x?y", "/r/agents/alice/9222/x?y".to_owned()),
        ("/", "/r/agents/alice/9222/".to_owned()),
        (
            "http://10.0.0.5:9222/x",
            format!("{own}/r/agents/alice/9222/x"),
        ),
        (
            "http://10.0.0.5:9222",
            format!("{own}/r/agents/alice/9222/"),
        ),
        (
            "http://alice.agents.example.com/x/",
            "http://alice.agents.example.com/r/agents/alice/9222/x/".to_owned(),
        ),
    ];
    for (inner, outer) in led {
        assert_eq!(back("location", inner), outer);
    }
    for left in [
        "/r/agents/alice/9222",
        "/r/agents/alice/9222/x",
        "/r/agents/alice/9222?x",
        "x",
        "../x",
        "//other.example/x",
        "https://other.example/x",
    ] {
        assert_eq!(back("location", left), left);
    }
    // Another sandbox under the same host.
    assert_eq!(
        back("location", "/r/agents/alice/92220/x"),
        "/r/agents/alice/9222/r/agents/alice/92220/x"
    );
    assert_eq!(
        back("set-cookie", "a=1; Path=/"),
        "a=1; Path=/r/agents/alice/9222/"
    );
    assert_eq!(
        back("set-cookie", "__Host-a=1; Path=/"),
        "__Host-a=1; Path=/"
    );
    assert_eq!(back("service-worker-allowed", "/"), "/r/agents/alice/9222/");
}

#[test]
fn every_line_of_an_answer_is_turned() {
    let (naming, _) = request(&By::Host, HostHeader::Rewrite, &[]);
    let mut answer = HeaderMap::new();
    for value in ["a=1; Domain=localhost", "b=2", "c=3; Domain=LOCALHOST"] {
        answer.append("set-cookie", HeaderValue::from_static(value));
    }
    naming.turn_back(&mut answer, AT.parse().unwrap());
    let cookies: Vec<_> = answer.get_all("set-cookie").iter().collect();
    let expected = [
        "a=1; Domain=alice.agents.example.com",
        "b=2",
        "c=3; Domain=alice.agents.example.com",
    ];
    assert_eq!(cookies, expected);
}

#[test]
fn without_a_name_of_the_client_a_redirect_is_one_within_the_host() {
    let (parts, ()) = Request::get("/").body(()).unwrap().into_parts();
    let way = way::of(&parts, "192.0.2.1".parse().unwrap(), &[]);
    let naming = Naming::of(&way, &By::Headers, HostHeader::Rewrite, &parts.headers);
    let mut answer = HeaderMap::new();
    answer.insert(
        "location",
        HeaderValue::from_static("http://localhost:9222/x"),
    );
    answer.insert(
        "set-cookie",
        HeaderValue::from_static("a=1; Domain=localhost"),
    );
    naming.turn_back(&mut answer, AT.parse().unwrap());
    assert_eq!(answer["location"], "/x");
    assert_eq!(answer["set-cookie"], "a=1");
}

proptest::proptest! {
    /// Whatever an agent answers: no panic, and never a value that would split the head.
    #[test]
    fn nothing_that_an_agent_says_panics(
        value in "[ -~]{0,60}",
        url in "(https?:|ws:)?//(10\\.0\\.0\\.5|localhost|alice\\.agents\\.example\\.com)(:9222)?[/?#]?[ -~]{0,20}",
        is_url: bool,
    ) {
        let value = if is_url { url } else { value };
        for name in ["location", "refresh", "link", "set-cookie", "access-control-allow-origin"] {
            for by in [By::Headers, By::Host, path()] {
                let turned = back(&by, HostHeader::Rewrite, name, &value);
                proptest::prop_assert!(!turned.contains(['\r', '\n']));
            }
        }
    }
}
