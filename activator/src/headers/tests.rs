use std::time::Duration;

use http::Request;

use super::*;

fn parts(version: Version, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().version(version);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn forwarded(version: Version, headers: &[(&str, &str)]) -> HeaderMap {
    let mut parts = parts(version, headers);
    let upgrade = upgrade(&parts);
    to_upstream(&mut parts, &By::Headers, Authorization::Pass);
    offer(&mut parts.headers, upgrade);
    parts.headers
}

fn line<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[test]
fn what_belongs_to_this_hop_ends_here() {
    let headers = forwarded(
        Version::HTTP_11,
        &[
            ("host", "alice.agents.x"),
            ("connection", "keep-alive, X-Secret"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic x"),
            ("authorization", "Bearer x"),
            ("x-sandbox-id", "alice"),
            ("x-sandbox-timeout", "1"),
            ("x-sandbox-pod-ip", "10.0.0.1"),
            ("te", "gzip, trailers"),
            ("traceparent", "00-1-2-01"),
            ("origin", "https://a"),
            ("via", "1.0 other"),
        ],
    );
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let expected = [
        "authorization",
        "origin",
        "te",
        "traceparent",
        "via",
        "x-sandbox-id",
    ];
    assert_eq!(names, expected);
    assert_eq!(line(&headers, "te"), Some("trailers"));
    let via: Vec<_> = headers.get_all("via").iter().collect();
    assert_eq!(via, ["1.0 other", "1.1 reveille"]);
}

#[test]
fn a_policy_can_keep_the_authorization_of_clients_from_its_sandbox() {
    let mut parts = parts(
        Version::HTTP_11,
        &[("host", "a"), ("authorization", "Bearer x")],
    );
    to_upstream(&mut parts, &By::Host, Authorization::Strip);
    assert_eq!(line(&parts.headers, "authorization"), None);
}

#[test]
fn what_did_not_name_the_sandbox_is_not_told_to_it() {
    let seen = |by: &By| {
        let headers = [
            ("host", "a"),
            ("x-sandbox-namespace", "other"),
            ("x-sandbox-port", "80"),
        ];
        let mut parts = parts(Version::HTTP_11, &headers);
        to_upstream(&mut parts, by, Authorization::Pass);
        let names = parts.headers.keys().map(ToString::to_string);
        let mut names: Vec<_> = names.filter(|name| name != "via").collect();
        names.sort_unstable();
        names
    };
    let path = By::Path {
        prefix: "/p/a/b/1".into(),
        length: 8,
    };
    assert_eq!(seen(&By::Host), ["x-sandbox-port"]);
    assert_eq!(seen(&path), [""; 0]);
    assert_eq!(
        seen(&By::Headers),
        ["x-sandbox-namespace", "x-sandbox-port"]
    );
}

#[test]
fn an_upgrade_goes_on_without_h2c() {
    let websocket = [
        ("host", "a"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
    ];
    let headers = forwarded(Version::HTTP_11, &websocket);
    assert_eq!(line(&headers, "upgrade"), Some("websocket"));
    let asked = |version, value: &str| {
        upgrade(&parts(
            version,
            &[("connection", "upgrade"), ("upgrade", value)],
        ))
    };
    assert_eq!(asked(Version::HTTP_11, "h2c"), None);
    assert_eq!(
        asked(Version::HTTP_11, "h2c, websocket").unwrap(),
        "websocket"
    );
    assert_eq!(asked(Version::HTTP_10, "websocket"), None);
    assert_eq!(
        upgrade(&parts(Version::HTTP_11, &[("upgrade", "websocket")])),
        None
    );
}

#[test]
fn crumbs_of_a_cookie_are_joined() {
    let headers = forwarded(Version::HTTP_2, &[("cookie", "a=1"), ("cookie", "b=2")]);
    assert_eq!(
        headers.get_all("cookie").iter().collect::<Vec<_>>(),
        ["a=1; b=2"]
    );
}

#[test]
fn a_coding_under_chunked_is_refused() {
    let check = |headers: &[(&str, &str)]| {
        check_framing(&parts(Version::HTTP_11, headers).headers).map_err(|e| e.status())
    };
    assert_eq!(check(&[("transfer-encoding", "Chunked")]), Ok(()));
    assert_eq!(
        check(&[("transfer-encoding", "gzip, chunked")]),
        Err(StatusCode::NOT_IMPLEMENTED)
    );
    let twice = [
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "chunked"),
    ];
    assert_eq!(check(&twice), Err(StatusCode::BAD_REQUEST));
}

#[test]
fn max_forwards_counts_down_and_stops_at_zero() {
    let mut options = parts(Version::HTTP_11, &[("max-forwards", "3")]);
    options.method = Method::OPTIONS;
    count_hop(&mut options).unwrap();
    assert_eq!(line(&options.headers, "max-forwards"), Some("2"));
    options
        .headers
        .insert(MAX_FORWARDS, HeaderValue::from_static("0"));
    assert!(count_hop(&mut options).is_err());
}

#[test]
fn the_client_does_not_see_the_busy_header_nor_the_sandboxs_connection() {
    let mut response = Response::builder()
        .header("connection", "close, x-hop")
        .header("x-hop", "1")
        .header("transfer-encoding", "chunked")
        .header("x-reveille-busy-for", "90")
        .header("server-timing", "app;dur=1")
        .body(())
        .unwrap();
    assert_eq!(to_client(&mut response), Some(90));
    let waited = Waited {
        parked: Duration::from_millis(212),
        wake: Duration::from_millis(190),
        how: WakeRole::Started,
    };
    tell(
        response.headers_mut(),
        Some(&waited),
        Some(Duration::from_micros(500)),
    );
    let headers = response.headers();
    assert_eq!(headers.len(), 3, "{headers:?}");
    assert_eq!(line(headers, "x-reveille-wake"), Some("started"));
    let timing: Vec<_> = headers.get_all("server-timing").iter().collect();
    assert_eq!(timing[1], "park;dur=212.0, wake;dur=190.0, connect;dur=0.5");
}
