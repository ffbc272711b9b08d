//! The page at `/` of the clients' listener, where a request names no sandbox: what this is, and how to
//! reach one.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response};

use crate::body::Body;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Whether the page is what is asked for. Everything else that names no sandbox is refused as upstream's
/// router refuses it.
pub(crate) fn is_asked_for(parts: &Parts) -> bool {
    let names_a_sandbox = |headers: &HeaderMap| {
        let mut names = headers.keys();
        names.any(|name| name.as_str().starts_with("x-sandbox-"))
    };
    matches!(parts.method, Method::GET | Method::HEAD)
        && parts.uri.path() == "/"
        && !names_a_sandbox(&parts.headers)
}

/// The page: text, or HTML where a browser asks.
pub(crate) fn page(domain: &str, parts: &Parts) -> Response<Body> {
    let (port, headers) = (port(parts), &parts.headers);
    let title = concat!(
        "Reveille ",
        env!("CARGO_PKG_VERSION"),
        ": the proxy of the sandboxes"
    );
    let by_host = format!("http://NAME.NAMESPACE.{domain}{port}/");
    let by_header = format!(
        "curl -H 'X-Sandbox-ID: NAME' -H 'X-Sandbox-Namespace: NAMESPACE' \\\n      http://localhost{port}/"
    );
    let asleep = "A request to a sandbox that is asleep wakes it, and is answered once it is up.";
    let list = "All sandboxes: GET /v1/sandboxes of the operators' listener (--admin).";
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    // Browsers name HTML; curl and programs take anything.
    let (kind, text) = if accept.is_some_and(|accept| accept.contains("text/html")) {
        let text = format!(
            "<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1>\
             <p>Reach a sandbox by its host name:<pre>{by_host}</pre>\
             <p>or by headers:<pre>{by_header}</pre><p>{asleep}<p>{list}\n"
        );
        (HTML, text)
    } else {
        let text = format!(
            "{title}\n\nReach a sandbox by its host name:\n  {by_host}\nor by headers:\n  {by_header}\n\n\
             {asleep}\n{list}\n"
        );
        (TEXT, text)
    };
    let mut response = Response::new(Body::full(Bytes::from(text)));
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// The port by which the client came, with its colon; nothing else of what it says is repeated.
fn port(parts: &Parts) -> String {
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let of_host = || host?.rsplit_once(':')?.1.parse().ok();
    let port: Option<u16> = parts.uri.port_u16().or_else(of_host);
    port.map(|port| format!(":{port}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::BodyExt;

    use super::*;

    async fn text(accept: &str) -> (String, String) {
        let request = Request::get("/")
            .header(HOST, "<b>:8080")
            .header(ACCEPT, accept);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let response = page("sandbox.localhost", &parts);
        let kind = response.headers()[CONTENT_TYPE]
            .to_str()
            .unwrap()
            .to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_terminal_gets_text_and_a_browser_html() {
        let (kind, plain) = text("*/*").await;
        assert!(kind.starts_with("text/plain"), "{kind}");
        assert!(
            plain.contains("http://NAME.NAMESPACE.sandbox.localhost:8080/\n"),
            "{plain}"
        );
        assert!(plain.lines().all(|line| line.len() <= 80), "{plain}");
        let (kind, html) = text("text/html,application/xhtml+xml,*/*;q=0.8").await;
        assert!(kind.starts_with("text/html"), "{kind}");
        assert!(
            !html.contains("<b>"),
            "a stranger's words are not repeated: {html}"
        );
    }
}
