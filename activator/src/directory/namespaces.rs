//! How many targets each namespace has: one without any leaves no metric behind.

use std::collections::{HashMap, VecDeque};

use crate::metrics::Metrics;

/// Namespaces that were forgotten and are forgotten once more: requests that outlived their sandbox are
/// counted when they end, be it after it was gone.
const LATE: usize = 256;

/// Targets by namespace.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    targets: HashMap<Box<str>, usize>,
    late: VecDeque<Box<str>>,
}

impl Namespaces {
    /// One more target there.
    pub(super) fn add(&mut self, namespace: &str) {
        match self.targets.get_mut(namespace) {
            Some(count) => *count += 1,
            None => {
                self.targets.insert(namespace.into(), 1);
            }
        }
    }

    /// One target less there; the last one takes the series of its namespace with it.
    pub(super) fn remove(&mut self, namespace: &str, metrics: &Metrics) {
        let Some(count) = self.targets.get_mut(namespace) else {
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
