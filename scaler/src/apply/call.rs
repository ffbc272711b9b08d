//! One request to the API server: where it goes, and how long the server itself may take for it.

use http::{Method, Request, header};
use reveille_crds::SandboxKey;
use reveille_kubernetes::discovery::Version;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::answer::Failure;

/// Who we are in `managedFields` and to admission.
pub(crate) const FIELD_MANAGER: &str = "reveille-scaler";

/// A kind, as the path of its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sandbox(Version),
    Claim(Version),
    Policy,
    Released,
    Event,
}

impl Kind {
    /// `apiVersion` of its objects.
    pub(super) fn api_version(self) -> String {
        match self {
            Self::Sandbox(version) => format!("agents.x-k8s.io/{}", version.as_str()),
            Self::Claim(version) => format!("extensions.agents.x-k8s.io/{}", version.as_str()),
            Self::Policy | Self::Released => "reveille.dev/v1alpha1".to_owned(),
            Self::Event => "events.k8s.io/v1".to_owned(),
        }
    }

    const fn plural(self) -> &'static str {
        match self {
            Self::Sandbox(_) => "sandboxes",
            Self::Claim(_) => "sandboxclaims",
            Self::Policy => "scaledsandboxes",
            Self::Released => "releasedclaims",
            Self::Event => "events",
        }
    }

    /// Path of all objects of a namespace.
    pub(super) fn all(self, namespace: &str) -> String {
        format!(
            "/apis/{}/namespaces/{namespace}/{}",
            self.api_version(),
            self.plural()
        )
    }

    /// Path of one object.
    pub(super) fn one(self, key: &SandboxKey) -> String {
        format!("{}/{}", self.all(key.namespace()), key.name())
    }
}

/// How a body is to be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    /// An object, or options.
    Json,
    /// RFC 6902.
    JsonPatch,
    /// RFC 7396.
    MergePatch,
}

impl Body {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonPatch => "application/json-patch+json",
            Self::MergePatch => "application/merge-patch+json",
        }
    }
}

/// Sends a request. The server is given half of the time that is left: what it gets in the first half it has
/// done by the end of the second, or never does.
pub(super) async fn send<T: DeserializeOwned>(
    client: &kube::Client,
    method: Method,
    path: &str,
    body: Option<(Body, Value)>,
    until: Instant,
) -> Result<T, Failure> {
    let left = until.saturating_duration_since(Instant::now()).as_millis() / 2;
    if left == 0 {
        return Err(Failure::Unavailable("there was no time left".to_owned()));
    }
    let manager = if matches!(method, Method::GET | Method::DELETE) {
        String::new()
    } else {
        format!("&fieldManager={FIELD_MANAGER}")
    };
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{path}?timeout={left}ms{manager}"))
        .header(header::ACCEPT, "application/json");
    let bytes = match body {
        None => Vec::new(),
        Some((kind, value)) => {
            request = request.header(header::CONTENT_TYPE, kind.media_type());
            value.to_string().into_bytes()
        }
    };
    let request = request
        .body(bytes)
        .map_err(|error| Failure::Denied(format!("not a request: {error}")))?;
    client
        .request(request)
        .await
        .map_err(|error| Failure::of(&error))
}
