//! What a scaler sees: changes of objects, and which activators there are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reveille_scaler_core::sandbox::{Rules, Sandbox};
use reveille_scaler_core::view::View;

use super::Machine;
use super::view::view;
use crate::mutant::Mutant;
use crate::objects::{Change, Name};
use crate::sim::{Event, NodeKind};
use crate::world::World;

impl World {
    /// A watch tells a scaler of a change.
    pub(crate) fn scaler_watched(&mut self, index: usize, change: Change) {
        let hold = self.hold();
        let node = self.scalers[index].node;
        let cache = &mut self.scalers[index].cache;
        let name = Arc::clone(change.name());
        let touched = cache.apply(change, hold);
        if cache.held.get(&name) == Some(&hold) {
            self.sim.queue.at(hold, Event::LetGo(node, name, hold));
        }
        for name in touched {
            self.observe_machine(index, &name);
        }
    }

    /// A scaler sees which activators have a running container.
    pub(crate) fn members_seen(&mut self, index: usize, members: &[Arc<str>]) {
        let is_fixed = self.sim.mutant == Some(Mutant::MembersFixed);
        if self.is_unwatched(NodeKind::Scaler, index) {
            return;
        }
        let scaler = &mut self.scalers[index];
        if !is_fixed || !scaler.has_members {
            scaler.roster.set_members(members);
        }
        scaler.has_members |= !members.is_empty();
        scaler.knows_members = true;
        self.look_at_watches(index);
    }

    /// A scaler learns whether all its watches run.
    pub(crate) fn look_at_watches(&mut self, index: usize) {
        let now = self.sim.now();
        let is_mutated = self.sim.mutant == Some(Mutant::BlindLeader);
        let scaler = &mut self.scalers[index];
        let streams = &scaler.streams;
        let runs = streams.is_synced(now) && streams.silent_since().is_none();
        let current = (runs && scaler.knows_members) || is_mutated;
        scaler.roster.set_current(current);
        if std::mem::replace(&mut scaler.sees, current) != current {
            let word = if current { "sees" } else { "is blind" };
            self.sim.trace(|| format!("scaler-{index} {word}"));
        }
    }

    /// Everything that there was when a scaler began to watch is known to it.
    pub(crate) fn scaler_synced(&mut self, index: usize) {
        let cache = &self.scalers[index].cache;
        let sandboxes = cache.sandboxes.keys();
        let names = sandboxes
            .chain(cache.claims.keys())
            .chain(cache.released.keys());
        let names: BTreeSet<Name> = names.cloned().collect();
        for name in names {
            self.observe_machine(index, &name);
        }
        self.look_at_watches(index);
    }

    /// Tells the machine of a target what the watch shows.
    pub(crate) fn observe_machine(&mut self, index: usize, name: &Name) {
        // Half a picture is none: a memory may be told of before the claim that lives beside it.
        if !self.scalers[index].streams.is_synced(self.sim.now()) {
            return;
        }
        self.see_leftover(self.scalers[index].node, name);
        let now = self.sim.now();
        let scaler = &mut self.scalers[index];
        let target = scaler.cache.target(name);
        let is_gone = target.is_none();
        if is_gone && !scaler.machines.contains_key(name) {
            return;
        }
        let nonce = scaler.nonce() + self.drains;
        self.drains += 1 << 16;
        let order_grace = match self.sim.mutant {
            Some(Mutant::GraceSkipped) => Duration::ZERO,
            _ => self.sim.plan.grace,
        };
        let rules = Arc::new(Rules {
            wake_unmanaged: true,
            order_grace,
            ..Rules::default()
        });
        let machine = scaler
            .machines
            .entry(Arc::clone(name))
            .or_insert_with(|| Machine {
                core: Sandbox::new(rules, nonce, now),
                due: None,
            });
        let proven = self.sim.plan.pods.probed;
        let mut view = target.map_or_else(View::default, |target| view(&target, proven, now));
        if self.sim.mutant == Some(Mutant::Impatient)
            && let Some(policy) = &mut view.policy
        {
            policy.progress_deadline = Duration::ZERO;
        }
        if self.sim.mutant == Some(Mutant::HoldStripped)
            && let Some(sandbox) = &mut view.sandbox
        {
            sandbox.hold = None;
        }
        let known = machine.core.view();
        let is_older = known.uid() == view.uid() && view.epoch() < known.epoch();
        if is_older && self.sim.mutant == Some(Mutant::EpochOverObject) {
            return;
        }
        machine.core.observe(view, now);
        self.poll_machine(index, name);
        if is_gone {
            self.scalers[index].machines.remove(name);
        }
    }
}
