//! A histogram without a lock: a bucket and a sum, each an atomic of its own. A scrape that comes between the
//! two sees the one without the other, as any scrape comes between two requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds for requests, seconds: from a warm hop to a long model call.
const BOUNDS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// How long something took; cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Latency(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    /// Upper bounds, seconds, ascending.
    bounds: &'static [f64],
    buckets: Box<[AtomicU64]>,
    longer: AtomicU64,
    /// Ten thousand requests at a time fill it in 58 years.
    microseconds: AtomicU64,
}

impl Default for Latency {
    fn default() -> Self {
        Self::within(&BOUNDS)
    }
}

impl Latency {
    /// With these upper bounds, seconds, ascending.
    pub(crate) fn within(bounds: &'static [f64]) -> Self {
        Self(Arc::new(Counts {
            bounds,
            buckets: bounds.iter().map(|_| AtomicU64::new(0)).collect(),
            longer: AtomicU64::new(0),
            microseconds: AtomicU64::new(0),
        }))
    }

    /// One more.
    pub(crate) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = self.0.bounds.partition_point(|bound| *bound < seconds);
        let bucket = self.0.buckets.get(bucket).unwrap_or(&self.0.longer);
        bucket.fetch_add(1, Ordering::Relaxed);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0.microseconds.fetch_add(took, Ordering::Relaxed);
    }
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = self.0.buckets.iter().chain([&self.0.longer]);
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let microseconds = self.0.microseconds.load(Ordering::Relaxed);
        let sum = Duration::from_micros(microseconds).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Latency {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::registry::{Metric, Registry};

    use super::*;

    fn text(metric: impl Metric) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        registry.register("took", "Time", metric);
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn it_reads_as_the_histogram_of_the_library_does() {
        let (ours, theirs) = (Latency::default(), Histogram::new(BOUNDS));
        // Eighths of a second, which add up exactly either way.
        for milliseconds in [0, 125, 250, 500, 1000, 299_875, 300_000, 300_125, 900_000] {
            let took = Duration::from_millis(milliseconds);
            ours.observe(took);
            theirs.observe(took.as_secs_f64());
        }
        assert_eq!(text(ours), text(theirs));
    }
}
