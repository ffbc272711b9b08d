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
    to_upstream(
        &mut parts,
        &HeaderValue::from_static("192.0.2.7"),
        upgrade,
        Authorization::Pass,
    );
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
            ("x-sandbox-anything", "1"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", "1"),
            ("forwarded", "for=6.6.6.6"),
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
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    ];
    assert_eq!(names, expected);
    assert_eq!(line(&headers, "te"), Some("trailers"));
    assert_eq!(line(&headers, "x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(line(&headers, "x-forwarded-host"), Some("alice.agents.x"));
    assert_eq!(line(&headers, "x-forwarded-proto"), Some("http"));
    let via: Vec<_> = headers.get_all("via").iter().collect();
    assert_eq!(via, ["1.0 other", "1.1 reveille"]);
}

#[test]
fn a_policy_can_keep_the_authorization_of_clients_from_its_sandbox() {
    let mut parts = parts(
        Version::HTTP_11,
        &[("host", "a"), ("authorization", "Bearer x")],
    );
    let client = HeaderValue::from_static("192.0.2.7");
    to_upstream(&mut parts, &client, None, Authorization::Strip);
    assert_eq!(line(&parts.headers, "authorization"), None);
}

#[test]
fn an_upgrade_goes_on_without_origin_and_without_h2c() {
    let websocket = [
        ("host", "a"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("origin", "https://a"),
    ];
    let headers = forwarded(Version::HTTP_11, &websocket);
    assert_eq!(line(&headers, "upgrade"), Some("websocket"));
    assert_eq!(line(&headers, "origin"), None);
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
