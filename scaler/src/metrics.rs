//! What the scaler counts. No label ever names a sandbox, and every label is of a fixed set.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use reveille_scaler_core::act::{SleepReason, Woke};
use reveille_scaler_core::drain::Ending;
use reveille_scaler_core::explain::State;
use reveille_scaler_core::wake::{Cause, Refusal};

/// Upper bounds in seconds: a wake takes from a millisecond of ours to a minute of a cold node.
const BUCKETS: [f64; 14] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// All metrics of the scaler. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    wakes: Family<WakeLabels, Counter>,
    wake_duration: Family<PhaseLabels, Histogram, Buckets>,
    refusals: Family<ReasonLabels, Counter>,
    sleeps: Family<ReasonLabels, Counter>,
    sleep_refusals: Family<ReasonLabels, Counter>,
    drains: Family<OutcomeLabels, Counter>,
    writes: Family<WriteLabels, Counter>,
    sandboxes: Family<StateLabels, Gauge>,
    busy_failures: Family<ReasonLabels, Counter>,
    agents_silent: Counter,
    flappings: Counter,
    silent: Gauge,
    leads: Gauge,
    timers: Gauge,
    writes_queued: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            wakes: Family::default(),
            wake_duration: Family::new_with_constructor(Buckets),
            refusals: Family::default(),
            sleeps: Family::default(),
            sleep_refusals: Family::default(),
            drains: Family::default(),
            writes: Family::default(),
            sandboxes: Family::default(),
            busy_failures: Family::default(),
            agents_silent: Counter::default(),
            flappings: Counter::default(),
            silent: Gauge::default(),
            leads: Gauge::default(),
            timers: Gauge::default(),
            writes_queued: Gauge::default(),
        }
    }
}

#[derive(Clone, Debug)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(BUCKETS)
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WakeLabels {
    outcome: &'static str,
    cause: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PhaseLabels {
    phase: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WriteLabels {
    what: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

impl Metrics {
    /// Makes the metrics and registers them as `reveille_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        let registry = registry.sub_registry_with_prefix("reveille");
        registry.register(
            "wakes",
            "Wakes by outcome and first cause",
            this.wakes.clone(),
        );
        registry.register(
            "wake_duration_seconds",
            "Duration of successful wakes by phase: decide, start, ready, total",
            this.wake_duration.clone(),
        );
        registry.register(
            "wake_refusals",
            "Wakes refused by reason",
            this.refusals.clone(),
        );
        registry.register(
            "sleeps",
            "Sandboxes put to sleep by reason",
            this.sleeps.clone(),
        );
        registry.register(
            "sleep_refusals",
            "Sleeps asked for by an operator and not begun, by reason",
            this.sleep_refusals.clone(),
        );
        registry.register("drains", "Drain handshakes by outcome", this.drains.clone());
        registry.register("writes", "Writes by kind and result", this.writes.clone());
        registry.register("sandboxes", "Sandboxes by state", this.sandboxes.clone());
        registry.register(
            "busy_probe_failures",
            "Questions on busy.path without a usable answer, by reason",
            this.busy_failures.clone(),
        );
        registry.register(
            "busy_probe_given_up",
            "Sandboxes that counted as idle after busy.failureLimit questions without a usable answer",
            this.agents_silent.clone(),
        );
        registry.register(
            "flapping",
            "Times that a sandbox began to be woken again and again right after its own sleep",
            this.flappings.clone(),
        );
        registry.register(
            "members_silent",
            "Activators that are not heard, each of which blocks every sleep",
            this.silent.clone(),
        );
        registry.register(
            "leads",
            "Whether this scaler may put sandboxes to sleep: 1, or 0 where another leads or nobody",
            this.leads.clone(),
        );
        this.register_waiting(registry);
        this
    }

    fn register_waiting(&self, registry: &mut Registry) {
        registry.register(
            "timers",
            "Sandboxes that are due to be looked at without any news of them",
            self.timers.clone(),
        );
        registry.register(
            "writes_queued",
            "Writes that wait for their turn under the limit of writes per second",
            self.writes_queued.clone(),
        );
    }

    pub(crate) fn woke(&self, woke: &Woke) {
        self.wakes
            .get_or_create(&WakeLabels {
                outcome: "woken",
                cause: woke.cause.as_str(),
            })
            .inc();
        let phases = [
            ("decide", woke.decide),
            ("start", woke.start),
            ("ready", woke.ready),
            ("total", woke.total()),
        ];
        for (phase, took) in phases {
            self.wake_duration
                .get_or_create(&PhaseLabels { phase })
                .observe(took.as_secs_f64());
        }
    }

    pub(crate) fn wake_failed(&self, cause: Cause) {
        self.wakes
            .get_or_create(&WakeLabels {
                outcome: "failed",
                cause: cause.as_str(),
            })
            .inc();
    }

    pub(crate) fn refused(&self, cause: Cause, refusal: Refusal) {
        self.wakes
            .get_or_create(&WakeLabels {
                outcome: "refused",
                cause: cause.as_str(),
            })
            .inc();
        self.refusals
            .get_or_create(&ReasonLabels {
                reason: refusal.reason(),
            })
            .inc();
    }

    pub(crate) fn busy_failed(&self, reason: &'static str) {
        self.busy_failures
            .get_or_create(&ReasonLabels { reason })
            .inc();
    }

    pub(crate) fn agent_silent(&self) {
        self.agents_silent.inc();
    }

    pub(crate) fn flapping(&self) {
        self.flappings.inc();
    }

    pub(crate) fn slept(&self, reason: SleepReason) {
        self.sleeps
            .get_or_create(&ReasonLabels {
                reason: reason.as_str(),
            })
            .inc();
    }

    pub(crate) fn sleep_refused(&self, reason: &'static str) {
        self.sleep_refusals
            .get_or_create(&ReasonLabels { reason })
            .inc();
    }

    pub(crate) fn drained(&self, ending: Ending) {
        self.drains
            .get_or_create(&OutcomeLabels {
                outcome: ending.as_str(),
            })
            .inc();
    }

    pub(crate) fn written(&self, what: &'static str, result: &'static str) {
        self.writes
            .get_or_create(&WriteLabels { what, result })
            .inc();
    }

    pub(crate) fn state(&self, before: Option<State>, after: Option<State>) {
        let gauge = |state: State| {
            self.sandboxes.get_or_create_owned(&StateLabels {
                state: state.as_str(),
            })
        };
        if let Some(before) = before {
            gauge(before).dec();
        }
        if let Some(after) = after {
            gauge(after).inc();
        }
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.leads.set(i64::from(leads));
    }

    /// What waits, and how much of it.
    pub(crate) fn waiting(&self, timers: usize, writes: usize) {
        let set = |gauge: &Gauge, count| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        set(&self.timers, timers);
        set(&self.writes_queued, writes);
    }

    pub(crate) fn silent(&self, members: usize) {
        self.silent.set(i64::try_from(members).unwrap_or(i64::MAX));
    }
}

/// Milliseconds with one decimal, as the log says them.
pub(crate) fn milliseconds(took: Duration) -> String {
    let ms = took.as_secs_f64() * 1000.0;
    if ms < 10.0 {
        format!("{ms:.1}")
    } else {
        format!("{ms:.0}")
    }
}
