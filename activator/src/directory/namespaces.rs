//! How many targets each namespace has: one without any leaves no metric behind.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::metrics::{Metrics, Series};

/// Namespaces that were forgotten and are forgotten once more: requests that outlived their sandbox are
/// counted when they end, be it after it was gone.
const LATE: usize = 256;

/// Targets by namespace.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    targets: HashMap<Box<str>, (usize, Arc<Series>)>,
    late: VecDeque<Box<str>>,
}

impl Namespaces {
    /// One more target there; answers what its requests count on.
    pub(super) fn add(&mut self, namespace: &str) -> Arc<Series> {
        if let Some((count, series)) = self.targets.get_mut(namespace) {
            *count += 1;
            return Arc::clone(series);
        }
        let series = Arc::new(Series::of(namespace));
        let first = (1, Arc::clone(&series));
        self.targets.insert(namespace.into(), first);
        series
    }

    /// One target less there; the last one takes the series of its namespace with it.
    pub(super) fn remove(&mut self, namespace: &str, metrics: &Metrics) {
        let Some((count, _)) = self.targets.get_mut(namespace) else {
            return;
        };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.targets.remove(namespace);
        // The one of longest ago goes for good.
        if self.late.len() == LATE
            && let Some(oldest) = self.late.pop_front()
        {
            self.forget(&oldest, metrics);
        }
        self.forget(namespace, metrics);
        self.late.push_back(namespace.into());
    }

    fn forget(&self, namespace: &str, metrics: &Metrics) {
        if !self.targets.contains_key(namespace) {
            metrics.forget(namespace);
        }
    }
}
