//! What wakes took, from the scalers' logs, as figures worth printing.

use serde_json::Value;

use crate::support::cluster::Cluster;

/// Phases of the wakes told so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phases(Vec<[f64; 4]>);

impl Phases {
    /// Of all wakes that the scalers tell of in their present logs.
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let lines = cluster
            .scalers
            .iter()
            .flat_map(|scaler| scaler.log.lines_with("\"decide_ms\""));
        let phase = |event: &Value, name: &str| event[name].as_f64();
        Self(
            lines
                .filter_map(|line| serde_json::from_str(&line).ok())
                .filter_map(|event| {
                    Some([
                        phase(&event, "decide_ms")?,
                        phase(&event, "start_ms")?,
                        phase(&event, "ready_ms")?,
                        phase(&event, "total_ms")?,
                    ])
                })
                .collect(),
        )
    }

    /// How many wakes.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Prints medians and the longest.
    pub(crate) fn print(&self, what: &str) {
        let median = |phase: usize| {
            let mut all: Vec<f64> = self.0.iter().map(|wake| wake[phase]).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        let longest = self.0.iter().map(|wake| wake[3]).fold(0.0, f64::max);
        println!(
            "{what}: {} wakes, medians: decide {:.1} ms, start {:.1} ms, ready {:.1} ms, total {:.1} ms; longest {longest:.1} ms",
            self.count(),
            median(0),
            median(1),
            median(2),
            median(3),
        );
    }
}
