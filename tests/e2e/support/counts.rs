//! What a process holds: as the kernel counts it, and as it counts itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::process::{descriptors, resident_kib, threads};
use crate::support::{PATIENCE, until};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// What memory may grow by for other reasons than a leak, in KiB: what the allocator keeps of the largest
/// crowd so far. Five hundred requests that leak 64 KiB each, a connection's buffers, show in it.
const SLACK_KIB: u64 = 32 * 1024;

/// Connections to the API server that are kept for a next write (90 s), each a descriptor and two tasks.
const KEPT: f64 = 8.0;

/// What was counted.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    /// Gauges by name and labels; none that is zero.
    gauges: BTreeMap<String, f64>,
    /// Tasks, descriptors and threads, some of which end a while after what they were for.
    ending: BTreeMap<&'static str, f64>,
    /// Sandboxes that are to be looked at again.
    timers: f64,
    /// Series of all metrics; a histogram is one.
    series: usize,
    resident_kib: u64,
}

impl Counts {
    /// Of a process that says this of itself.
    pub(crate) fn of(pid: u32, metrics: &str) -> Self {
        let types: BTreeMap<&str, &str> = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .collect();
        let mut gauges = BTreeMap::new();
        let mut series = BTreeSet::new();
        for line in metrics.lines().filter(|line| !line.starts_with('#')) {
            let (of, value) = line.rsplit_once(' ').unwrap();
            let name = of.split('{').next().unwrap();
            if !name.ends_with("_bucket") {
                series.insert(of);
            }
            let value: f64 = value.parse().unwrap();
            if types.get(name) == Some(&"gauge") && value != 0.0 {
                gauges.insert(of.to_owned(), value);
            }
        }
        let tasks = gauges.remove("tokio_alive_tasks").unwrap();
        let ending = [
            ("tasks", tasks),
            ("file descriptors", descriptors(pid) as f64),
            ("threads", threads(pid) as f64),
        ];
        Self {
            timers: gauges.remove("reveille_timers").unwrap_or_default(),
            gauges,
            ending: ending.into(),
            series: series.len(),
            resident_kib: resident_kib(pid),
        }
    }

    /// So much of this gauge is to be gone.
    pub(crate) fn take(&mut self, gauge: &str, count: usize) {
        let value = self.gauges.get_mut(gauge).unwrap();
        *value -= count as f64;
    }

    /// Whether nobody is connected, and nothing waits.
    fn is_calm(&self) -> bool {
        let ends = ["connections", "requests", "tunnels", "writes_queued"];
        let mut names = self.gauges.keys();
        names.all(|name| !ends.iter().any(|end| name.ends_with(end)))
    }

    /// # Errors
    /// What is more, or less, than `before`, after so many lives of sandboxes. Fewer series than that may be
    /// new: words of fixed sets that had not been needed yet.
    fn compare(&self, before: &Self, churned: usize) -> Result<(), String> {
        if self.gauges != before.gauges {
            return Err(format!(
                "gauges {:?}, were {:?}",
                self.gauges, before.gauges
            ));
        }
        for (what, count) in &self.ending {
            if *count > before.ending[what] + KEPT {
                return Err(format!("{count} {what}, were {}", before.ending[what]));
            }
        }
        let known = self.gauges.iter();
        let known = known.filter(|(gauge, _)| gauge.starts_with("reveille_sandboxes{"));
        let known: f64 = known.map(|(_, count)| count).sum();
        if self.timers > known {
            return Err(format!("{} timers of {known} sandboxes", self.timers));
        }
        if self.series >= before.series + churned {
            return Err(format!("{} series, were {}", self.series, before.series));
        }
        if self.resident_kib > before.resident_kib + SLACK_KIB {
            let (now, before) = (self.resident_kib, before.resident_kib);
            return Err(format!("{now} KiB of memory, were {before}"));
        }
        Ok(())
    }
}

/// Waits until nothing is under way, and gives what is held then.
pub(crate) async fn calm<F: Future<Output = Counts>>(count: impl Fn() -> F) -> Counts {
    until("calm", || async {
        Some(count().await).filter(Counts::is_calm)
    })
    .await
}

/// Waits until nothing is held that was not held before, or fails the test and says what is.
pub(crate) async fn back_to<F: Future<Output = Counts>>(
    before: &Counts,
    churned: usize,
    count: impl Fn() -> F,
) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = count().await;
        let Err(more) = now.compare(before, churned) else {
            return;
        };
        assert!(Instant::now() < deadline, "something piles up: {more}");
        sleep(LOOK).await;
    }
}
