use http::Request;

use super::*;
use crate::config::Config;
use crate::route::{Route, Router};
use crate::way;

const ALICE: &str = "alice.agents.sandbox.localhost:8080";

fn of(origins: &[&str]) -> Pages {
    Pages::Of(
        origins
            .iter()
            .map(|origin| origin.parse().unwrap())
            .collect(),
    )
}

fn request(method: Method, path: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn admits(pages: &Pages, parts: &Parts) -> Result<(), String> {
    let config = Config {
        path_routing_prefix: "/r".to_owned(),
        ..Config::default()
    };
    let Ok(Route::Sandbox(target)) = Router::new(&config).route(parts) else {
        panic!("{parts:?} names no sandbox");
    };
    let way = way::of(parts, "127.0.0.1".parse().unwrap(), &[]);
    pages
        .admit(parts, &way, &target, &config.domain)
        .map_err(|error| error.detail().into_owned())
}

fn get(fields: &[(&str, &str)]) -> Result<(), String> {
    let mut all = vec![("host", ALICE)];
    all.extend_from_slice(fields);
    admits(&of(&[]), &request(Method::GET, "/", &all))
}

#[test]
fn what_no_page_sent_is_let_in() {
    assert_eq!(get(&[]), Ok(()));
    assert_eq!(get(&[("user-agent", "curl/8.0")]), Ok(()));
    let sdk = [
        ("host", "router.example.com"),
        ("x-sandbox-id", "alice"),
        ("user-agent", "python-requests/2"),
    ];
    let parts = request(Method::POST, "/execute", &sdk);
    assert_eq!(admits(&of(&[]), &parts), Ok(()));
}

#[test]
fn a_sandboxs_own_pages_and_a_persons_own_steps_are_let_in() {
    let own = format!("http://{ALICE}");
    assert_eq!(get(&[("origin", &own)]), Ok(()));
    assert_eq!(get(&[("sec-fetch-site", "same-origin")]), Ok(()));
    assert_eq!(get(&[("sec-fetch-site", "none")]), Ok(()));
    for site in ["same-site", "cross-site"] {
        let link = [
            ("sec-fetch-site", site),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert_eq!(get(&link), Ok(()));
    }
}

#[test]
fn what_another_sites_page_sends_is_refused() {
    let cases: [&[(&str, &str)]; 8] = [
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://bob.agents.sandbox.localhost:8080")],
        &[("origin", "http://alice.agents.sandbox.localhost:9999")],
        &[
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "no-cors"),
            ("sec-fetch-dest", "image"),
        ],
        &[
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-dest", "empty"),
        ],
        &[
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "iframe"),
        ],
        &[
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "websocket"),
            ("sec-fetch-dest", "websocket"),
            ("origin", "https://evil.example"),
        ],
    ];
    for case in cases {
        let error = get(case).unwrap_err();
        assert!(error.contains("--allow-origin"), "{error}");
    }
    // A form that another site's page submits is a navigation, and not a simple one.
    let form = [
        ("host", ALICE),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    assert!(admits(&of(&[]), &request(Method::POST, "/", &form)).is_err());
    let error = get(&[("origin", "https://evil.example")]).unwrap_err();
    assert!(
        error.contains("--allow-origin https://evil.example "),
        "{error}"
    );
    // What is no origin is not repeated.
    let error = get(&[("origin", "\"<script>")]).unwrap_err();
    assert!(!error.contains("script"), "{error}");
}

#[test]
fn an_origin_that_is_named_is_let_in_and_no_other() {
    let pages = of(&["https://App.example.com:443/", "http://localhost:3000"]);
    let asked = |origin: &str| {
        let fields = [
            ("host", "127.0.0.1:8080"),
            ("x-sandbox-id", "alice"),
            ("origin", origin),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "cors"),
        ];
        admits(&pages, &request(Method::POST, "/", &fields))
    };
    assert_eq!(asked("https://app.example.com"), Ok(()));
    assert_eq!(asked("http://localhost:3000"), Ok(()));
    for other in [
        "https://app.example.com.evil.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        "http://localhost:3001",
        "null",
    ] {
        assert!(asked(other).is_err(), "{other}");
    }
    let fields = [("host", ALICE), ("origin", "https://evil.example")];
    let parts = request(Method::GET, "/", &fields);
    assert_eq!(admits(&Pages::Any, &parts), Ok(()));
    assert_eq!(admits(&Pages::Unchecked, &parts), Ok(()));
}

#[test]
fn a_name_that_anybody_may_own_is_no_way_in_for_a_browser() {
    let asked = |pages: &Pages, host: &str, path: &str, mark: (&str, &str)| {
        let mut fields = vec![("host", host), mark];
        if path == "/" {
            fields.push(("x-sandbox-id", "alice"));
        }
        admits(pages, &request(Method::GET, path, &fields))
    };
    for path in ["/", "/r/agents/alice/80/"] {
        for mark in [
            ("user-agent", "Mozilla/5.0"),
            ("sec-fetch-site", "same-origin"),
            ("origin", "http://rebound.example:8080"),
            ("referer", "http://rebound.example:8080/"),
        ] {
            let error = asked(&of(&[]), "rebound.example:8080", path, mark).unwrap_err();
            let flag = "--allow-origin http://rebound.example:8080";
            assert!(error.contains(flag), "{error}");
        }
        for host in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "localhost",
            "sandbox-router-svc:8080",
            "sandbox-router-svc.agents.svc.cluster.local",
            "sandbox.localhost:8080",
        ] {
            let own = asked(&of(&[]), host, path, ("user-agent", "Mozilla/5.0"));
            assert_eq!(own, Ok(()), "{host}");
        }
        let pages = of(&["https://agents.example.com"]);
        let own = asked(
            &pages,
            "agents.example.com",
            path,
            ("sec-fetch-site", "same-origin"),
        );
        assert_eq!(own, Ok(()));
    }
}

#[test]
fn a_sandboxs_page_cannot_name_another_sandbox_in_a_header() {
    let fields = [
        ("host", ALICE),
        ("x-sandbox-id", "bob"),
        ("x-sandbox-namespace", "agents"),
        ("sec-fetch-site", "same-origin"),
    ];
    assert!(admits(&of(&[]), &request(Method::GET, "/", &fields)).is_err());
    let itself = [
        ("host", ALICE),
        ("x-sandbox-id", "alice"),
        ("x-sandbox-namespace", "agents"),
        ("sec-fetch-site", "same-origin"),
    ];
    assert_eq!(
        admits(&of(&[]), &request(Method::GET, "/", &itself)),
        Ok(())
    );
}

#[test]
fn a_preflight_for_a_request_that_will_name_its_sandbox_is_answered_here() {
    let fields = [
        ("host", "127.0.0.1:8080"),
        ("origin", "https://app.example.com"),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "content-type, x-sandbox-id",
        ),
    ];
    let parts = request(Method::OPTIONS, "/", &fields);
    let answer = of(&["https://app.example.com"]).preflight(&parts).unwrap();
    let headers = answer.headers();
    assert_eq!(answer.status(), 204);
    assert_eq!(
        headers["access-control-allow-origin"],
        "https://app.example.com"
    );
    assert_eq!(headers["access-control-allow-methods"], "POST");
    assert_eq!(
        headers["access-control-allow-headers"],
        "content-type, x-sandbox-id"
    );
    assert_eq!(headers["access-control-allow-credentials"], "true");
    assert!(of(&[]).preflight(&parts).is_none());
    assert!(Pages::Unchecked.preflight(&parts).is_none());
    let any = Pages::Any.preflight(&parts).unwrap();
    assert!(
        !any.headers()
            .contains_key("access-control-allow-credentials")
    );
}

#[test]
fn an_origin_is_written_as_browsers_write_it() {
    let read = |text: &str| text.parse::<Origin>().map(|origin| origin.to_string());
    assert_eq!(
        read("HTTPS://App.Example:443/").as_deref(),
        Ok("https://app.example")
    );
    assert_eq!(
        read("http://[::1]:3000").as_deref(),
        Ok("http://[::1]:3000")
    );
    assert_eq!(
        read("chrome-extension://abc").as_deref(),
        Ok("chrome-extension://abc")
    );
    for wrong in [
        "",
        "app.example",
        "null",
        "https://",
        "https://a/b",
        "https://a b",
        "://a",
        "https://u@a",
    ] {
        assert!(
            read(wrong).unwrap_err().contains("https://app.example.com"),
            "{wrong}"
        );
    }
}
