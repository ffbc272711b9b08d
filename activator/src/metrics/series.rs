//! The series of one namespace, found once: a request that is counted here takes no lock.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use super::latency::Latency;
use super::{
    CodeLabel, MethodLabel, Metrics, NamespaceLabels, RequestLabels, UpstreamErrorLabels,
    UpstreamReason,
};

/// What the requests to the sandboxes of one namespace count on. A series is made by the first request that
/// needs it, which alone takes the lock of its family. The series go with the last sandbox of the namespace;
/// what a request counts here after that is counted for nobody.
#[derive(Debug)]
pub(crate) struct Series {
    namespace: Box<str>,
    duration: OnceLock<Latency>,
    retries: OnceLock<Counter>,
    invalidations: OnceLock<Counter>,
    errors: [OnceLock<Counter>; UpstreamReason::ALL.len()],
    /// By method and by code, about a KiB for each method that is used.
    requests: [OnceLock<Box<[OnceLock<Counter>]>>; MethodLabel::COUNT],
}

impl Series {
    /// Those of `namespace`; empty for requests to no sandbox that exists.
    pub(crate) fn of(namespace: &str) -> Self {
        Self {
            namespace: namespace.into(),
            duration: OnceLock::new(),
            retries: OnceLock::new(),
            invalidations: OnceLock::new(),
            errors: [const { OnceLock::new() }; UpstreamReason::ALL.len()],
            requests: [const { OnceLock::new() }; MethodLabel::COUNT],
        }
    }

    /// A request was answered with this code, and is over.
    pub(crate) fn served(
        &self,
        metrics: &Metrics,
        method: MethodLabel,
        code: CodeLabel,
        took: Duration,
    ) {
        self.duration
            .get_or_init(|| metrics.request_duration.get_or_create_owned(&self.labels()))
            .observe(took);
        let make = || {
            let labels = RequestLabels {
                method,
                code,
                sandbox_namespace: self.namespace.to_string(),
            };
            metrics.requests.get_or_create_owned(&labels)
        };
        let row = self.requests.get(method.index()).map(|row| {
            row.get_or_init(|| (0..CodeLabel::COUNT).map(|_| OnceLock::new()).collect())
        });
        if let Some(counter) = row.and_then(|row| row.get(code.index())) {
            counter.get_or_init(make).inc();
        }
    }

    /// A dial or a send is made once more.
    pub(crate) fn retried(&self, metrics: &Metrics) {
        self.retries
            .get_or_init(|| metrics.upstream_retries.get_or_create_owned(&self.labels()))
            .inc();
    }

    /// An endpoint was forgotten.
    pub(crate) fn forgot(&self, metrics: &Metrics) {
        self.invalidations
            .get_or_init(|| {
                metrics
                    .cache_invalidations
                    .get_or_create_owned(&self.labels())
            })
            .inc();
    }

    /// A request failed towards its pod.
    pub(crate) fn failed(&self, metrics: &Metrics, reason: UpstreamReason) {
        let make = || {
            let labels = UpstreamErrorLabels {
                sandbox_namespace: self.namespace.to_string(),
                reason,
            };
            metrics.upstream_errors.get_or_create_owned(&labels)
        };
        if let Some(counter) = self.errors.get(reason as usize) {
            counter.get_or_init(make).inc();
        }
    }

    fn labels(&self) -> NamespaceLabels {
        NamespaceLabels {
            sandbox_namespace: self.namespace.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        encode(&mut text, registry).unwrap();
        text
    }

    fn serve(series: &Series, metrics: &Metrics, status: u16) {
        let method = MethodLabel::of(&http::Method::GET);
        let took = Duration::from_millis(3);
        series.served(metrics, method, CodeLabel::of(status), took);
    }

    #[test]
    fn every_method_and_code_has_a_place_of_its_own() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let series = Series::of("agents");
        for method in MethodLabel::all() {
            for code in CodeLabel::all() {
                series.served(&metrics, method, code, Duration::ZERO);
            }
        }
        let text = text(&registry);
        let ones = text.lines().filter(|line| {
            line.starts_with("sandbox_router_requests_total{") && line.ends_with("} 1")
        });
        assert_eq!(ones.count(), MethodLabel::COUNT * CodeLabel::COUNT);
    }

    #[test]
    fn a_request_finds_its_series_without_the_family() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let series = Series::of("agents");
        let count = || {
            serve(&series, &metrics, 200);
            series.retried(&metrics);
            series.forgot(&metrics);
            for reason in UpstreamReason::ALL {
                series.failed(&metrics, reason);
            }
        };
        count();
        let made = text(&registry);
        let of_agents = made.lines().filter(|line| line.contains("agents"));
        let ones = of_agents.filter(|line| !line.contains("duration") && line.ends_with(" 1"));
        assert_eq!(ones.count(), 1 + 2 + UpstreamReason::ALL.len(), "{made}");
        metrics.forget("agents");
        count();
        let text = text(&registry);
        assert!(
            !text.contains("agents"),
            "a look-up would make it anew: {text}"
        );
    }
}
