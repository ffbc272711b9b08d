//! What the operators' listener says of itself: its front page, and what is not there.

use std::fmt::Write as _;

use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

/// A path, and what is there.
pub(crate) type Entry = (&'static str, &'static str);

const EVERYWHERE: [Entry; 3] = [
    ("GET /healthz", "whether this process runs"),
    ("GET /readyz", "whether it can do its job, and if not, why"),
    (
        "GET /metrics",
        "counters and histograms, in Prometheus' format",
    ),
];

/// What the scaler's API adds.
pub(crate) const SANDBOXES: [Entry; 7] = [
    (
        "GET /v1/sandboxes",
        "all by name, 500 a page: state, why, and when each sleeps next",
    ),
    ("GET /v1/sandboxes/NAMESPACE/NAME", "one of them"),
    ("POST /v1/sandboxes/NAMESPACE/NAME/wake", "wake it"),
    ("POST /v1/sandboxes/NAMESPACE/NAME/sleep", "put it to sleep"),
    (
        "POST /v1/sandboxes/NAMESPACE/NAME/hold",
        "pin it: {\"mode\": \"awake\"} or {\"mode\": \"asleep\"}",
    ),
    ("POST /v1/sandboxes/NAMESPACE/NAME/release", "end the pin"),
    (
        "POST /v1/sandboxes/NAMESPACE/NAME/busy",
        "keep it awake: {\"seconds\": 600}",
    ),
];

/// The page at `/`: text, or HTML where a browser asks.
pub(crate) fn page(more: &[Entry], headers: &HeaderMap) -> Response {
    let entries = more.iter().chain(&EVERYWHERE);
    let title = concat!(
        "Reveille ",
        env!("CARGO_PKG_VERSION"),
        ": the operators' listener"
    );
    let hint = "Clients of the sandboxes use the other listener (--listen).";
    // Writing to a String cannot fail.
    if prefers_html(headers) {
        let mut text = format!(
            "<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1><dl>"
        );
        for (path, what) in entries {
            let shown = match path.strip_prefix("GET ") {
                Some(link) if !link.contains("NAME") => {
                    format!("GET <a href=\"{link}\">{link}</a>")
                }
                _ => (*path).to_owned(),
            };
            let _ = write!(text, "<dt><code>{shown}</code><dd>{what}");
        }
        let _ = writeln!(text, "</dl><p>{hint}");
        return ([(CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response();
    }
    let mut text = format!("{title}\n\n");
    for (path, what) in entries {
        let _ = writeln!(text, "  {path}\n      {what}");
    }
    let _ = writeln!(text, "\n{hint}");
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// Browsers name HTML first; curl and programs take anything.
fn prefers_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Nothing is served there.
pub(crate) async fn not_found(method: Method, uri: Uri) -> Response {
    let detail = format!(
        "Nothing is served at {method} {}; GET / lists what is.",
        uri.path()
    );
    problem(StatusCode::NOT_FOUND, "NotFound", &detail)
}

/// The path is there, and does not take the method.
pub(crate) async fn not_allowed(method: Method, uri: Uri) -> Response {
    let detail = format!(
        "{} does not take {method}; GET / lists what it takes.",
        uri.path()
    );
    problem(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", &detail)
}

/// An error in the one shape that all answers of Reveille have.
pub(super) fn problem(status: StatusCode, reason: &str, detail: &str) -> Response {
    let body = serde_json::json!({"detail": detail, "reason": reason});
    let json = [(CONTENT_TYPE, "application/json")];
    (status, json, format!("{body}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(accept: &'static str) -> (String, String) {
        let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
        let response = page(&SANDBOXES, &headers);
        let kind = response.headers()[CONTENT_TYPE]
            .to_str()
            .unwrap()
            .to_owned();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20)
            .await
            .unwrap();
        (kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_terminal_gets_text_and_a_browser_html() {
        let (kind, plain) = text("*/*").await;
        assert!(kind.starts_with("text/plain"), "{kind}");
        assert!(plain.ends_with('\n') && !plain.contains('<'), "{plain}");
        assert!(plain.lines().all(|line| line.len() <= 80), "{plain}");
        let (kind, html) = text("text/html,application/xhtml+xml,*/*;q=0.8").await;
        assert!(kind.starts_with("text/html"), "{kind}");
        assert!(html.contains("<a href=\"/v1/sandboxes\">"), "{html}");
    }
}
