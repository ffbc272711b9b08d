//! Status codes as labels: an agent can answer with any of nine hundred, and none of them is trusted.

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// Codes that have a label of their own: those of RFC 9110 §15, RFC 6585, and 499 for a client that left.
const KNOWN: [u16; 46] = [
    100, 101, 200, 201, 202, 203, 204, 205, 206, 300, 301, 302, 303, 304, 307, 308, 400, 401, 402,
    403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 426, 428,
    429, 431, 499, 500, 501, 502, 503, 504,
];

/// A known status code, or the class of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CodeLabel(u16);

impl CodeLabel {
    /// The label of a status; one that is not known stands as the first digit.
    pub(crate) fn of(status: u16) -> Self {
        if KNOWN.contains(&status) {
            Self(status)
        } else {
            Self(status / 100)
        }
    }

    /// How many there are: those that are known, and a class for each first digit.
    pub(super) const COUNT: usize = KNOWN.len() + 10;

    /// Its place among them.
    pub(super) fn index(self) -> usize {
        KNOWN
            .binary_search(&self.0)
            .unwrap_or_else(|_| KNOWN.len() + usize::from(self.0))
    }

    /// Every label there is.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        KNOWN.into_iter().chain(0..=9).map(Self)
    }
}

impl EncodeLabelValue for CodeLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self.0 {
            class @ 0..=9 => format!("{class}xx").encode(encoder),
            code => code.encode(encoder),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use std::time::Duration;

    use crate::metrics::{MethodLabel, Metrics, NamespaceLabels, Series};

    #[test]
    fn a_hostile_agent_makes_no_more_labels_than_there_are() {
        let all: HashSet<CodeLabel> = CodeLabel::all().collect();
        let made: HashSet<CodeLabel> = (100..1000).map(CodeLabel::of).collect();
        assert!(made.is_subset(&all) && all.len() == CodeLabel::COUNT);
        let places: HashSet<usize> = all.iter().map(|code| code.index()).collect();
        assert_eq!(places, (0..CodeLabel::COUNT).collect());
    }

    #[test]
    fn a_namespace_that_is_gone_leaves_no_series() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let lines = |registry: &Registry| {
            let mut text = String::new();
            encode(&mut text, registry).unwrap();
            text.lines().count()
        };
        let before = lines(&registry);
        for run in 0..200 {
            let namespace = format!("run-{run}");
            let series = Series::of(&namespace);
            for status in 100..1000 {
                let method = MethodLabel::of(&http::Method::GET);
                series.served(
                    &metrics,
                    method,
                    CodeLabel::of(status),
                    Duration::from_secs(1),
                );
            }
            let labels = NamespaceLabels {
                sandbox_namespace: namespace.clone(),
            };
            metrics.cache_invalidations.get_or_create(&labels).inc();
            assert!(lines(&registry) > before);
            metrics.forget(&namespace);
        }
        assert_eq!(lines(&registry), before);
    }
}
