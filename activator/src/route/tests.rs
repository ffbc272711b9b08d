mod path;

use http::Request;

use super::*;

fn router() -> Router {
    Router::new(&Config {
        domain: "sandbox.localhost".into(),
        ..Config::default()
    })
}

fn route(uri: &str, headers: &[(&str, &str)]) -> Result<Route, String> {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    router()
        .route(&parts)
        .map_err(|error| error.detail().into_owned())
}

fn target(uri: &str, headers: &[(&str, &str)]) -> Result<(String, u16), String> {
    match route(uri, headers)? {
        Route::Sandbox(target) => Ok((target.key.to_string(), target.port)),
        Route::Health => Ok(("healthz".to_owned(), 0)),
        Route::Front => Ok(("front".to_owned(), 0)),
    }
}

fn host(host: &str) -> Result<(String, u16), String> {
    target("/x", &[("host", host)])
}

fn ids(headers: &[(&str, &str)]) -> Result<(String, u16), String> {
    let mut all = vec![("host", "proxy:8080")];
    all.extend_from_slice(headers);
    target("/x", &all)
}

#[test]
fn headers_name_a_sandbox_with_upstreams_defaults() {
    assert_eq!(
        ids(&[("x-sandbox-id", "alice")]),
        Ok(("default/alice".into(), 8888))
    );
    let all = [
        ("x-sandbox-id", "alice"),
        ("x-sandbox-namespace", "agents"),
        ("x-sandbox-port", "80"),
    ];
    assert_eq!(ids(&all), Ok(("agents/alice".into(), 80)));
}

#[test]
fn a_bad_header_is_refused_in_upstreams_words_and_order() {
    let bad = |headers: &[(&str, &str)], text: &str| {
        assert_eq!(ids(headers), Err(text.to_owned()), "{headers:?}")
    };
    bad(&[], "X-Sandbox-ID header is required.");
    bad(&[("x-sandbox-id", "")], "X-Sandbox-ID header is required.");
    for id in ["Alice", "a.b", "-a", "a_b", &"x".repeat(64)] {
        bad(
            &[("x-sandbox-id", id), ("x-sandbox-port", "0")],
            "Invalid sandbox ID format.",
        );
    }
    bad(
        &[("x-sandbox-id", "a"), ("x-sandbox-id", "b")],
        "Invalid sandbox ID format.",
    );
    let with = |name: &'static str, value: &'static str| [("x-sandbox-id", "alice"), (name, value)];
    bad(
        &with("x-sandbox-namespace", "No"),
        "Invalid namespace format.",
    );
    for port in ["0", "65536", "abc", "-1", "+80", "8 0"] {
        let headers = [
            ("x-sandbox-id", "alice"),
            ("x-sandbox-port", port),
            ("x-sandbox-pod-ip", "x"),
        ];
        bad(&headers, "Invalid port format.");
    }
    for ip in [
        "169.254.169.254",
        "127.0.0.1",
        "0.0.0.0",
        "ff02::1",
        "::1",
        "::",
        "fe80::1",
        "::ffff:127.0.0.1",
        "10.0.0",
        "host",
    ] {
        let headers = [("x-sandbox-id", "alice"), ("x-sandbox-pod-ip", ip)];
        bad(&headers, "Invalid target IP address.");
    }
    assert!(ids(&with("x-sandbox-pod-ip", "2001:db8::1")).is_ok());
    assert!(ids(&with("x-sandbox-pod-ip", "10.1.2.3")).is_ok());
}

#[test]
fn pods_of_this_machine_may_be_named_where_that_is_allowed() {
    let router = Router::new(&Config {
        allow_loopback_pod_ip: true,
        ..Config::default()
    });
    let ask = |ip| {
        let request = Request::get("/").header("host", "proxy:8080");
        let request = request.header("x-sandbox-id", "alice");
        let (parts, ()) = request
            .header("x-sandbox-pod-ip", ip)
            .body(())
            .unwrap()
            .into_parts();
        router.route(&parts).is_ok()
    };
    assert!(["127.64.0.9", "::1"].into_iter().all(ask));
    assert!(!["0.0.0.0", "169.254.169.254"].into_iter().any(ask));
}

#[test]
fn a_timeout_is_positive_seconds_and_anything_else_is_ignored() {
    let wait = |value: &str| match route(
        "/",
        &[
            ("host", "p"),
            ("x-sandbox-id", "a"),
            ("x-sandbox-timeout", value),
        ],
    ) {
        Ok(Route::Sandbox(target)) => target.wait,
        other => panic!("{other:?}"),
    };
    assert_eq!(wait("2.5"), Some(Duration::from_millis(2500)));
    for ignored in ["0", "-1", "nan", "inf", "soon", ""] {
        assert_eq!(wait(ignored), None, "{ignored}");
    }
}

#[test]
fn a_host_names_sandbox_namespace_and_port() {
    let alice = Ok(("agents/alice".to_owned(), 8888));
    for name in [
        "alice.agents.sandbox.localhost",
        "alice.agents.sandbox.localhost:8080",
        "Alice.Agents.SANDBOX.localhost.",
    ] {
        assert_eq!(host(name), alice, "{name}");
    }
    assert_eq!(
        host("3000--alice.agents.sandbox.localhost:80"),
        Ok(("agents/alice".into(), 3000))
    );
    assert_eq!(
        host("a--b.agents.sandbox.localhost"),
        Ok(("agents/a--b".into(), 8888))
    );
    let port_header = [
        ("host", "alice.agents.sandbox.localhost"),
        ("x-sandbox-port", "9000"),
    ];
    assert_eq!(target("/", &port_header), Ok(("agents/alice".into(), 9000)));
}

#[test]
fn a_host_that_cannot_be_a_sandbox_is_refused() {
    assert_eq!(host("127.0.0.1:8080"), Err(ID_REQUIRED.into()));
    assert_eq!(host("sandbox.localhost"), Err(ID_REQUIRED.into()));
    assert_eq!(
        host("alice.agents.sandbox.localhost.evil"),
        Err(ID_REQUIRED.into())
    );
    assert_eq!(host("alice.sandbox.localhost"), Err(BAD_HOST.into()));
    assert_eq!(host("a.b.c.sandbox.localhost"), Err(BAD_HOST.into()));
    assert_eq!(
        host("99999--alice.agents.sandbox.localhost"),
        Err("Invalid port format.".into())
    );
    assert_eq!(
        host(&format!("{}.a.sandbox.localhost", "x".repeat(64))),
        Err("Invalid sandbox ID format.".into())
    );
    for host_value in [
        "a b", "a/b", "user@a", "a:b", "[::1", "a:1:2", "a:99999", "a:+80",
    ] {
        assert_eq!(
            host(host_value),
            Err("Invalid Host header.".into()),
            "{host_value}"
        );
    }
    assert_eq!(target("/", &[]), Err("Host header is required.".into()));
    assert_eq!(
        target("/", &[("host", "a"), ("host", "a")]),
        Err("Invalid Host header.".into())
    );
}

#[test]
fn headers_win_over_the_host_and_the_target_wins_over_the_host() {
    let both = [
        ("host", "bob.b.sandbox.localhost"),
        ("x-sandbox-id", "alice"),
    ];
    assert_eq!(target("/", &both), Ok(("default/alice".into(), 8888)));
    let absolute = target(
        "http://alice.agents.sandbox.localhost/x",
        &[("host", "other")],
    );
    assert_eq!(absolute, Ok(("agents/alice".into(), 8888)));
}

#[test]
fn healthz_is_the_proxys_own_only_where_no_sandbox_is_named() {
    assert_eq!(
        target("/healthz", &[("host", "proxy")]),
        Ok(("healthz".into(), 0))
    );
    let sandbox = [("host", "alice.agents.sandbox.localhost")];
    assert_eq!(
        target("/healthz", &sandbox),
        Ok(("agents/alice".into(), 8888))
    );
    assert_eq!(
        target("/healthz", &[("host", "p"), ("x-sandbox-port", "1")]),
        Err(ID_REQUIRED.into())
    );
}

#[test]
fn the_front_page_is_there_only_where_no_sandbox_is_named() {
    let at = |host: &'static str| target("/", &[("host", host)]);
    let front = Ok(("front".into(), 0));
    assert_eq!(at("127.0.0.1:8080"), front);
    assert_eq!(at("sandbox.localhost"), front);
    assert_eq!(at("alice.sandbox.localhost"), Err(BAD_HOST.into()));
    assert_eq!(at(""), Err(ID_REQUIRED.into()));
    for name in ["x-sandbox-id", "x-sandbox-namespace", "x-sandbox-port"] {
        let named = [("host", "proxy"), (name, "")];
        assert_eq!(target("/", &named), Err(ID_REQUIRED.into()), "{name}");
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn label() -> impl Strategy<Value = String> {
        "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?"
    }

    fn router() -> Router {
        Router::new(&Config {
            path_routing_prefix: "/r".to_owned(),
            ..Config::default()
        })
    }

    fn routed(path: &str, host: &[u8], id: Option<&str>) -> Option<Target> {
        let mut request = Request::get(path);
        if let Ok(host) = HeaderValue::from_bytes(host) {
            request = request.header("host", host);
        }
        if let Some(id) = id {
            request = request.header("x-sandbox-id", id);
        }
        let (parts, ()) = request.body(()).ok()?.into_parts();
        match router().route(&parts).ok()? {
            Route::Sandbox(target) => Some(target),
            Route::Health | Route::Front => None,
        }
    }

    proptest! {
        /// A request for A reaches A: by each form of its name, and with whatever follows it.
        #[test]
        fn a_name_leads_to_whom_it_names(
            name in label(),
            namespace in label(),
            port in 1..=u16::MAX,
            rest in "(/[a-zA-Z0-9%./;=-]{0,30})?",
            is_upper: bool,
        ) {
            let key = format!("{namespace}/{name}");
            let by_path = routed(&format!("/r/{namespace}/{name}/{port}{rest}"), b"proxy", Some("other"));
            let target = by_path.unwrap();
            prop_assert_eq!((target.key.to_string(), target.port), (key.clone(), port));
            let mut host = format!("{port}--{name}.{namespace}.sandbox.localhost:8080");
            if is_upper {
                host = host.to_ascii_uppercase();
            }
            let target = routed("/", host.as_bytes(), None).unwrap();
            prop_assert_eq!((target.key.to_string(), target.port), (key, port));
        }

        /// Whatever stands in host and path: no panic, and only who is named in full is reached.
        #[test]
        fn nothing_but_a_name_in_full_reaches_a_sandbox(
            host in proptest::collection::vec(any::<u8>(), 0..80),
            text in "[a-zA-Z0-9.:%@/\\[\\] -]{0,60}(\\.sandbox\\.localhost)?(:[0-9]{0,6})?",
            path in "/(r/)?[a-z0-9%./A-Z-]{0,60}",
            is_text: bool,
        ) {
            let host = if is_text { text.as_bytes() } else { &host };
            if let Some(target) = routed(&path, host, None) {
                let written = String::from_utf8_lossy(host).to_ascii_lowercase();
                let of_host = format!("{}.{}.sandbox.localhost", target.key.name(), target.key.namespace());
                let is_by_host = target.by == By::Host && written.contains(&of_host);
                let is_by_path = matches!(&target.by, By::Path { .. }) && path.starts_with("/r/");
                prop_assert!(is_by_host || is_by_path, "{written} {path} {target:?}");
            }
        }
    }
}
