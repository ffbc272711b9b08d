//! The series of what is counted for requests that are parked or fail, made at the start: a request that is
//! counted here takes no lock.

use std::collections::HashMap;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use reveille_activator_core::lot::Ending;

use super::latency::Latency;
use super::{EndingLabels, ReasonLabels};

/// All that [`crate::error::Error::kind`] says.
pub(super) const KINDS: [&str; 30] = [
    "Malformed",
    "Framing",
    "TooManyFields",
    "NotImplemented",
    "MethodNotAllowed",
    "ForeignPage",
    "NotFound",
    "TooManyConnections",
    "ConnectFailed",
    "ExchangeFailed",
    "NoSwitch",
    "NoResponse",
    "WaitExpired",
    "NotReading",
    "Stalled",
    "RequestBody",
    "Exhausted",
    "ShuttingDown",
    "ClientGone",
    "WakeDelayed",
    "LotFull",
    "ActivatorFull",
    "Throttled",
    "NoScaler",
    "WakeRefused",
    "WakeFailed",
    "Blocked",
    "PortNotDeclared",
    "NotAnswering",
    "StillWaking",
];

/// Those series.
#[derive(Debug)]
pub(super) struct Handles {
    pub(super) endings: [(Ending, Counter, Latency); 5],
    /// By [`KINDS`].
    pub(super) refused: HashMap<&'static str, Counter>,
}

impl Handles {
    pub(super) fn of(
        endings: &Family<EndingLabels, Counter>,
        waits: &Family<EndingLabels, Latency, fn() -> Latency>,
        refused: &Family<ReasonLabels, Counter>,
    ) -> Self {
        let all = [
            Ending::Released,
            Ending::Expired,
            Ending::Refused,
            Ending::Failed,
            Ending::Abandoned,
        ];
        let counter = |reason: &'static str| refused.get_or_create_owned(&ReasonLabels { reason });
        Self {
            endings: all.map(|ending| {
                let labels = EndingLabels {
                    ending: ending.as_str(),
                };
                let count = endings.get_or_create_owned(&labels);
                (ending, count, waits.get_or_create_owned(&labels))
            }),
            refused: KINDS.map(|kind| (kind, counter(kind))).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn what_a_request_counts_is_there_from_the_start() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let lines = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text.lines().count()
        };
        let before = lines();
        metrics.ticket_ended(Ending::Abandoned, Duration::from_secs(1));
        for kind in KINDS {
            metrics.refused(kind);
        }
        assert_eq!(lines(), before);
        assert!(
            metrics
                .handles
                .endings
                .iter()
                .any(|(of, count, _)| *of == Ending::Abandoned && count.get() == 1)
        );
    }
}
