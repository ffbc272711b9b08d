//! What the watches count, read when it is asked for.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use reveille_kubernetes::health::Health;
use tokio::sync::watch;
use tokio::time::Instant;

/// Adds the metrics of these watches.
pub(crate) fn register(registry: &mut Registry, health: watch::Receiver<Health>) {
    registry.register_collector(Box::new(Watches(health)));
}

#[derive(Debug)]
struct Watches(watch::Receiver<Health>);

impl Collector for Watches {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let health = self.0.borrow().clone();
        let now = Instant::now().into_std();
        let stale = health.stale_since().map_or(0.0, |since| {
            now.saturating_duration_since(since).as_secs_f64()
        });
        let failing = i64::try_from(health.failing.len()).unwrap_or(i64::MAX);
        put(
            &mut encoder,
            "reveille_watch_stale_seconds",
            "Age of the oldest knowledge that may be out of date; 0 while all watches run",
            &ConstGauge::new(stale),
        )?;
        put(
            &mut encoder,
            "reveille_watches_failing",
            "Watches of the Kubernetes API that do not run",
            &ConstGauge::new(failing),
        )?;
        put(
            &mut encoder,
            "reveille_watch_relists",
            "Lists made again because a watch could not go on",
            &ConstCounter::new(health.relists),
        )?;
        put(
            &mut encoder,
            "reveille_watch_unreadable",
            "Objects that could not be read",
            &ConstCounter::new(health.unreadable),
        )
    }
}

fn put(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> Result<(), std::fmt::Error> {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}
