//! What a seed makes of a run: how many take part, how they are treated, and for how long.

mod trouble;
mod weather;

use std::time::Duration;

use fastrand::Rng;
use reveille_activator_core::view::Limits as CoreLimits;
use reveille_scaler_core::election::Timing;
use reveille_scaler_core::sandbox::Rules;
use reveille_scaler_core::view::{Policy, Strategy};

pub(crate) use self::trouble::Trouble;
use crate::objects::Name;

/// A run before it begins.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) activators: usize,
    pub(crate) scalers: usize,
    pub(crate) lease: Timing,
    pub(crate) targets: Vec<Target>,
    /// Sandboxes kept warm for claims.
    pub(crate) pool: usize,
    pub(crate) carrier: Carrier,
    pub(crate) watch: Watches,
    pub(crate) writes: Writes,
    pub(crate) pods: Pods,
    pub(crate) load: Load,
    pub(crate) trouble: Trouble,
    /// Until then there are faults and load.
    pub(crate) storm: Duration,
    /// What is in flight when a sleep is ordered has so long to end.
    pub(crate) grace: Duration,
    /// Silence after which a response that flows stops counting; `None`: it counts while it is open.
    pub(crate) stream_idle: Option<Duration>,
    /// Nothing goes wrong at all.
    pub(crate) calm: bool,
}

/// A sandbox, or a claim.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) claim: bool,
    pub(crate) volumes: bool,
    pub(crate) awake: bool,
    /// A policy governs it.
    pub(crate) managed: bool,
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
}

/// What the activator's limits are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_requests: u32,
    pub(crate) max_wait: Duration,
    pub(crate) release_concurrency: u32,
}

/// What happens to a message between activators and scalers. Probabilities are per message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carrier {
    pub(crate) lose: f64,
    pub(crate) double: f64,
    pub(crate) delay: Duration,
}

/// How late watches are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watches {
    pub(crate) lag: Duration,
}

/// What happens to a write of a scaler. Probabilities are per write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writes {
    pub(crate) delay: Duration,
    /// It is done only shortly before the writer gives it up.
    pub(crate) late: f64,
    /// It never arrives.
    pub(crate) lose: f64,
    /// It is done, and the answer is lost.
    pub(crate) lose_result: f64,
    /// The API server refuses it for a moment.
    pub(crate) unavailable: f64,
    /// A sleep is held back on its way beyond its time.
    pub(crate) hold: f64,
}

/// How pods behave. Probabilities are per pod.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pods {
    pub(crate) create: Duration,
    pub(crate) address: Duration,
    pub(crate) start: Duration,
    pub(crate) ready: Duration,
    pub(crate) grace: Duration,
    /// It has a readiness probe.
    pub(crate) probed: bool,
    /// Its image cannot be pulled.
    pub(crate) no_image: f64,
    /// It has an address and never answers.
    pub(crate) mute: f64,
    /// It dies as soon as it runs, again and again.
    pub(crate) crash_loop: f64,
    /// It listens much later than anybody waits.
    pub(crate) slow: f64,
}

/// What clients do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Mean time between two visits to one target.
    pub(crate) pause: Duration,
    /// Most requests of one visit.
    pub(crate) herd: usize,
    /// Longest time an agent takes to answer.
    pub(crate) service: Duration,
    /// Probability that a client loses patience.
    pub(crate) leave: f64,
    /// Probability of an upgraded connection.
    pub(crate) upgrade: f64,
    /// Probability that an answer sets a busy lease.
    pub(crate) lease: f64,
    /// Probability of a request for a name that nobody knows.
    pub(crate) stranger: f64,
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn of(rng: &mut Rng) -> Self {
        let pool = if rng.u8(..2) == 0 {
            rng.usize(1..=2)
        } else {
            0
        };
        let calm = rng.u8(..6) == 0;
        let count = rng.usize(1..=4);
        Self {
            activators: rng.usize(1..=3),
            scalers: rng.usize(1..=2),
            lease: timing(rng),
            targets: (0..count).map(|_| Target::of(rng, pool > 0)).collect(),
            pool,
            carrier: Carrier::of(rng, calm),
            watch: Watches {
                lag: pick_ms(rng, if calm { &[2, 20] } else { &[2, 20, 200, 1500] }),
            },
            writes: Writes::of(rng, calm),
            pods: Pods::of(rng, calm),
            load: Load::of(rng),
            trouble: if calm {
                Trouble::NONE
            } else {
                Trouble::of(rng)
            },
            storm: pick_ms(rng, &[15_000, 30_000, 60_000, 120_000]),
            grace: Rules::default().order_grace,
            stream_idle: None,
            calm,
        }
    }

    /// Name of the target of that number.
    pub(crate) fn name(&self, number: usize) -> Name {
        const LETTERS: [&str; 4] = ["a", "b", "c", "d"];
        LETTERS[number].into()
    }

    /// Every fourth plan that is not calm has slow starters, and every fifth dead nodes; in every second the grace of
    /// an order is over before its operator takes it back, or responses stop counting in time. Drawn apart, so that a seed stays the plan it was.
    pub(crate) fn slow_down(&mut self, seed: u64) {
        let mut rng = Rng::with_seed(!seed);
        if !self.calm && rng.u8(..4) == 0 {
            self.pods.slow = 0.4;
        }
        if rng.bool() {
            self.grace = Duration::from_secs(1);
        }
        self.stream_idle = rng.bool().then(|| pick_ms(&mut rng, &[500, 1500]));
        if !self.calm && rng.u8(..5) == 0 {
            self.trouble.dead_node = Some(Duration::from_secs(12));
        }
    }

    /// The target of that name.
    pub(crate) fn target(&self, name: &Name) -> Option<&Target> {
        (0..self.targets.len())
            .find(|number| self.name(*number) == *name)
            .map(|number| &self.targets[number])
    }

    /// Longest wait of a request that asks for no other.
    pub(crate) fn longest_wait(&self, name: &Name) -> Duration {
        self.target(name).map_or_else(
            || CoreLimits::default().max_wait,
            |target| target.limits.max_wait.min(target.policy.wake_deadline),
        )
    }

    /// The time in which a sandbox of this plan is up, once nothing goes wrong any more.
    pub(crate) fn slowest_start(&self) -> Duration {
        let pods = self.pods;
        pods.grace
            + pods.create * 4
            + pods.address
            + pods.start
            + pods.ready
            + Duration::from_secs(4)
    }
}

impl Target {
    fn of(rng: &mut Rng, pools: bool) -> Self {
        let claim = pools && rng.u8(..3) > 0;
        let strategy = match rng.u8(..4) {
            0 | 1 => Strategy::Bind,
            _ => Strategy::Restore,
        };
        let (volumes, awake) = (rng.bool(), rng.bool());
        let managed = rng.u8(..8) > 0;
        let cooldown = pick_ms(rng, &[0, 0, 500, 1000, 3000]);
        let initial_cooldown = pick_ms(rng, &[0, 0, 2000]);
        let minimum_uptime = pick_ms(rng, &[0, 0, 500, 2000]);
        let wake_deadline = pick_ms(rng, &[2000, 4000, 8000]);
        Self {
            claim,
            volumes,
            awake,
            managed,
            policy: Policy {
                cooldown,
                initial_cooldown,
                minimum_uptime,
                wake_deadline,
                progress_deadline: wake_deadline * 2,
                strategy,
                busy_failure_limit: 3,
                busy_period: (rng.u8(..4) == 0).then(|| pick_ms(rng, &[300, 1000])),
                http: true,
                paused: false,
            },
            limits: Limits {
                max_requests: [2, 5, 1000][rng.usize(..3)],
                max_wait: pick_ms(rng, &[1000, 3000, 10_000]),
                release_concurrency: [0, 0, 1, 3][rng.usize(..4)],
            },
        }
    }
}

impl Carrier {
    fn of(rng: &mut Rng, calm: bool) -> Self {
        if calm {
            return Self {
                lose: 0.0,
                double: 0.0,
                delay: pick_ms(rng, &[1, 10]),
            };
        }
        Self {
            lose: pick(rng, &[0.0, 0.0, 0.01, 0.1, 0.3]),
            double: pick(rng, &[0.0, 0.0, 0.05, 0.3]),
            delay: pick_ms(rng, &[1, 10, 100, 600]),
        }
    }
}

impl Writes {
    fn of(rng: &mut Rng, calm: bool) -> Self {
        if calm {
            let delay = pick_ms(rng, &[2, 10]);
            return Self {
                delay,
                late: 0.0,
                lose: 0.0,
                lose_result: 0.0,
                unavailable: 0.0,
                hold: 0.0,
            };
        }
        Self {
            delay: pick_ms(rng, &[2, 20, 300]),
            late: pick(rng, &[0.0, 0.0, 0.05, 0.2]),
            lose: pick(rng, &[0.0, 0.0, 0.05, 0.2]),
            lose_result: pick(rng, &[0.0, 0.0, 0.05, 0.2]),
            unavailable: pick(rng, &[0.0, 0.0, 0.05, 0.2]),
            hold: pick(rng, &[0.0, 0.0, 0.05, 0.2]),
        }
    }
}

impl Pods {
    fn of(rng: &mut Rng, calm: bool) -> Self {
        let rare = |rng: &mut Rng| {
            if calm {
                0.0
            } else {
                pick(rng, &[0.0, 0.0, 0.0, 0.1, 0.4])
            }
        };
        Self {
            create: pick_ms(rng, &[5, 50, 300]),
            address: pick_ms(rng, &[5, 50, 500]),
            start: pick_ms(rng, &[5, 100, 1000]),
            ready: pick_ms(rng, &[5, 100, 1000]),
            grace: pick_ms(rng, &[50, 500, 3000]),
            probed: rng.bool(),
            no_image: rare(rng),
            mute: rare(rng),
            crash_loop: rare(rng),
            slow: 0.0,
        }
    }
}

impl Load {
    fn of(rng: &mut Rng) -> Self {
        Self {
            pause: pick_ms(rng, &[300, 1000, 2500, 5000]),
            herd: [1, 3, 12][rng.usize(..3)],
            service: pick_ms(rng, &[5, 100, 800]),
            leave: pick(rng, &[0.0, 0.1, 0.4]),
            upgrade: pick(rng, &[0.0, 0.1]),
            lease: pick(rng, &[0.0, 0.05]),
            stranger: pick(rng, &[0.0, 0.1]),
        }
    }
}

/// Intervals of the lease: those of client-go, or shorter ones, so that short runs see many leaders. All
/// leave a sleep's write its time.
fn timing(rng: &mut Rng) -> Timing {
    let (lease, renew_deadline, retry) = [(15, 10, 2), (9, 4, 1), (7, 2, 1)][rng.usize(..3)];
    let seconds = Duration::from_secs;
    Timing {
        lease: seconds(lease),
        renew_deadline: seconds(renew_deadline),
        retry: seconds(retry),
    }
}

/// One of these, in milliseconds.
fn pick_ms(rng: &mut Rng, choices: &[u64]) -> Duration {
    Duration::from_millis(choices[rng.usize(..choices.len())])
}

/// One of these.
fn pick(rng: &mut Rng, choices: &[f64]) -> f64 {
    choices[rng.usize(..choices.len())]
}
