//! Web pages at the operators' listener. Nobody authenticates there, and a browser on a machine that reaches
//! it sends what any page asks it to.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use reveille_activator::host;

use super::front;

/// Names under which this listener may be asked, besides those that no stranger can own. In lower case.
pub(crate) type Names = Arc<[String]>;

/// Refuses what a page of another site may have sent. Probes are answered under any name: they tell nothing.
pub(super) async fn guard(State(names): State<Names>, request: Request, next: Next) -> Response {
    if matches!(request.uri().path(), "/healthz" | "/readyz") {
        return next.run(request).await;
    }
    let authority = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => text(request.headers().get(HOST)).unwrap_or_default(),
    };
    let refusal = refused(request.method(), request.headers(), authority, &names);
    match refusal {
        None => next.run(request).await,
        Some((status, reason, detail)) => front::problem(status, reason, &detail),
    }
}

type Refusal = (StatusCode, &'static str, String);

fn refused(
    method: &Method,
    headers: &HeaderMap,
    authority: &str,
    names: &[String],
) -> Option<Refusal> {
    let name = host::without_port(authority).to_ascii_lowercase();
    // A name of a stranger's that was made to resolve to this listener (DNS rebinding): to the browser its
    // page and this listener are one site.
    if !host::is_private(&name) && !names.contains(&name) {
        let detail = format!(
            "This listener is not known as {name:?}; ask it by its address, or start Reveille with --admin-host and that name."
        );
        return Some((StatusCode::MISDIRECTED_REQUEST, "ForeignHost", detail));
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        // A page of another site cannot read the answer, and nothing is done.
        return None;
    }
    let is_own = |origin: &str| host::is_origin_of(origin, authority);
    let is_foreign_site = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site != "same-origin" && site != "none");
    let is_foreign_origin = headers
        .get(ORIGIN)
        .is_some_and(|origin| !text(Some(origin)).is_some_and(is_own));
    (is_foreign_site || is_foreign_origin).then(|| {
        let detail = "A page of another site may not give orders here.".to_owned();
        (StatusCode::FORBIDDEN, "ForeignPage", detail)
    })
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: Method, host: &str, fields: &[(&'static str, &str)]) -> u16 {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        let names = ["reveille.example.com".to_owned()];
        refused(&method, &headers, host, &names).map_or(200, |(status, ..)| status.as_u16())
    }

    #[test]
    fn it_is_asked_by_names_that_no_stranger_can_own() {
        for own in [
            "",
            "127.0.0.1:9090",
            "[::1]:9090",
            "10.1.2.3:9090",
            "localhost:9090",
            "reveille-scaler:9090",
            "reveille-scaler.agent-sandbox-system:9090",
            "reveille-scaler.reveille.svc:9090",
            "reveille-scaler.reveille.svc.cluster.local.:9090",
            "Reveille.Example.com:9090",
        ] {
            assert_eq!(status(Method::GET, own, &[]), 200, "{own}");
            assert_eq!(status(Method::POST, own, &[]), 200, "{own}");
        }
        for foreign in [
            "evil.example:9090",
            "evil.example",
            "evil.xn--p1ai",
            "reveille-scaler.dev",
            "localhost.evil.example:9090",
            "127.0.0.1.evil.example",
            "reveille-scaler.svc.evil.example",
            "reveille.example.com.evil.example",
        ] {
            assert_eq!(status(Method::GET, foreign, &[]), 421, "{foreign}");
            assert_eq!(status(Method::POST, foreign, &[]), 421, "{foreign}");
        }
    }

    #[test]
    fn a_page_of_another_site_gives_no_orders() {
        let post = |fields: &[(&'static str, &str)]| status(Method::POST, "localhost:9090", fields);
        assert_eq!(post(&[("origin", "http://localhost:9090")]), 200);
        assert_eq!(post(&[("sec-fetch-site", "same-origin")]), 200);
        assert_eq!(post(&[("sec-fetch-site", "none")]), 200);
        for foreign in [
            ("origin", "https://evil.example"),
            ("origin", "http://localhost:3000"),
            ("origin", "http://localhost"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert_eq!(post(&[foreign]), 403, "{foreign:?}");
            let read = status(Method::GET, "localhost:9090", &[foreign]);
            assert_eq!(read, 200, "{foreign:?}");
        }
    }
}
