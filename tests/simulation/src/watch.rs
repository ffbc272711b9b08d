//! Watches: every watcher is told of every change, late, in order within a stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::objects::Change;
use crate::sim::{Event, NodeKind, Sim};
use crate::world::World;

/// Latest a watch of the model may be: lag and stall together. Shorter than an address rests, and than a
/// gate is held beyond the last moment at which a sleep can be written: beyond that no proxy that goes
/// by a watch can know better.
const LONGEST_STALL: Duration = Duration::from_secs(2);
/// Lag once all is well.
const CALM: Duration = Duration::from_millis(10);

/// When each stream of one watcher has told what it has to tell so far.
#[derive(Debug)]
pub(crate) struct Streams {
    told: [Instant; Change::STREAMS],
    /// Nothing is told before.
    stalled: Instant,
}

impl Streams {
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            told: [now; Change::STREAMS],
            stalled: now,
        }
    }

    /// Nothing is told for a while.
    pub(crate) fn stall(&mut self, sim: &mut Sim) {
        self.stalled = sim.now() + sim.up_to(LONGEST_STALL);
    }

    /// When a change of this stream is told that happens now.
    fn due(&mut self, stream: usize, sim: &mut Sim) -> Instant {
        let most = if sim.is_calm() {
            CALM.min(sim.plan.watch.lag)
        } else {
            sim.plan.watch.lag
        };
        let at = sim.now() + sim.up_to(most);
        let at = at.max(self.told[stream]).max(self.stalled);
        self.told[stream] = at;
        at
    }
}

impl World {
    /// Tells all watchers, and the controller, of what has changed.
    pub(crate) fn spread(&mut self) {
        while let Some(change) = self.api.next_change() {
            self.note_owner(&change);
            self.tell_controller(&change);
            for index in 0..self.activators.len() {
                if self.activators[index].is_up {
                    self.tell(NodeKind::Activator, index, change.clone());
                }
            }
            for index in 0..self.scalers.len() {
                if self.scalers[index].is_up {
                    self.tell(NodeKind::Scaler, index, change.clone());
                }
            }
        }
    }

    fn tell(&mut self, kind: NodeKind, index: usize, change: Change) {
        let (node, streams) = match kind {
            NodeKind::Activator => {
                let activator = &mut self.activators[index];
                (activator.node, &mut activator.streams)
            }
            NodeKind::Scaler => {
                let scaler = &mut self.scalers[index];
                (scaler.node, &mut scaler.streams)
            }
        };
        let at = streams.due(change.stream(), &mut self.sim);
        self.sim.queue.at(at, Event::Watched(node, change));
    }

    /// A node starts to watch: it is told all there is, and then that this was all.
    pub(crate) fn list(&mut self, kind: NodeKind, index: usize) {
        let objects = self.api.objects().clone();
        let claims = objects
            .claims
            .into_iter()
            .map(|(name, claim)| Change::Claim(name, Some(claim)));
        let sandboxes = objects
            .sandboxes
            .into_iter()
            .map(|(name, sandbox)| Change::Sandbox(name, Some(sandbox)));
        let pods = objects
            .pods
            .into_iter()
            .map(|(name, pod)| Change::Pod(name, Some(pod)));
        let policies = objects
            .policies
            .into_iter()
            .map(|(name, policy)| Change::Policy(name, policy));
        let all: Vec<Change> = claims
            .chain(policies)
            .chain(sandboxes)
            .chain(pods)
            .collect();
        for change in all {
            self.tell(kind, index, change);
        }
        let (node, streams) = match kind {
            NodeKind::Activator => (self.activators[index].node, &self.activators[index].streams),
            NodeKind::Scaler => (self.scalers[index].node, &self.scalers[index].streams),
        };
        let last = streams
            .told
            .iter()
            .copied()
            .max()
            .unwrap_or(streams.stalled);
        self.sim.queue.at(last, Event::Synced(node));
    }

    /// The controller looks at what changed, and at the claim it belongs to.
    fn tell_controller(&mut self, change: &Change) {
        let name = match change {
            Change::Sandbox(name, _) | Change::Claim(name, _) | Change::Pod(name, _) => {
                Arc::clone(name)
            }
            Change::Policy(..) => return,
        };
        let delay = self.sim.up_to(self.sim.plan.pods.create);
        let claims = self.api.objects().claims.iter();
        let of_it = claims.filter(|(_, claim)| claim.sandbox.as_ref() == Some(&name));
        for (claim, _) in of_it {
            self.sim.after(delay, Event::Reconcile(Arc::clone(claim)));
        }
        self.sim.after(delay, Event::Reconcile(name));
    }
}
