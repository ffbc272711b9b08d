//! The carrier between activators and scalers: a verdict on every message.
//!
//! A Wake goes to any one scaler, everything else to all. What is under way to a node that is cut off,
//! or was sent by one, is lost. Cut-off nodes notice after a while; activators then ask for wakes by a
//! scaler's HTTP API.

use std::sync::Arc;
use std::time::Duration;

use reveille_activator_core::entry::Outcome;
use reveille_activator_core::view::{Denial, DenialKind};
use reveille_scaler_core::command::Answer;
use reveille_scaler_core::ledger::Report;

use crate::clients::stranger;

use crate::message::{ToActivator, ToScaler};
use crate::objects::Name;
use crate::sim::{Event, NodeKind, Sim};
use crate::world::World;

/// Longest way once all is well.
const CALM: Duration = Duration::from_millis(5);

/// What becomes of a message: the delays after which it arrives, none if it is lost.
fn verdict(sim: &mut Sim) -> Vec<Duration> {
    let carrier = sim.plan.carrier;
    if sim.goes_wrong(carrier.lose) {
        sim.coverage.messages_lost += 1;
        return Vec::new();
    }
    let most = if sim.is_calm() {
        CALM.min(carrier.delay)
    } else {
        carrier.delay
    };
    let mut delays = vec![sim.up_to(most)];
    if sim.goes_wrong(carrier.double) {
        sim.coverage.messages_doubled += 1;
        delays.push(sim.up_to(most * 3));
    }
    delays
}

impl World {
    /// An activator publishes.
    pub(crate) fn send_to_scalers(&mut self, from: usize, message: &ToScaler) {
        self.sim.trace(|| message.line());
        if self.is_cut(NodeKind::Activator, from) {
            return;
        }
        let heard = |world: &Self, index: &usize| {
            world.scalers[*index].is_up && !world.is_cut(NodeKind::Scaler, *index)
        };
        let mut to: Vec<usize> = (0..self.scalers.len())
            .filter(|index| heard(self, index))
            .collect();
        if matches!(message, ToScaler::Wake { .. }) && to.len() > 1 {
            let chosen = to[self.sim.rng.usize(..to.len())];
            to = vec![chosen];
        }
        for index in to {
            let node = self.scalers[index].node;
            for delay in verdict(&mut self.sim) {
                self.sim
                    .after(delay, Event::ToScaler(node, message.clone()));
            }
        }
    }

    /// A scaler publishes.
    pub(crate) fn send_to_activators(&mut self, from: usize, message: &ToActivator) {
        self.sim
            .trace(|| format!("scaler-{from} → {}", message.line()));
        if self.is_cut(NodeKind::Scaler, from) {
            return;
        }
        for index in 0..self.activators.len() {
            if self.activators[index].is_up && !self.is_cut(NodeKind::Activator, index) {
                let node = self.activators[index].node;
                for delay in verdict(&mut self.sim) {
                    self.sim
                        .after(delay, Event::ToActivator(node, message.clone()));
                }
            }
        }
    }

    /// An activator asks for a wake: by the carrier, or by the API while it knows the carrier to be down.
    pub(crate) fn ask_for_wake(&mut self, from: usize, target: &Name, waiting: usize) {
        self.sim.coverage.wakes_asked += 1;
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        let need = self.needs.entry(Arc::clone(target)).or_default();
        need.asked = Some(self.sim.now());
        if self.activators[from].linked {
            let wake = ToScaler::Wake {
                target: Arc::clone(target),
                from: Arc::clone(&self.activators[from].name),
                waiting,
            };
            return self.send_to_scalers(from, &wake);
        }
        let up: Vec<usize> = (0..self.scalers.len())
            .filter(|index| self.scalers[*index].is_up && !self.is_paused(NodeKind::Scaler, *index))
            .collect();
        if up.is_empty() {
            return;
        }
        let index = up[self.sim.rng.usize(..up.len())];
        self.sim
            .trace(|| format!("activator-{from} → scaler-{index} POST wake {target}"));
        let denied = |kind, reason: &str, retry_after| {
            let (reason, message) = (Arc::from(reason), Arc::from(reason));
            Outcome::Denied(Denial {
                kind,
                reason,
                message,
                retry_after,
            })
        };
        let outcome = match self.command_wake(index, target, waiting) {
            Some(Answer::Refused(refusal)) => denied(DenialKind::Refused, refusal.reason(), None),
            Some(Answer::BackedOff {
                reason,
                retry_after,
                ..
            }) => denied(DenialKind::Failed, &reason, Some(retry_after)),
            Some(_) => Outcome::Waking,
            None => return,
        };
        let now = self.sim.now();
        if let Some(slot) = self.activators[from].slots.get_mut(target) {
            slot.entry.outcome(outcome, now);
        }
    }

    /// A message of nobody: a wake, or a report, for a target, a stranger, or a member of the pool.
    pub(crate) fn forge(&mut self) {
        self.sim.coverage.forged += 1;
        let number = self.sim.rng.usize(..self.sim.plan.targets.len());
        let is_known = self.sim.rng.u8(..4) == 0;
        let target = if is_known {
            self.sim.plan.name(number)
        } else {
            stranger(&mut self.sim)
        };
        let from: Arc<str> = format!("guest-{}", self.sim.rng.u16(..)).into();
        let message = if self.sim.rng.bool() {
            ToScaler::Wake {
                target,
                from,
                waiting: 0,
            }
        } else {
            let report = Report {
                in_flight: u32::from(self.sim.rng.bool()),
                ..Report::default()
            };
            let (incarnation, entries) = (Arc::clone(&from), vec![(target, report)]);
            ToScaler::Activity {
                from,
                incarnation,
                sequence: 1,
                full: true,
                entries,
            }
        };
        self.sim.trace(|| format!("forged: {}", message.line()));
        for index in 0..self.scalers.len() {
            if self.scalers[index].is_up {
                self.sim.after(
                    CALM,
                    Event::ToScaler(self.scalers[index].node, message.clone()),
                );
            }
        }
    }

    /// Whether the carrier of a node is cut.
    pub(crate) fn is_cut(&self, kind: NodeKind, index: usize) -> bool {
        self.cut.contains(&(kind, index))
    }
}
