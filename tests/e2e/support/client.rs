//! Requests to sandboxes of the one machine, by host.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{Empty, Full};
use hyper::body::Body;
use serde_json::Value;

pub(crate) use crate::support::http::{Failure, Reply, open, send};
use crate::support::manifests::NAMESPACE;
use crate::support::reveille::Reveille;

/// Host of a sandbox of the tests' namespace.
pub(crate) fn host(name: &str) -> String {
    format!("{name}.{NAMESPACE}.sandbox.localhost")
}

/// A request to a sandbox by host.
pub(crate) fn request<B>(method: Method, name: &str, path: &str, body: B) -> Request<B> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", host(name))
        .body(body)
        .unwrap()
}

/// A POST of JSON to a sandbox by host.
pub(crate) fn post(name: &str, path: &str, body: &Value) -> Request<Full<Bytes>> {
    let mut request = request(Method::POST, name, path, Full::from(body.to_string()));
    request.headers_mut().insert(
        "content-type",
        http::HeaderValue::from_static("application/json"),
    );
    request
}

impl Reveille {
    /// Sends a request through the proxy.
    pub(crate) async fn send<B>(&self, request: Request<B>) -> Result<Reply, Failure>
    where
        B: Body<Data: Send, Error: Into<Failure>> + Send + 'static,
    {
        send(self.listen, request).await
    }

    /// GET from a sandbox; whatever the status.
    pub(crate) async fn get(&self, name: &str, path: &str) -> Reply {
        self.send(request(Method::GET, name, path, Empty::<Bytes>::new()))
            .await
            .unwrap()
    }

    /// POST of JSON to a sandbox; whatever the status.
    pub(crate) async fn post(&self, name: &str, path: &str, body: &Value) -> Reply {
        self.send(post(name, path, body)).await.unwrap()
    }
}
