//! What an event does, and to whom; and what has to wait because its process is suspended.

use std::time::{Duration, Instant};

use super::World;
use crate::exchange::Leg;
use crate::mutant::Mutant;
use crate::sim::{Event, Node, NodeKind};

/// Activators of the first hour serve at once.
const FIRST_SERVES_AFTER: Duration = Duration::from_millis(200);
/// Time from an activator's sync to its first client. It is longer than a sleep that was decided without it
/// can still be on its way: until its pod is seen to run, and a write's time after that.
const SETTLE: Duration = Duration::from_secs(5);

impl Event {
    /// The process in which it happens, if it happens in one.
    const fn node(&self) -> Option<Node> {
        match self {
            Self::Watched(node, ..)
            | Self::Relist(node, _)
            | Self::LetGo(node, ..)
            | Self::Synced(node)
            | Self::Serves(node)
            | Self::MembersSeen(node, _)
            | Self::ToScaler(node, _)
            | Self::ToActivator(node, _)
            | Self::Report(node)
            | Self::PollSlot(node, ..)
            | Self::Probe(node, ..)
            | Self::PodOver(node, _)
            | Self::PollMachine(node, ..)
            | Self::BusyAnswer(node, ..)
            | Self::Budget(node)
            | Self::WriteContinues(node, _)
            | Self::WriteHalf(node, _)
            | Self::WriteAnswered(node, _)
            | Self::Collect(node, ..)
            | Self::PollElection(node, _)
            | Self::LeaseAnswered(node, _)
            | Self::Look(node)
            | Self::Linked(node) => Some(*node),
            Self::Reconcile(_)
            | Self::Pod(..)
            | Self::Start(..)
            | Self::Members
            | Self::Exchange(..)
            | Self::WriteArrives(..)
            | Self::LeaseArrives(..)
            | Self::Visit(_)
            | Self::Trouble(_)
            | Self::Calm => None,
        }
    }
}

impl World {
    /// Lets an event happen, or wait for its process to go on.
    pub(super) fn happen(&mut self, event: Event) {
        let node = match &event {
            // What the pod does it does without the activator.
            Event::Exchange(_, _, Leg::Bytes) => None,
            Event::Exchange(id, ..) => {
                let request = self.requests.get(*id);
                let present = self.activators[request.activator].node;
                Some(present).filter(|node| node.life == request.life)
            }
            event => event.node(),
        };
        let Some(node) = node else {
            return self.happen_outside(event);
        };
        if !self.is_present(node) {
            return;
        }
        let paused = self.paused.get(&(node.kind, node.index));
        if let Some(until) = paused.filter(|until| self.sim.now() < **until) {
            return self.sim.queue.at(*until, event);
        }
        match event {
            Event::Exchange(id, turn, leg) => self.exchange(id, turn, leg),
            Event::Watched(_, broke, news) => self.watched(node, broke, news),
            Event::Relist(_, stream) => self.relist(node, stream),
            Event::LetGo(_, name, at) => self.let_go(node, &name, at),
            event => match node.kind {
                NodeKind::Activator => self.at_activator(node, event),
                NodeKind::Scaler => self.at_scaler(node, event),
            },
        }
    }

    fn happen_outside(&mut self, event: Event) {
        match event {
            Event::Reconcile(name) => {
                self.cluster.reconcile(&name, &mut self.api, &mut self.sim);
                self.cluster.fill_pool(&mut self.api, &mut self.sim);
            }
            Event::Pod(name, uid, step) => self.pod(&name, &uid, step),
            Event::Start(kind, index) => self.start(kind, index),
            Event::Members => self.members(),
            Event::Exchange(id, turn, leg) => self.exchange(id, turn, leg),
            Event::WriteArrives(id, stage) => self.write_arrives(id, stage),
            Event::LeaseArrives(node, request) => self.lease_arrives(node, request),
            Event::Visit(visit) => self.visit(visit),
            Event::Trouble(kind) => self.make_trouble(kind),
            Event::Calm => self.calm_down(),
            _ => {}
        }
    }

    fn is_present(&self, node: Node) -> bool {
        let is_up = match node.kind {
            NodeKind::Activator => self.activators[node.index].is_up,
            NodeKind::Scaler => self.scalers[node.index].is_up,
        };
        is_up && self.node(node.kind, node.index) == node
    }

    fn at_activator(&mut self, node: Node, event: Event) {
        let index = node.index;
        match event {
            Event::Serves(_) => self.activators[index].serves = true,
            Event::ToActivator(_, message) if !self.is_cut(NodeKind::Activator, index) => {
                self.activator_hears(index, message);
            }
            Event::Report(_) => {
                let report = self.activators[index].report(self.sim.now());
                self.send_to_scalers(index, &report);
                self.sim.after(super::REPORT_EVERY, Event::Report(node));
            }
            Event::PollSlot(_, name, at) => self.slot_due(index, &name, at),
            Event::Probe(_, name, pod) => self.probed(index, &name, pod),
            Event::PodOver(_, pod) => self.pod_over(index, &pod),
            Event::Look(_) => self.look(index),
            Event::Linked(_) => {
                self.activators[index].linked = !self.is_cut(NodeKind::Activator, index);
                self.activators[index].ask_full();
            }
            Event::Synced(_) if self.activators[index].streams.is_synced(self.sim.now()) => {
                let after = match () {
                    () if self.sim.mutant == Some(Mutant::Unsettled) => Duration::ZERO,
                    () if node.life == 1 => FIRST_SERVES_AFTER,
                    () => SETTLE,
                };
                self.sim.after(after, Event::Serves(node));
            }
            _ => {}
        }
    }

    fn at_scaler(&mut self, node: Node, event: Event) {
        let index = node.index;
        match event {
            Event::ToScaler(_, message) if !self.is_cut(NodeKind::Scaler, index) => {
                self.scaler_hears(index, message);
            }
            Event::Synced(_) if self.scalers[index].streams.is_synced(self.sim.now()) => {
                self.scaler_synced(index);
            }
            Event::MembersSeen(_, members) => self.members_seen(index, &members),
            Event::PollMachine(_, name, at) => self.machine_due(index, &name, at),
            Event::BusyAnswer(_, name, pod, answer) => {
                self.busy_answered(index, &name, &pod, answer);
            }
            Event::Budget(_) => self.spend(index),
            Event::WriteContinues(_, id) => self.write_continues(id),
            Event::WriteHalf(_, id) => self.write_half(id),
            Event::WriteAnswered(_, id) => self.write_answered(id),
            Event::Collect(_, name, memory) => self.collect(node, &name, memory),
            Event::PollElection(_, at) => self.election_due(index, at),
            Event::LeaseAnswered(_, answer) => self.lease_answered(index, answer),
            Event::Look(_) => self.look_at_watches(index),
            Event::Linked(_) => {
                let now = self.sim.now();
                let linked = !self.is_cut(NodeKind::Scaler, index);
                self.scalers[index].roster.set_linked(linked, now);
            }
            _ => {}
        }
    }

    /// What was held of a claim that vanished counts no more.
    fn let_go(&mut self, node: Node, name: &crate::objects::Name, at: Instant) {
        let cache = match node.kind {
            NodeKind::Activator => &mut self.activators[node.index].cache,
            NodeKind::Scaler => &mut self.scalers[node.index].cache,
        };
        if cache.let_go(name, at) {
            match node.kind {
                NodeKind::Activator => self.observe_slot(node.index, name),
                NodeKind::Scaler => self.observe_machine(node.index, name),
            }
        }
    }
}
