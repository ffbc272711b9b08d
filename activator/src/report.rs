//! Activity reports: once an interval, even when there is nothing to say, and at once when somebody looks.
//!
//! No news is not idle, so silence of this task keeps sandboxes awake. A report that could not be handed
//! to the carrier, and the time while it was down, are made up for by a full one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reveille_activator_core::activity::Seen;
use reveille_activator_core::report::{Reports, split};
use reveille_crds::SandboxKey;
use reveille_crds::message::{Activity, BusyLease, SandboxActivity, ToScaler};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::directory::Directory;
use crate::looks::Looks;
use crate::metrics::Metrics;

/// Most encoded bytes of entries in one report: half of what a NATS server takes in one message.
const MOST_BYTES: usize = 512 * 1024;
/// Bytes of JSON around a key: field names and three numbers of full length.
const ENTRY_BYTES: usize = 110;
/// Bytes of JSON around the pod's UID in a lease.
const LEASE_BYTES: usize = 60;

/// Reports on behalf of one incarnation of an activator.
pub(crate) struct Reporter {
    pub(crate) activator: String,
    pub(crate) incarnation: String,
    pub(crate) interval: Duration,
    pub(crate) directory: Arc<Directory>,
    pub(crate) to_scaler: mpsc::Sender<ToScaler>,
    pub(crate) link: watch::Receiver<bool>,
    /// Set when a full report is asked for.
    pub(crate) full_report: Arc<AtomicBool>,
    pub(crate) looks: Looks,
    pub(crate) metrics: Metrics,
}

impl Reporter {
    /// Reports until dropped.
    pub(crate) async fn run(mut self) {
        let mut reports = Reports::default();
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // A link that returns is reported on at once; the order does not matter otherwise. It may
                // have been down and up again by now, and what was on its way then is lost.
                biased;
                Ok(()) = self.link.changed() => reports.ask_full(),
                () = self.looks.asked() => {}
                _ = ticks.tick() => {}
            }
            let is_up = *self.link.borrow_and_update();
            if !is_up {
                // The full report to come is over all slots; a list for nobody would keep the deleted ones.
                drop((self.directory.take_dirty(), self.looks.take()));
                reports.ask_full();
                continue;
            }
            if self.full_report.swap(false, Ordering::Relaxed) {
                reports.ask_full();
            }
            if !self.report(&mut reports).await {
                reports.ask_full();
            }
        }
    }

    /// Sends one report, in several messages if need be. False if the carrier did not take it all.
    async fn report(&self, reports: &mut Reports) -> bool {
        let mut answers = self.looks.take();
        let changed = self.directory.take_dirty();
        let slots = if reports.is_full_due() {
            self.directory.slots()
        } else {
            changed
        };
        let mut entries: Vec<SandboxActivity> = slots
            .iter()
            .filter_map(|slot| Some(entry(slot.key(), slot.report()?)))
            .collect();
        // What is active comes first: between the parts of a full report the rest counts as quiet.
        entries.sort_by_key(|entry| entry.in_flight == 0 && entry.parked == 0);
        let sizes: Vec<usize> = entries.iter().map(size).collect();
        let mut entries = entries.into_iter();
        for count in split(&sizes, MOST_BYTES) {
            let stamp = reports.stamp();
            let report = ToScaler::Activity(Activity {
                activator: self.activator.clone(),
                incarnation: self.incarnation.clone(),
                sequence: stamp.sequence,
                full: stamp.full,
                sandboxes: entries.by_ref().take(count).collect(),
                answers: match entries.len() {
                    0 => std::mem::take(&mut answers),
                    _ => Vec::new(),
                },
            });
            self.metrics.reports.inc();
            if self
                .to_scaler
                .send_timeout(report, self.interval)
                .await
                .is_err()
            {
                return false;
            }
        }
        true
    }
}

fn entry(key: &SandboxKey, seen: Seen) -> SandboxActivity {
    SandboxActivity {
        key: key.clone(),
        in_flight: seen.in_flight,
        parked: seen.parked,
        quiet_for_ms: millis(seen.quiet_for),
        busy: seen.busy.map(|(pod, left)| BusyLease {
            pod: pod.to_string(),
            for_ms: millis(left),
        }),
    }
}

fn size(entry: &SandboxActivity) -> usize {
    let key = entry.key.namespace().len() + entry.key.name().len();
    let lease = entry
        .busy
        .as_ref()
        .map_or(0, |lease| LEASE_BYTES + lease.pod.len());
    ENTRY_BYTES + key + lease
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
