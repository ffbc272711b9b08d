//! Clients: they come in herds, take what time they take, leave early, and ask for what is not there.

use std::sync::Arc;
use std::time::Duration;

use crate::exchange::Leg;
use crate::exchange::stream::Wire;
use crate::objects::Name;
use crate::requests::{RequestId, Wish};
use crate::sim::{Event, NodeKind, Sim};
use crate::world::World;

/// Within that time all of a herd arrive.
const HERD_WITHIN: Duration = Duration::from_millis(30);
/// Longest busy lease that an answer sets.
const LEASE: Duration = Duration::from_secs(3);
/// Longest patience of clients who have little.
const PATIENCE: Duration = Duration::from_secs(2);
/// What nobody knows.
const STRANGER: u64 = 1 << 40;

/// Clients come to a target.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Visit {
    /// To the target of this number, again and again.
    Herd(usize),
    /// One after the storm, who must be served.
    Last(usize),
    /// One request of a herd.
    One(usize),
    /// A client whose stream was ended opens it anew.
    Anew(usize),
}

impl World {
    /// Clients come.
    pub(crate) fn visit(&mut self, visit: Visit) {
        match visit {
            Visit::Herd(target) => {
                if self.sim.is_calm() {
                    return;
                }
                let herd = self.sim.rng.usize(1..=self.sim.plan.load.herd);
                for _ in 0..herd {
                    let within = self.sim.up_to(HERD_WITHIN);
                    self.sim.after(within, Event::Visit(Visit::One(target)));
                }
                let pause = self.sim.up_to(self.sim.plan.load.pause * 2);
                self.sim.after(pause, Event::Visit(Visit::Herd(target)));
            }
            Visit::One(target) => {
                let wish = self.wish(target);
                self.request(wish);
            }
            Visit::Anew(target) => {
                if self.sim.is_calm() {
                    return;
                }
                let wish = Wish {
                    wire: Some(Wire::of(&mut self.sim)),
                    method: "GET",
                    has_body: false,
                    ..self.wish(target)
                };
                self.request(wish);
            }
            Visit::Last(target) => {
                let wish = Wish {
                    target: self.sim.plan.name(target),
                    method: "POST",
                    has_body: true,
                    service: Duration::from_millis(20),
                    wire: None,
                    lease: None,
                    most: None,
                    patience: None,
                    is_last: true,
                };
                self.request(wish);
            }
        }
    }

    fn request(&mut self, wish: Wish) {
        let serving: Vec<usize> = (0..self.activators.len())
            .filter(|index| self.activators[*index].serves)
            .collect();
        if serving.is_empty() {
            return;
        }
        let index = serving[self.sim.rng.usize(..serving.len())];
        self.sim.coverage.requests += 1;
        let life = self.activators[index].node.life;
        let id: RequestId = self.requests.add(wish, (index, life));
        if self.is_paused(NodeKind::Activator, index) {
            // It reaches a process that does not move.
            let event = Event::Exchange(id, 0, Leg::Come);
            return self.sim.after(Duration::ZERO, event);
        }
        self.arrive(id);
    }

    fn wish(&mut self, target: usize) -> Wish {
        let sim = &mut self.sim;
        let load = sim.plan.load;
        let is_stranger = sim.happens(load.stranger);
        sim.coverage.strangers += u64::from(is_stranger);
        let target = if is_stranger {
            stranger(sim)
        } else {
            sim.plan.name(target)
        };
        let method = ["GET", "GET", "POST", "PUT", "DELETE", "PATCH"][sim.rng.usize(..6)];
        let wire = sim.happens(load.upgrade).then(|| Wire::of(sim));
        let lease = sim.happens(load.lease).then(|| {
            if sim.rng.u8(..4) == 0 {
                Duration::ZERO
            } else {
                sim.up_to(LEASE)
            }
        });
        Wish {
            target,
            method: if wire.is_some() { "GET" } else { method },
            has_body: wire.is_none() && sim.rng.bool(),
            service: load.service,
            wire,
            lease,
            most: (sim.rng.u8(..5) == 0).then(|| sim.up_to(PATIENCE)),
            patience: sim.happens(load.leave).then(|| sim.up_to(PATIENCE)),
            is_last: false,
        }
    }
}

/// A name out of very many, or that of a member of the pool.
pub(crate) fn stranger(sim: &mut Sim) -> Name {
    if sim.plan.pool > 0 && sim.rng.bool() {
        return format!("pool-{}", sim.rng.u8(1..4)).into();
    }
    Arc::from(format!("stranger-{}", sim.rng.u64(..STRANGER)))
}
