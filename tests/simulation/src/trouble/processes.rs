//! Processes that die, are replaced, or are suspended for a while.

use std::sync::Arc;
use std::time::Duration;

use reveille_scaler_core::sandbox::Rules;

use super::Kind;
use crate::requests::RequestId;
use crate::sim::{Event, Node, NodeKind};
use crate::world::World;

/// Longest time until a process that died is started again.
const RESTART: Duration = Duration::from_secs(3);
/// Longest time that a process is suspended.
const PAUSE: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(25));
/// A scaler that is told to end has so long beyond its last write.
const END_WITHIN: Duration = Duration::from_secs(3);
/// Latest that a node tells that a container has started or ended.
const STATUS_WITHIN: Duration = Duration::from_millis(500);

impl World {
    pub(super) fn crash_activator(&mut self) {
        let index = self.sim.rng.usize(..self.activators.len());
        if !self.activators[index].is_up {
            return;
        }
        self.sim.coverage.activator_crashes += 1;
        self.sim.trace(|| format!("activator-{index} is killed"));
        let lost: Vec<RequestId> = self
            .requests
            .live()
            .filter(|(_, request)| request.activator == index)
            .map(|(id, _)| id)
            .collect();
        for id in lost {
            self.requests.end(id);
        }
        // The container starts again in its pod, or another pod takes its place.
        let is_replaced = self.sim.rng.bool();
        let activator = &mut self.activators[index];
        activator.pod += u32::from(is_replaced);
        (activator.is_up, activator.serves) = (false, false);
        activator.slots.clear();
        self.restart(NodeKind::Activator, index);
        let told = self.sim.up_to(STATUS_WITHIN);
        self.sim.after(told, Event::Members);
    }

    pub(super) fn crash_scaler(&mut self) {
        let index = self.sim.rng.usize(..self.scalers.len());
        self.kill_scaler(index);
    }

    fn kill_scaler(&mut self, index: usize) {
        if !self.scalers[index].is_up {
            return;
        }
        self.sim.coverage.scaler_crashes += 1;
        self.sim.trace(|| format!("scaler-{index} is killed"));
        let scaler = &mut self.scalers[index];
        scaler.is_up = false;
        scaler.machines.clear();
        // It tells nothing any more: what its orders closed opens by itself.
        let now = self.sim.now();
        let theirs = self.orders.iter().filter(|((by, _), _)| *by == index);
        for (_, (nonce, _)) in theirs {
            self.left_alone.insert(*nonce, now);
        }
        self.restart(NodeKind::Scaler, index);
    }

    fn restart(&mut self, kind: NodeKind, index: usize) {
        self.paused.remove(&(kind, index));
        let pause = self.sim.up_to(RESTART);
        self.sim.after(pause, Event::Start(kind, index));
    }

    /// A scaler is told to end: it stops leading, lets its writes end, gives its lease up, and goes.
    pub(super) fn replace_scaler(&mut self) {
        let now = self.sim.now();
        let chosen = self.sim.rng.usize(..self.scalers.len());
        let index = self.leader().unwrap_or(chosen);
        if !self.scalers[index].is_up || self.is_paused(NodeKind::Scaler, index) {
            return;
        }
        self.sim.coverage.rollouts += 1;
        self.sim.trace(|| format!("scaler-{index} is told to end"));
        let writes_end = Rules::default().write_timeout;
        let node = self.scalers[index].node;
        self.scalers[index].election.resign(now + writes_end);
        self.poll_election(index);
        let gone = writes_end + self.sim.up_to(END_WITHIN);
        self.sim.after(gone, Event::Trouble(Kind::Gone(node)));
    }

    pub(super) fn gone(&mut self, node: Node) {
        if self.scalers[node.index].node == node {
            self.kill_scaler(node.index);
        }
    }

    /// A process is suspended: nothing happens in it until then, and then everything at once. Its clock
    /// goes on.
    pub(crate) fn suspend(&mut self, node: Node) {
        let key = (node.kind, node.index);
        let is_up = match node.kind {
            NodeKind::Activator => self.activators[node.index].is_up,
            NodeKind::Scaler => self.scalers[node.index].is_up,
        };
        if !is_up || self.is_paused(node.kind, node.index) {
            return;
        }
        let most = match node.kind {
            NodeKind::Activator => PAUSE.0,
            NodeKind::Scaler => PAUSE.1,
        };
        let until = (self.sim.now() + self.sim.up_to(most)).min(self.calm);
        self.sim.coverage.pauses += 1;
        self.sim.trouble_for(until - self.sim.now());
        let label = node.label();
        let length = until - self.sim.now();
        self.sim
            .trace(|| format!("{label} is suspended for {length:?}"));
        self.paused.insert(key, until);
        if node.kind == NodeKind::Scaler {
            self.stick_writes(node, until);
        }
    }

    /// Whether a process is suspended, or has gone on at this very instant.
    pub(crate) fn is_paused(&self, kind: NodeKind, index: usize) -> bool {
        let until = self.paused.get(&(kind, index));
        until.is_some_and(|until| self.sim.now() <= *until)
    }

    /// Every scaler in reach of the API sees, after a while, which activators have a running container.
    pub(crate) fn members(&mut self) {
        let running: Vec<Arc<str>> = self
            .activators
            .iter()
            .filter(|activator| activator.is_up)
            .map(|activator| Arc::clone(&activator.name))
            .collect();
        for index in 0..self.scalers.len() {
            if self.scalers[index].is_up && !self.is_unwatched(NodeKind::Scaler, index) {
                let lag = self.sim.up_to(self.sim.plan.watch.lag);
                let at = (self.sim.now() + lag).max(self.scalers[index].members_due);
                let scaler = &mut self.scalers[index];
                scaler.members_due = at;
                let event = Event::MembersSeen(scaler.node, running.clone());
                self.sim.queue.at(at, event);
            }
        }
    }
}
