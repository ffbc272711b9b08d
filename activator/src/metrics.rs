//! What the activator counts. No label holds a sandbox, or any text a stranger sent.

use std::sync::Arc;
use std::time::Duration;

mod code;
mod counted;
mod handles;
mod latency;
mod series;

pub(crate) use code::CodeLabel;
pub(crate) use counted::Counted;
use handles::Handles;
use latency::Latency;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use reveille_activator_core::lot::Ending;
pub(crate) use series::Series;

/// All metrics of one activator; cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Requests parked now.
    pub(crate) parked: Gauge,
    /// Wakes sent, repetitions included.
    pub(crate) wakes_asked: Counter,
    /// Targets in the directory.
    pub(crate) targets: Gauge,
    /// Connections of clients that speak HTTP.
    pub(crate) connections: Gauge,
    /// Connections to sandboxes that speak HTTP, idle ones included.
    pub(crate) upstream_connections: Gauge,
    /// Connections that left HTTP, each a pair of a client and a sandbox.
    pub(crate) tunnels: Gauge,
    /// Messages of activity reports.
    pub(crate) reports: Counter,
    endings: Family<EndingLabels, Counter>,
    waits: Family<EndingLabels, Latency, fn() -> Latency>,
    refused: Family<ReasonLabels, Counter>,
    /// What a request counts on, found without the locks of the families.
    handles: Arc<Handles>,
    drains: Family<DrainLabels, Counter>,
    /// As upstream's router: requests by method, status and namespace.
    requests: Family<RequestLabels, Counter>,
    /// As upstream's router: seconds from the request's head to the response's last byte.
    request_duration: Family<NamespaceLabels, Latency>,
    /// Of requests to no sandbox that exists.
    pub(crate) strangers: Arc<Series>,
    /// As upstream's router: requests being served.
    pub(crate) inflight: Gauge,
    /// As upstream's router: failures towards pods.
    pub(crate) upstream_errors: Family<UpstreamErrorLabels, Counter>,
    /// As upstream's router: dials and sends made once more.
    pub(crate) upstream_retries: Family<NamespaceLabels, Counter>,
    /// As upstream's router: endpoints forgotten.
    pub(crate) cache_invalidations: Family<NamespaceLabels, Counter>,
}

/// Labels of a finished request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: MethodLabel,
    code: CodeLabel,
    /// Namespace of an existing sandbox, else empty.
    sandbox_namespace: String,
}

/// The namespace of an existing sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct NamespaceLabels {
    pub(crate) sandbox_namespace: String,
}

/// Labels of a failure towards a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct UpstreamErrorLabels {
    pub(crate) sandbox_namespace: String,
    pub(crate) reason: UpstreamReason,
}

/// Methods that have a label of their own; a client can invent any number of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MethodLabel(usize);

impl MethodLabel {
    /// How many there are.
    const COUNT: usize = Self::KNOWN.len() + 1;
    const KNOWN: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    const OTHER: &str = "OTHER";

    pub(crate) fn of(method: &http::Method) -> Self {
        let mut known = Self::KNOWN.iter();
        let known = known.position(|known| *known == method.as_str());
        Self(known.unwrap_or(Self::KNOWN.len()))
    }

    fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// Its place among them.
    const fn index(self) -> usize {
        self.0
    }
}

impl EncodeLabelValue for MethodLabel {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        Self::KNOWN
            .get(self.0)
            .unwrap_or(&Self::OTHER)
            .encode(encoder)
    }
}

/// Upstream's reasons of a failure towards a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum UpstreamReason {
    Dial,
    Timeout,
    Eof,
    Other,
}

impl UpstreamReason {
    const ALL: [Self; 4] = [Self::Dial, Self::Timeout, Self::Eof, Self::Other];
}

impl EncodeLabelValue for UpstreamReason {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        let text = match self {
            Self::Dial => "dial",
            Self::Timeout => "timeout",
            Self::Eof => "eof",
            Self::Other => "other",
        };
        text.encode(encoder)
    }
}

/// As upstream's router, but for what only a Go program has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    git_version: &'static str,
    compiler: &'static str,
    platform: String,
}

impl BuildLabels {
    fn of_this() -> Self {
        use std::env::consts::{ARCH, OS};
        Self {
            git_version: concat!("v", env!("CARGO_PKG_VERSION")),
            compiler: "rustc",
            platform: format!("{OS}/{ARCH}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndingLabels {
    ending: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DrainLabels {
    outcome: &'static str,
}

/// What became of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrainLabel {
    Drained,
    Busy,
    Undrained,
}

impl Metrics {
    /// Makes all metrics and enters them in `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::new();
        metrics.register_parking(registry);
        metrics.register_connections(registry);
        metrics.register_requests(registry);
        metrics
    }

    /// A ticket ended after that wait.
    pub(crate) fn ticket_ended(&self, ending: Ending, waited: Duration) {
        let handles = self.handles.endings.iter();
        if let Some((_, count, waits)) = handles.into_iter().find(|(of, ..)| *of == ending) {
            count.inc();
            waits.observe(waited);
        }
    }

    /// A request was answered with an error; `reason` is from a fixed set.
    pub(crate) fn refused(&self, reason: &'static str) {
        match self.handles.refused.get(reason) {
            Some(count) => count.inc(),
            None => {
                debug_assert!(false, "KINDS does not name {reason}");
                self.refused.get_or_create(&ReasonLabels { reason }).inc()
            }
        };
    }

    pub(crate) fn drained(&self, outcome: DrainLabel) {
        let outcome = match outcome {
            DrainLabel::Drained => "drained",
            DrainLabel::Busy => "busy",
            DrainLabel::Undrained => "undrained",
        };
        self.drains.get_or_create(&DrainLabels { outcome }).inc();
    }

    /// Drops every series of a namespace that has no sandbox any more.
    pub(crate) fn forget(&self, namespace: &str) {
        let labels = NamespaceLabels {
            sandbox_namespace: namespace.to_owned(),
        };
        self.request_duration.remove(&labels);
        self.upstream_retries.remove(&labels);
        self.cache_invalidations.remove(&labels);
        for reason in UpstreamReason::ALL {
            self.upstream_errors.remove(&UpstreamErrorLabels {
                sandbox_namespace: namespace.to_owned(),
                reason,
            });
        }
        for method in MethodLabel::all() {
            for code in CodeLabel::all() {
                self.requests.remove(&RequestLabels {
                    method,
                    code,
                    sandbox_namespace: namespace.to_owned(),
                });
            }
        }
    }

    fn new() -> Self {
        let endings = Family::default();
        let waits = Family::new_with_constructor(wait_buckets as fn() -> Latency);
        let refused = Family::default();
        let handles = Arc::new(Handles::of(&endings, &waits, &refused));
        Self {
            parked: Gauge::default(),
            wakes_asked: Counter::default(),
            targets: Gauge::default(),
            connections: Gauge::default(),
            upstream_connections: Gauge::default(),
            tunnels: Gauge::default(),
            reports: Counter::default(),
            endings,
            waits,
            refused,
            handles,
            drains: Family::default(),
            requests: Family::default(),
            request_duration: Family::default(),
            strangers: Arc::new(Series::of("")),
            inflight: Gauge::default(),
            upstream_errors: Family::default(),
            upstream_retries: Family::default(),
            cache_invalidations: Family::default(),
        }
    }

    fn register_parking(&self, registry: &mut Registry) {
        let r = registry.sub_registry_with_prefix("reveille_activator");
        r.register(
            "parked_requests",
            "Requests parked now",
            self.parked.clone(),
        );
        r.register(
            "tickets",
            "Parked requests by how their wait ended",
            self.endings.clone(),
        );
        r.register(
            "parked_seconds",
            "Time parked by how it ended",
            self.waits.clone(),
        );
        r.register(
            "wakes_asked",
            "Wakes sent, repetitions included",
            self.wakes_asked.clone(),
        );
        r.register(
            "refused",
            "Requests answered by the activator itself",
            self.refused.clone(),
        );
        r.register("drains", "Drains by outcome", self.drains.clone());
        r.register(
            "directory_targets",
            "Sandboxes in the directory",
            self.targets.clone(),
        );
        r.register(
            "reports",
            "Messages of activity reports",
            self.reports.clone(),
        );
    }

    fn register_connections(&self, registry: &mut Registry) {
        let r = registry.sub_registry_with_prefix("reveille_activator");
        r.register(
            "connections",
            "Connections of clients that speak HTTP",
            self.connections.clone(),
        );
        r.register(
            "upstream_connections",
            "Connections to sandboxes that speak HTTP, idle ones included",
            self.upstream_connections.clone(),
        );
        r.register(
            "tunnels",
            "WebSockets and other upgraded connections, each a client and a sandbox",
            self.tunnels.clone(),
        );
    }

    fn register_requests(&self, registry: &mut Registry) {
        let r = registry.sub_registry_with_prefix("sandbox_router");
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create(&BuildLabels::of_this()).set(1);
        r.register(
            "build_info",
            "What was built, as labels of a constant 1",
            build,
        );
        r.register(
            "requests",
            "Requests by method, status and namespace",
            self.requests.clone(),
        );
        r.register(
            "request_duration_seconds",
            "Time from the request's head to the response's last byte",
            self.request_duration.clone(),
        );
        r.register(
            "inflight_requests",
            "Requests being served",
            self.inflight.clone(),
        );
        r.register(
            "upstream_errors",
            "Failures towards pods",
            self.upstream_errors.clone(),
        );
        r.register(
            "upstream_retries",
            "Dials and sends made again",
            self.upstream_retries.clone(),
        );
        r.register(
            "cache_invalidations",
            "Endpoints forgotten",
            self.cache_invalidations.clone(),
        );
    }
}

/// From a wake by a warm pool to the longest wait.
fn wait_buckets() -> Latency {
    Latency::within(&[
        0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0,
    ])
}
