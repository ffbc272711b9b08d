use http::Request;
use proptest::prelude::*;

use super::*;

const STRANGER: &str = "192.0.2.7";
const FRONT: &str = "10.0.0.9";

fn trusted() -> Vec<IpNet> {
    ["10.0.0.0/8", "fd00::/8"]
        .map(|network| network.parse().unwrap())
        .to_vec()
}

fn parts(fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().header("host", "alice.agents.x:8080");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// What the sandbox sees of what the peer has sent.
fn told(peer: &str, fields: &[(&str, &str)]) -> Vec<(String, String)> {
    by(peer, &By::Host, fields)
}

fn by(peer: &str, by: &By, fields: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut parts = parts(fields);
    let way = of(&parts, peer.parse().unwrap(), &trusted());
    parts.headers.remove(HOST);
    let peer = HeaderValue::from_str(peer).unwrap();
    way.tell(&mut parts.headers, &peer, by);
    let mut told: Vec<(String, String)> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    told.sort();
    told
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

fn client_of(peer: &str, fields: &[(&str, &str)]) -> String {
    let way = of(&parts(fields), peer.parse().unwrap(), &trusted());
    way.client.to_string()
}

const FORGED: [(&str, &str); 9] = [
    ("x-forwarded-for", "6.6.6.6"),
    ("x-forwarded-for", "7.7.7.7"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "bank.example"),
    ("x-forwarded-port", "443"),
    ("x-forwarded-prefix", "/evil"),
    ("x-forwarded-client-cert", "x"),
    ("forwarded", "for=6.6.6.6;proto=https"),
    ("x-real-ip", "6.6.6.6"),
];

#[test]
fn a_strangers_words_are_replaced() {
    let plain = [
        ("x-forwarded-for", STRANGER),
        ("x-forwarded-host", "alice.agents.x:8080"),
        ("x-forwarded-proto", "http"),
    ];
    assert_eq!(told(STRANGER, &[]), pairs(plain));
    let expected = [
        (
            "forwarded",
            "for=192.0.2.7;host=\"alice.agents.x:8080\";proto=http",
        ),
        ("x-forwarded-for", STRANGER),
        ("x-forwarded-host", "alice.agents.x:8080"),
        ("x-forwarded-port", "8080"),
        ("x-forwarded-proto", "http"),
        ("x-real-ip", STRANGER),
    ];
    assert_eq!(told(STRANGER, &FORGED), pairs(expected));
    assert_eq!(client_of(STRANGER, &FORGED), STRANGER);
}

#[test]
fn a_trusted_fronts_words_are_kept_and_this_hop_is_added() {
    let fields = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "agents.example.com"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-prefix", "/agents"),
        ("forwarded", "for=192.0.2.1;proto=https"),
        ("x-real-ip", "192.0.2.1"),
    ];
    let expected = [
        (
            "forwarded",
            "for=192.0.2.1;proto=https, for=10.0.0.9;host=\"alice.agents.x:8080\";proto=http",
        ),
        ("x-forwarded-for", "6.6.6.6, 192.0.2.1, 10.0.0.9"),
        ("x-forwarded-host", "agents.example.com"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-prefix", "/agents"),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "192.0.2.1"),
    ];
    assert_eq!(told(FRONT, &fields), pairs(expected));
    let way = of(&parts(&fields), FRONT.parse().unwrap(), &trusted());
    assert_eq!(way.scheme, Scheme::Https);
    assert_eq!(way.authority.unwrap(), "agents.example.com");
}

#[test]
fn what_this_proxy_took_off_the_path_follows_what_the_front_took_off() {
    let path = By::Path {
        prefix: "/r/agents/alice/80".into(),
        length: 18,
    };
    let prefix = |peer: &str| {
        let told = by(peer, &path, &[("x-forwarded-prefix", "/front/")]);
        let told = told
            .into_iter()
            .find(|(name, _)| name == "x-forwarded-prefix");
        told.unwrap().1
    };
    assert_eq!(prefix(FRONT), "/front/r/agents/alice/80");
    assert_eq!(prefix(STRANGER), "/r/agents/alice/80");
    // It would lead redirects to another host.
    let evil = by(FRONT, &path, &[("x-forwarded-prefix", "//evil.example")]);
    let expected = "/r/agents/alice/80".to_owned();
    assert!(
        evil.contains(&("x-forwarded-prefix".to_owned(), expected)),
        "{evil:?}"
    );
}

#[test]
fn the_client_is_the_last_hop_that_is_no_trusted_front() {
    let xff = |chain: &str| client_of(FRONT, &[("x-forwarded-for", chain)]);
    assert_eq!(client_of(FRONT, &[]), FRONT);
    assert_eq!(xff("6.6.6.6, 192.0.2.1, 10.1.1.1"), "192.0.2.1");
    assert_eq!(xff("10.2.2.2, 10.1.1.1"), "10.2.2.2");
    assert_eq!(xff("192.0.2.1:4711"), "192.0.2.1");
    assert_eq!(xff("[2001:db8::1]:4711"), "2001:db8::1");
    assert_eq!(xff("2001:db8::1"), "2001:db8::1");
    assert_eq!(xff("::ffff:192.0.2.1"), "192.0.2.1");
    // What cannot be read hides what is before it.
    for garbage in [
        "6.6.6.6, unknown",
        "6.6.6.6, ",
        "",
        "6.6.6.6, 1.2.3.4.5",
        "\u{e4}",
    ] {
        assert_eq!(xff(garbage), FRONT, "{garbage}");
    }
    let twice = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-for", "192.0.2.1"),
    ];
    assert_eq!(client_of(FRONT, &twice), "192.0.2.1");
    let forwarded = |value: &str| client_of(FRONT, &[("forwarded", value)]);
    assert_eq!(
        forwarded("for=6.6.6.6, For=192.0.2.1;proto=https"),
        "192.0.2.1"
    );
    assert_eq!(
        forwarded("proto=https;for=\"[2001:db8::1]:4711\""),
        "2001:db8::1"
    );
    assert_eq!(
        forwarded("host=\"a,for=6.6.6.6\";for=192.0.2.1"),
        "192.0.2.1"
    );
    for hidden in [
        "for=192.0.2.1, for=_x",
        "for=unknown",
        "for=\"192.0.2.1",
        "by=192.0.2.1",
    ] {
        assert_eq!(forwarded(hidden), FRONT, "{hidden}");
    }
    assert_eq!(client_of(FRONT, &[("x-real-ip", "192.0.2.1")]), "192.0.2.1");
}

#[test]
fn a_chain_is_read_as_far_as_a_chain_can_be_long() {
    let long = format!("192.0.2.1{}", ", 10.1.1.1".repeat(6000));
    assert_eq!(client_of(FRONT, &[("x-forwarded-for", &long)]), "10.1.1.1");
}

#[test]
fn a_caller_of_ipv6_is_a_network() {
    let of = |text: &str| caller(text.parse().unwrap()).to_string();
    assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    assert_eq!(of("192.0.2.7"), "192.0.2.7");
}

#[test]
fn a_page_is_the_sandboxs_own_under_each_name_it_was_asked_by() {
    let fields = [("x-forwarded-host", "agents.example.com")];
    let front = of(&parts(&fields), FRONT.parse().unwrap(), &trusted());
    for own in [
        "http://alice.agents.x:8080",
        "https://Alice.agents.x:8080",
        "https://agents.example.com",
        "https://agents.example.com:443",
    ] {
        assert!(front.is_own(own), "{own}");
    }
    for other in [
        "http://alice.agents.x",
        "http://bob.agents.x:8080",
        "https://agents.example.com:8443",
        "null",
        "",
        "ftp://agents.example.com",
        "chrome-extension://agents.example.com",
    ] {
        assert!(!front.is_own(other), "{other}");
    }
    let stranger = of(&parts(&fields), STRANGER.parse().unwrap(), &trusted());
    assert!(!stranger.is_own("https://agents.example.com"));
}

proptest! {
    /// Whatever is sent: no panic, a stranger is never anybody but itself, and what a trusted front has
    /// noted last is believed.
    #[test]
    fn nothing_that_is_sent_makes_a_stranger_somebody_else(
        name in "x-forwarded-(for|host|proto|port|prefix)|forwarded|x-real-ip",
        value in proptest::collection::vec(any::<u8>(), 0..200),
        quoted in "[ -~]{0,80}",
        is_text: bool,
    ) {
        let value = if is_text { HeaderValue::from_str(&quoted) } else { HeaderValue::from_bytes(&value).map_err(|_| HeaderValue::from_str("\n").unwrap_err()) };
        if let Ok(value) = value {
            for peer in [STRANGER, FRONT] {
                let mut parts = parts(&[]);
                parts.headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.clone());
                let way = of(&parts, peer.parse().unwrap(), &trusted());
                if peer == STRANGER {
                    prop_assert_eq!(way.client.to_string(), STRANGER);
                    prop_assert_eq!(way.scheme, Scheme::Http);
                    prop_assert_eq!(way.authority.clone().unwrap(), "alice.agents.x:8080");
                }
                way.tell(&mut parts.headers, &HeaderValue::from_str(peer).unwrap(), &By::Host);
                let chain = parts.headers.get_all(FORWARDED_FOR).iter().collect::<Vec<_>>();
                prop_assert_eq!(chain.len(), 1);
                prop_assert!(chain[0].as_bytes().ends_with(peer.as_bytes()));
            }
        }
    }

    #[test]
    fn an_address_is_read_as_it_was_written(address: std::net::IpAddr, port: u16) {
        let address = address.to_canonical();
        let text = std::net::SocketAddr::new(address, port).to_string();
        prop_assert_eq!(forwarded::node(&text), Some(address));
        prop_assert_eq!(forwarded::node(&address.to_string()), Some(address));
        let element = forwarded::element(address, None);
        prop_assert_eq!(forwarded::client(element.as_bytes()), Some(address));
    }
}
