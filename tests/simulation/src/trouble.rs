//! What goes wrong, and what operators do.

mod cuts;
mod operators;
mod processes;

pub(crate) use self::cuts::NOTICED;

use crate::sim::{Event, Node, NodeKind};
use crate::world::World;

/// Kinds of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ActivatorCrash,
    ScalerCrash,
    /// The leader is told to end, as when a new version is rolled out.
    Rollout,
    Pause,
    Partition,
    Offline,
    Blind,
    WatchGap,
    PodCrash,
    Eviction,
    Operator,
    Stranger,
    DeadNode,
    Mended(NodeKind, usize),
    Online(NodeKind, usize),
    /// The watches of a scaler run again.
    Sees(usize),
    /// A scaler that was told to end is gone.
    Gone(Node),
    /// What an operator did to that target is undone.
    Undone(usize),
}

impl World {
    /// Trouble of every kind that the plan knows is on its way.
    pub(crate) fn plan_trouble(&mut self) {
        let kinds = [
            Kind::ActivatorCrash,
            Kind::ScalerCrash,
            Kind::Rollout,
            Kind::Pause,
            Kind::Partition,
            Kind::Offline,
            Kind::Blind,
            Kind::WatchGap,
            Kind::PodCrash,
            Kind::Eviction,
            Kind::Operator,
            Kind::Stranger,
            Kind::DeadNode,
        ];
        for kind in kinds {
            self.next_trouble(kind);
        }
    }

    fn next_trouble(&mut self, kind: Kind) {
        let trouble = self.sim.plan.trouble;
        let mean = match kind {
            Kind::ActivatorCrash => trouble.activator_crash,
            Kind::ScalerCrash => trouble.scaler_crash,
            Kind::Rollout => trouble.rollout,
            Kind::Pause => trouble.pause,
            Kind::Partition => trouble.partition,
            Kind::Offline => trouble.offline,
            Kind::Blind => trouble.blind,
            Kind::WatchGap => trouble.watch_gap,
            Kind::PodCrash => trouble.pod_crash,
            Kind::Eviction => trouble.eviction,
            Kind::Operator => trouble.operator,
            Kind::Stranger => trouble.stranger,
            Kind::DeadNode => trouble.dead_node,
            Kind::Mended(..)
            | Kind::Online(..)
            | Kind::Sees(_)
            | Kind::Gone(_)
            | Kind::Undone(_) => None,
        };
        if let Some(mean) = mean {
            let after = self.sim.up_to(mean * 2);
            self.sim.after(after, Event::Trouble(kind));
        }
    }

    /// Trouble is due.
    pub(crate) fn make_trouble(&mut self, kind: Kind) {
        match kind {
            Kind::Mended(kind, index) => return self.mend(kind, index),
            Kind::Online(kind, index) => return self.go_online(kind, index),
            Kind::Sees(index) => return self.see_again(index),
            Kind::Gone(node) => return self.gone(node),
            Kind::Undone(target) => return self.undo(target),
            _ if self.sim.is_calm() => return,
            _ => {}
        }
        self.sim.trouble();
        match kind {
            Kind::ActivatorCrash => self.crash_activator(),
            Kind::ScalerCrash => self.crash_scaler(),
            Kind::Rollout => self.replace_scaler(),
            Kind::Pause => {
                let node = self.any_node();
                self.suspend(node);
            }
            Kind::Partition => self.cut(),
            Kind::Offline => self.go_offline(),
            Kind::Blind => self.go_blind(),
            Kind::WatchGap => self.gap(),
            Kind::PodCrash => self.crash_pod(),
            Kind::Eviction => self.evict(),
            Kind::Operator => self.operate(),
            Kind::Stranger => self.forge(),
            Kind::DeadNode => self.lose_node(),
            Kind::Mended(..)
            | Kind::Online(..)
            | Kind::Sees(_)
            | Kind::Gone(_)
            | Kind::Undone(_) => {}
        }
        self.next_trouble(kind);
    }

    /// Everything that was done by operators is undone, and every cut is mended.
    pub(crate) fn end_trouble(&mut self) {
        for number in 0..self.sim.plan.targets.len() {
            self.undo(number);
        }
        self.mend_all();
    }
}
