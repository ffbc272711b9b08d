//! How often what goes wrong.

use std::time::Duration;

use fastrand::Rng;

/// Mean time between two troubles of a kind; `None`: never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trouble {
    pub(crate) activator_crash: Option<Duration>,
    pub(crate) scaler_crash: Option<Duration>,
    pub(crate) rollout: Option<Duration>,
    pub(crate) pause: Option<Duration>,
    pub(crate) partition: Option<Duration>,
    pub(crate) offline: Option<Duration>,
    pub(crate) blind: Option<Duration>,
    pub(crate) watch_gap: Option<Duration>,
    pub(crate) pod_crash: Option<Duration>,
    pub(crate) eviction: Option<Duration>,
    pub(crate) operator: Option<Duration>,
    pub(crate) stranger: Option<Duration>,
    pub(crate) dead_node: Option<Duration>,
}

impl Trouble {
    pub(super) const NONE: Self = Self {
        activator_crash: None,
        scaler_crash: None,
        rollout: None,
        pause: None,
        partition: None,
        offline: None,
        blind: None,
        watch_gap: None,
        pod_crash: None,
        eviction: None,
        operator: None,
        stranger: None,
        dead_node: None,
    };

    pub(super) fn of(rng: &mut Rng) -> Self {
        let often = |rng: &mut Rng| match rng.u8(..4) {
            0 => Some(Duration::from_secs(4)),
            1 => Some(Duration::from_secs(12)),
            _ => None,
        };
        // More of it, and nobody ever leads.
        let seldom = |rng: &mut Rng| match rng.u8(..5) {
            0 => Some(Duration::from_secs(8)),
            1 => Some(Duration::from_secs(25)),
            _ => None,
        };
        Self {
            activator_crash: often(rng),
            scaler_crash: seldom(rng),
            rollout: seldom(rng),
            pause: seldom(rng),
            partition: often(rng),
            offline: seldom(rng),
            blind: seldom(rng),
            watch_gap: often(rng),
            pod_crash: often(rng),
            eviction: often(rng),
            operator: often(rng),
            stranger: often(rng).map(|mean| mean / 10),
            dead_node: None,
        }
    }
}
