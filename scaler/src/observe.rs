//! From the facts of a watch to what the core speaks of. Wall-clock instants become durations here.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use reveille_crds::change::{ClaimFacts, Fault, Hold, PodFacts, SandboxFacts};
use reveille_crds::index::Target;
use reveille_crds::message::{Cause, SandboxActivity};
use reveille_crds::sandbox::OperatingMode;
use reveille_crds::scaled_sandbox::{ScaledSandboxSpec, Strategy, TriggerKind};
use reveille_scaler_core::ledger::Report;
use reveille_scaler_core::{view, wake};

/// Characters kept of what is said of who asked.
const MOST_WORDS: usize = 200;

/// The two clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    pub(crate) wall: Timestamp,
    pub(crate) now: Instant,
}

impl Clocks {
    /// Both, now.
    pub(crate) fn read() -> Self {
        Self {
            wall: Timestamp::now(),
            now: tokio::time::Instant::now().into_std(),
        }
    }

    /// The wall-clock instant of something that was at `then`.
    pub(crate) fn timestamp(self, then: Instant) -> Timestamp {
        let ago = self.now.saturating_duration_since(then);
        let ago = SignedDuration::try_from(ago).unwrap_or(SignedDuration::ZERO);
        self.wall.checked_sub(ago).unwrap_or(self.wall)
    }

    fn age(self, created: Option<Timestamp>) -> Duration {
        created.map_or(Duration::ZERO, |created| self.since(created))
    }

    fn since(self, then: Timestamp) -> Duration {
        Duration::try_from(self.wall.duration_since(then)).unwrap_or(Duration::ZERO)
    }

    fn since_second(self, then: NonZeroU32) -> Duration {
        Timestamp::from_second(then.get().into()).map_or(Duration::MAX, |then| self.since(then))
    }

    /// The instant of a wall-clock one; now, if that is over.
    pub(crate) fn instant(self, at: Timestamp) -> Option<Instant> {
        let left = Duration::try_from(at.duration_since(self.wall)).unwrap_or(Duration::ZERO);
        self.now.checked_add(left)
    }
}

/// A target as the core sees it.
pub(crate) fn view(target: &Target, may_release: bool, clocks: Clocks) -> view::View {
    let claim = target.claim.as_ref().map(|(_, facts)| facts);
    // The Sandbox of a claim may go while the claim stays and binds another: then the claim is unbound.
    let rebinding =
        |sandbox: &SandboxFacts| sandbox.deleting && claim.is_some_and(|claim| !claim.deleting);
    let sandbox = target
        .sandbox
        .as_ref()
        .map(|(_, facts)| facts)
        .filter(|facts| !rebinding(facts));
    let pod = target.pod.as_ref().filter(|_| sandbox.is_some());
    view::View {
        sandbox: sandbox.map(|facts| sandbox_view(facts, clocks)),
        claim: claim.map(|facts| claim_view(facts, clocks)),
        pod: pod
            .filter(|facts| !facts.terminating)
            .map(|facts| pod_view(facts)),
        policy: target.policy.as_ref().map(|(_, facts)| {
            let policy = policy(&facts.spec);
            let strategy = match may_release {
                true => policy.strategy,
                false => view::Strategy::Restore,
            };
            view::Policy { strategy, ..policy }
        }),
    }
}

fn sandbox_view(facts: &SandboxFacts, clocks: Clocks) -> view::SandboxView {
    view::SandboxView {
        uid: Arc::clone(&facts.uid),
        epoch: facts.epoch,
        woken: facts.woken.map(|woken| clocks.since_second(woken)),
        mode: match facts.mode {
            OperatingMode::Running => view::Mode::Running,
            OperatingMode::Suspended => view::Mode::Suspended,
        },
        hold: facts.hold.map(|hold| match hold {
            Hold::Awake => view::Hold::Awake,
            Hold::Asleep => view::Hold::Asleep,
        }),
        busy_until: facts
            .busy_until
            .as_deref()
            .and_then(|at| clocks.instant(*at)),
        expires: facts
            .shutdown_time
            .as_deref()
            .and_then(|at| clocks.instant(*at)),
        deleting: facts.deleting,
        pool_member: facts.pool_member,
        has_volumes: facts.has_volumes,
        fault: facts.fault.as_ref().map(fault),
        age: clocks.age(facts.created),
    }
}

fn claim_view(facts: &ClaimFacts, clocks: Clocks) -> view::ClaimView {
    view::ClaimView {
        uid: Arc::clone(&facts.uid),
        epoch: facts.epoch,
        released: facts.released,
        deleting: facts.deleting,
        stays_bound: facts.stays_bound,
        fault: facts.fault.as_ref().map(fault),
        age: clocks.age(facts.created),
    }
}

fn pod_view(facts: &PodFacts) -> view::PodView {
    view::PodView {
        uid: Arc::clone(&facts.uid),
        addressed: facts.ip.is_some(),
        ready: facts.ready,
        proven_by_ready: facts.probe.is_some(),
        fault: facts.fault.as_ref().map(fault),
    }
}

fn fault(fault: &Fault) -> view::Fault {
    view::Fault {
        reason: Arc::clone(&fault.reason),
        message: Arc::clone(&fault.message),
        for_clients: fault.for_clients().into(),
    }
}

fn policy(spec: &ScaledSandboxSpec) -> view::Policy {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    view::Policy {
        cooldown: seconds(spec.cooldown_period),
        initial_cooldown: seconds(spec.initial_cooldown_period),
        minimum_uptime: seconds(spec.minimum_uptime),
        wake_deadline: seconds(spec.wake.deadline),
        progress_deadline: seconds(spec.wake.progress_deadline_seconds),
        strategy: match spec.wake.strategy {
            Strategy::Restore => view::Strategy::Restore,
            Strategy::Bind => view::Strategy::Bind,
        },
        busy_failure_limit: spec
            .busy
            .as_ref()
            .map_or(10, |busy| busy.failure_limit.max(1)),
        busy_period: spec.busy.as_ref().map(|busy| seconds(busy.period.max(1))),
        http: spec
            .triggers
            .iter()
            .any(|trigger| trigger.kind == TriggerKind::Http),
        paused: spec.paused,
    }
}

/// What an activator reports of one target.
pub(crate) fn report(activity: &SandboxActivity) -> Report {
    Report {
        in_flight: activity.in_flight,
        parked: activity.parked,
        quiet_for: Duration::from_millis(activity.quiet_for_ms),
        busy: activity.busy.as_ref().map(|lease| {
            (
                Arc::from(lease.pod.as_str()),
                Duration::from_millis(lease.for_ms),
            )
        }),
    }
}

/// What an activator says of who asked: a stranger's words, so of one line and bounded.
pub(crate) fn words(by: &str) -> Arc<str> {
    let shown = by.chars().filter(|each| !each.is_control());
    shown.take(MOST_WORDS).collect::<String>().into()
}

/// A cause, in everybody's words.
pub(crate) const fn told(cause: wake::Cause) -> Cause {
    match cause {
        wake::Cause::Http => Cause::Http,
        wake::Cause::Api => Cause::Api,
        wake::Cause::Hold => Cause::Hold,
        wake::Cause::NatsJetstream => Cause::NatsJetstream,
        wake::Cause::Cron => Cause::Cron,
        wake::Cause::ExternalPush => Cause::ExternalPush,
        wake::Cause::Other => Cause::Other,
    }
}

/// A cause, in the core's words.
pub(crate) const fn cause(cause: Cause) -> wake::Cause {
    match cause {
        Cause::Http => wake::Cause::Http,
        Cause::Api => wake::Cause::Api,
        Cause::Hold => wake::Cause::Hold,
        Cause::NatsJetstream => wake::Cause::NatsJetstream,
        Cause::Cron => wake::Cause::Cron,
        Cause::ExternalPush => wake::Cause::ExternalPush,
        Cause::Other => wake::Cause::Other,
    }
}
