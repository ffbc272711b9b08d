//! Tasks of the runtime, read when the metrics are.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::runtime::{Handle, RuntimeMetrics};

/// How many there are, as `tokio_alive_tasks`.
#[derive(Debug)]
pub(super) struct Tasks(RuntimeMetrics);

impl Tasks {
    /// Those of this runtime.
    pub(super) fn of(runtime: &Handle) -> Self {
        Self(runtime.metrics())
    }
}

impl Collector for Tasks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let alive = self.0.num_alive_tasks();
        let gauge = ConstGauge::new(i64::try_from(alive).unwrap_or(i64::MAX));
        let help = "Tasks of this process that have not ended";
        let metric =
            encoder.encode_descriptor("tokio_alive_tasks", help, None, gauge.metric_type())?;
        gauge.encode(metric)
    }
}
