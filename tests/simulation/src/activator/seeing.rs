//! What an activator sees: changes of objects, and whether it sees at all.

use std::sync::Arc;

use reveille_activator_core::life::over_at;
use reveille_activator_core::view::Sight;

use super::Slot;
use super::view::{gone, is_routable, view};
use crate::mutant::Mutant;
use crate::objects::{Change, Name};
use crate::sim::Event;
use crate::world::World;

impl World {
    /// A watch tells an activator of a change.
    pub(crate) fn activator_watched(&mut self, index: usize, change: Change) {
        let now = self.sim.now();
        if let Change::Pod(_, Some(pod)) = &change {
            let shown = &mut self.activators[index].shown;
            shown.entry(Arc::clone(&pod.uid)).or_insert(now);
        }
        self.note_leaving(index, &change);
        let hold = self.hold();
        let node = self.activators[index].node;
        let cache = &mut self.activators[index].cache;
        let name = Arc::clone(change.name());
        let touched = cache.apply(change, hold);
        if cache.held.get(&name) == Some(&hold) {
            self.sim.queue.at(hold, Event::LetGo(node, name, hold));
        }
        for name in touched {
            self.observe_slot(index, &name);
        }
    }

    /// Tells the slot of a target what the watch shows.
    pub(crate) fn observe_slot(&mut self, index: usize, name: &Name) {
        let now = self.sim.now();
        let activator = &mut self.activators[index];
        let target = activator.cache.target(name).filter(is_routable);
        let Some(target) = target else {
            return self.retire(index, name);
        };
        if !activator.slots.contains_key(name) {
            let at = activator.retired.iter().position(|(held, _)| held == name);
            self.slots += 1;
            let slot = at.map_or_else(
                || Slot::new(self.slots),
                |at| activator.retired.remove(at).1,
            );
            activator.slots.insert(Arc::clone(name), slot);
        }
        let sight = activator.sight;
        let Some(slot) = activator.slots.get_mut(name) else {
            return;
        };
        let (view, ip) = view(&target, name, &self.sim, now);
        if ip.is_some() || self.sim.mutant != Some(Mutant::AddressRemembered) {
            slot.ip = ip;
        }
        slot.entry.see(sight);
        slot.entry.observe(view, now);
        self.let_streams_go(index, name);
        self.poll_slot(index, name);
    }

    /// A pod is shown deleted, or on its way out: what is open towards it has so long to end.
    fn note_leaving(&mut self, index: usize, change: &Change) {
        let now = self.sim.now();
        let Change::Pod(name, present) = change else {
            return;
        };
        let activator = &mut self.activators[index];
        let Some(before) = activator.cache.pods.get(name) else {
            return;
        };
        let present = present.as_ref().filter(|pod| pod.uid == before.uid);
        if present.is_some_and(|pod| !pod.terminating) || activator.left.contains_key(&before.uid) {
            return;
        }
        let pod = Arc::clone(&before.uid);
        activator.left.insert(Arc::clone(&pod), now);
        let over = over_at(now, self.sim.plan.pods.grace);
        let event = Event::PodOver(activator.node, pod);
        self.sim.queue.at(over, event);
    }

    /// An activator learns whether what its watches say is up to date.
    pub(crate) fn look(&mut self, index: usize) {
        let now = self.sim.now();
        let is_mutated = self.sim.mutant == Some(Mutant::BlindTrusted);
        let activator = &mut self.activators[index];
        let sees = activator.streams.silent_since().is_none() || is_mutated;
        if sees != (activator.sight == Sight::Blind) {
            return;
        }
        let sight = if sees {
            Sight::Since(now)
        } else {
            Sight::Blind
        };
        activator.sight = sight;
        let word = if sees { "sees again" } else { "is blind" };
        self.sim.trace(|| format!("activator-{index} {word}"));
        let names: Vec<Name> = activator.slots.keys().cloned().collect();
        for name in names {
            if let Some(slot) = self.activators[index].slots.get_mut(&name) {
                slot.entry.see(sight);
            }
            self.poll_slot(index, &name);
        }
    }

    /// The target is gone: who waits is told so. A slot that requests still hold goes on as that of a
    /// new target of its name.
    fn retire(&mut self, index: usize, name: &Name) {
        let now = self.sim.now();
        if let Some(slot) = self.activators[index].slots.get_mut(name) {
            slot.entry.observe(gone(), now);
            self.let_streams_go(index, name);
            self.poll_slot(index, name);
        }
        let activator = &mut self.activators[index];
        if let Some(slot) = activator.slots.remove(name) {
            self.facts.dropped.push((index, Arc::clone(name)));
            activator.retired.retain(|(_, slot)| slot.users > 0);
            activator.retired.push((Arc::clone(name), slot));
        }
    }
}
