//! What is counted for as long as it is there.

use prometheus_client::metrics::gauge::Gauge;

/// Adds one to a gauge until it is dropped, however its owner ends.
#[derive(Debug)]
pub(crate) struct Counted(Gauge);

impl Counted {
    pub(crate) fn on(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
