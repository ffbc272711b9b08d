//! What is cut: the carrier of one process, its way to the API server, or one of its watches.

use std::time::Duration;

use super::Kind;
use crate::sim::{Event, Node, NodeKind};
use crate::world::World;

/// Longest cut of a carrier.
const CUT: Duration = Duration::from_secs(5);
/// Longest time until a process notices that it is cut off.
pub(crate) const NOTICED: Duration = Duration::from_secs(1);
/// Longest time that the API server is out of reach of one process.
const OFFLINE: Duration = Duration::from_secs(20);

impl World {
    /// One of all activators and scalers.
    pub(super) fn any_node(&mut self) -> Node {
        let count = self.activators.len() + self.scalers.len();
        let chosen = self.sim.rng.usize(..count);
        match chosen.checked_sub(self.activators.len()) {
            None => self.activators[chosen].node,
            Some(index) => self.scalers[index].node,
        }
    }

    /// One process loses its carrier for a while.
    pub(super) fn cut(&mut self) {
        let Node { kind, index, .. } = self.any_node();
        if !self.cut.insert((kind, index)) {
            return;
        }
        self.sim.coverage.partitions += 1;
        self.sim
            .trace(|| format!("{kind:?} {index} loses its carrier"));
        self.notice(kind, index);
        let after = self.sim.up_to(CUT);
        self.sim
            .after(after, Event::Trouble(Kind::Mended(kind, index)));
    }

    pub(super) fn mend(&mut self, kind: NodeKind, index: usize) {
        if self.cut.remove(&(kind, index)) {
            self.sim.trouble();
            self.sim
                .trace(|| format!("{kind:?} {index} has its carrier back"));
            self.notice(kind, index);
        }
    }

    fn notice(&mut self, kind: NodeKind, index: usize) {
        let node = self.node(kind, index);
        let after = self.sim.up_to(NOTICED);
        self.sim.after(after, Event::Linked(node));
    }

    /// One watch of one process breaks.
    pub(super) fn gap(&mut self) {
        let node = self.any_node();
        if !self.is_unwatched(node.kind, node.index) {
            self.break_watch(node);
        }
    }

    /// One process loses the API server for a while, and nothing else.
    pub(super) fn go_offline(&mut self) {
        let node = self.any_node();
        let (kind, index) = (node.kind, node.index);
        if kind == NodeKind::Scaler && self.sim.rng.bool() {
            return self.lose_lease(self.leader().unwrap_or(index));
        }
        if !self.offline.insert((kind, index)) {
            return;
        }
        self.sim.coverage.offline += 1;
        let label = node.label();
        self.sim.trace(|| format!("{label} loses the API server"));
        self.break_all(node);
        let noticed = self.sim.up_to(NOTICED);
        self.sim.after(noticed, Event::Look(node));
        let after = self.sim.up_to(OFFLINE);
        self.sim.trouble_for(after);
        self.sim
            .after(after, Event::Trouble(Kind::Online(kind, index)));
    }

    /// All watches of a scaler end for a while, and nothing else: it is turned away when it lists, or watches
    /// another server than it writes to.
    pub(super) fn go_blind(&mut self) {
        let index = self.sim.rng.usize(..self.scalers.len());
        let node = self.scalers[index].node;
        if self.is_offline(node.kind, index) || !self.blind.insert(index) {
            return;
        }
        self.sim.coverage.blinded += 1;
        self.sim.trace(|| format!("scaler-{index} cannot watch"));
        self.break_all(node);
        let noticed = self.sim.up_to(NOTICED);
        self.sim.after(noticed, Event::Look(node));
        let after = self.sim.up_to(OFFLINE);
        self.sim.trouble_for(after);
        self.sim.after(after, Event::Trouble(Kind::Sees(index)));
    }

    pub(super) fn see_again(&mut self, index: usize) {
        if !self.blind.remove(&index) {
            return;
        }
        self.sim.trouble();
        self.sim.trace(|| format!("scaler-{index} can watch again"));
        self.relist_all(self.scalers[index].node);
        self.members();
    }

    /// The API server is so slow for a scaler that it cannot renew its lease in time, and writes come late.
    fn lose_lease(&mut self, index: usize) {
        let lasts = self.sim.up_to(OFFLINE * 2);
        self.sim.coverage.leases_cut += 1;
        self.sim
            .trace(|| format!("scaler-{index} cannot reach its lease for {lasts:?}"));
        let until = (self.sim.now() + lasts).min(self.calm);
        self.scalers[index].lease_back = until;
        self.sim.trouble_for(lasts);
    }

    pub(super) fn go_online(&mut self, kind: NodeKind, index: usize) {
        if !self.offline.remove(&(kind, index)) {
            return;
        }
        self.sim.trouble();
        let node = self.node(kind, index);
        let label = node.label();
        self.sim
            .trace(|| format!("{label} has the API server back"));
        self.relist_all(node);
        self.members();
    }

    /// Whether the API server is out of reach of a process.
    pub(crate) fn is_offline(&self, kind: NodeKind, index: usize) -> bool {
        self.offline.contains(&(kind, index))
    }

    /// Whether a process cannot watch.
    pub(crate) fn is_unwatched(&self, kind: NodeKind, index: usize) -> bool {
        self.is_offline(kind, index) || (kind == NodeKind::Scaler && self.blind.contains(&index))
    }

    /// Everything that is cut is mended.
    pub(super) fn mend_all(&mut self) {
        for (kind, index) in self.cut.clone() {
            self.mend(kind, index);
        }
        for (kind, index) in self.offline.clone() {
            self.go_online(kind, index);
        }
        for index in self.blind.clone() {
            self.see_again(index);
        }
    }
}
