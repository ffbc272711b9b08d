//! The activator's settings: plain values, checked by whoever reads them from flags.

use std::time::Duration;

use ipnet::IpNet;
use reveille_activator_core::view::Limits;
use reveille_crds::names::{DEFAULT_NAMESPACE, DEFAULT_PORT};

pub use crate::pages::{Origin, Pages};

/// Settings of one activator.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this is in reports and wakes: the name of its pod, or `standalone`.
    pub name: String,
    /// Suffix of host names that name a sandbox: `<name>.<namespace>.<domain>`.
    pub domain: String,
    /// Paths below it name a sandbox: `<prefix>/<namespace>/<name>/<port>/…`. Empty: none do.
    pub path_routing_prefix: String,
    /// Peers whose word on the client is believed (`X-Forwarded-*`, `Forwarded`, `X-Real-IP`).
    pub trusted_proxies: Vec<IpNet>,
    /// Which web pages may use sandboxes.
    pub pages: Pages,
    /// Namespace of a request that names none.
    pub default_namespace: String,
    /// Container port of a request that names none.
    pub default_port: u16,
    /// Whether `X-Sandbox-Pod-IP` may be a loopback address, as pods on this machine have.
    pub allow_loopback_pod_ip: bool,
    /// Most requests parked at a time, over all sandboxes.
    pub total_parked: u32,
    /// Most client connections open at a time.
    pub connections: usize,
    /// Most bytes of a request's head; 431 past it.
    pub header_bytes: usize,
    /// Most header fields of a request; 431 past it.
    pub header_count: usize,
    /// Longest time for a client to send a request's head.
    pub header_read_timeout: Duration,
    /// Longest time from the last byte of a request to the head of its response, where no policy says it.
    pub response_header_timeout: Duration,
    /// Longest time without a byte of a request's body while it is being sent, where no policy says it.
    pub body_idle_timeout: Duration,
    /// Longest time in-flight work may take after a shutdown begins.
    pub grace: Duration,
    /// Whether a sandbox without a policy is woken by a request.
    pub wake_unmanaged: bool,
    /// Limits of a sandbox without a policy; the wake steps hold for all.
    pub unmanaged: Limits,
    /// Time without bytes after which an upgraded connection of a sandbox without a policy falls silent.
    pub unmanaged_websocket_idle: Duration,
    /// Wakes one caller may begin per minute; 0 is unlimited.
    pub wakes_per_caller: u32,
    /// Wakes that may begin per minute for one sandbox; 0 is unlimited.
    pub wakes_per_sandbox: u32,
    /// Wakes saved up by a caller or sandbox that was quiet.
    pub wake_burst: u32,
    /// Interval of activity reports.
    pub report_interval: Duration,
    /// Time between knowing all sandboxes and taking clients: more than a drain and a write of the
    /// scalers take together, since a sleep that was decided without this activator may still land.
    pub settle: Duration,
    /// Base URLs (`http://host:port`) of the scalers' HTTP API, for wakes while the carrier is down or
    /// does not answer.
    pub fallback_apis: Vec<String>,
    /// Longest time of one call to one of them.
    pub fallback_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "standalone".to_owned(),
            domain: "sandbox.localhost".to_owned(),
            path_routing_prefix: String::new(),
            trusted_proxies: Vec::new(),
            pages: Pages::Unchecked,
            default_namespace: DEFAULT_NAMESPACE.to_owned(),
            default_port: DEFAULT_PORT,
            allow_loopback_pod_ip: false,
            total_parked: 100_000,
            connections: 110_000,
            header_bytes: 64 * 1024,
            header_count: 100,
            header_read_timeout: Duration::from_secs(10),
            response_header_timeout: Duration::from_secs(300),
            body_idle_timeout: Duration::from_secs(300),
            grace: Duration::from_secs(25),
            wake_unmanaged: true,
            unmanaged: Limits::default(),
            unmanaged_websocket_idle: Duration::from_secs(600),
            wakes_per_caller: 0,
            wakes_per_sandbox: 0,
            wake_burst: 10,
            report_interval: Duration::from_secs(1),
            settle: Duration::ZERO,
            fallback_apis: Vec::new(),
            fallback_timeout: Duration::from_secs(2),
        }
    }
}
