//! How requests are spoken to the sandbox.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{number, rules};

/// How requests are spoken to the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpSpec {
    /// What the sandbox's port speaks.
    pub protocol: Protocol,
    /// Which `Host` the sandbox sees.
    pub host: HostHeader,
    /// What becomes of the client's `Authorization`.
    pub authorization: Authorization,
    /// Longest time in seconds from the request's last byte to the response's head.
    #[schemars(range(min = 1, max = rules::LONGEST_ANSWER))]
    #[serde(deserialize_with = "number::seconds")]
    pub response_timeout: u32,
    /// Longest time in seconds without a byte of the request's body while it is being sent.
    #[schemars(range(min = 1, max = rules::LONGEST_ANSWER))]
    #[serde(deserialize_with = "number::seconds")]
    pub idle_timeout: u32,
}

impl Default for HttpSpec {
    fn default() -> Self {
        Self {
            protocol: Protocol::Auto,
            host: HostHeader::Auto,
            authorization: Authorization::Pass,
            response_timeout: 300,
            idle_timeout: 300,
        }
    }
}

/// What the sandbox's port speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// HTTP/2 without TLS where the name of the container's port begins with `grpc` (but `grpc-web`) or
    /// `h2c`, and for gRPC of a client that speaks HTTP/2; else HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
}

/// Which `Host` the sandbox sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HostHeader {
    /// The client's where the request was routed by host or path; the pod's address where it was routed by
    /// headers, as upstream's router does.
    #[default]
    Auto,
    /// The client's.
    Preserve,
    /// `localhost` with the sandbox's port, `Origin` and `Referer` with it; `Location`, `Content-Location`
    /// and the domain of `Set-Cookie` of answers are turned back. For servers that accept nothing else.
    Rewrite,
}

/// What becomes of the client's `Authorization`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Authorization {
    /// The sandbox gets it, unless Reveille itself consumed it.
    #[default]
    Pass,
    /// The sandbox never sees it.
    Strip,
}
