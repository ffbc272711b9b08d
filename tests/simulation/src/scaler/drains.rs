//! Drains on their way to the activators, and what is remembered of them.

use std::sync::Arc;

use reveille_activator_core::gate::Drain;

use crate::message::ToActivator;
use crate::mutant::Mutant;
use crate::objects::Name;
use crate::world::World;

impl World {
    /// A scaler asks all activators to stop sending.
    pub(super) fn drain(&mut self, index: usize, target: Name, mut drain: Drain) {
        match self.sim.mutant {
            Some(Mutant::GateByEpochAlone) => drain.uid = None,
            Some(Mutant::OrderHeldLong) if drain.order => drain.hold *= 4,
            _ => {}
        }
        let key = (index, Arc::clone(&target));
        self.sim.coverage.drains += 1;
        if drain.order {
            let first = (drain.nonce, self.sim.now());
            let told = self.orders.entry(key.clone()).or_insert(first);
            if told.0 != drain.nonce {
                *told = first;
            }
        }
        self.last_drains.insert(key, drain.nonce);
        self.send_to_activators(index, &ToActivator::Drain { target, drain });
    }

    /// The sleep is off; where it was ordered, this is told again and again.
    pub(super) fn undrain(&mut self, index: usize, target: Name, nonce: u64) {
        let now = self.sim.now();
        let is_again = self.settled.contains_key(&nonce);
        if is_again {
            self.sim.coverage.undrains_repeated += 1;
            if self.sim.mutant == Some(Mutant::UndrainOnce) {
                return;
            }
        } else {
            self.sim.coverage.drains_called_off += 1;
        }
        let order = self.orders.get(&(index, Arc::clone(&target)));
        if order.is_some_and(|(order, _)| *order == nonce) {
            self.settled.entry(nonce).or_insert(now);
        }
        self.send_to_activators(index, &ToActivator::Undrain { target, nonce });
    }

    /// Its last drain has ended in a sleep.
    pub(super) fn note_slept(&mut self, index: usize, target: &Name) {
        if let Some(nonce) = self.last_drains.get(&(index, Arc::clone(target))) {
            self.settled.insert(*nonce, self.sim.now());
        }
    }
}
