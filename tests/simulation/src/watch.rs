//! Watches: every watcher is told of every change, late, in order within a stream; or, when its stream broke,
//! only of what there is when it lists anew: states in between are lost, and what vanished meanwhile is told
//! of as gone at the end of the list.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::mutant::Mutant;
use crate::objects::{Cache, Change};
use crate::sim::{Event, Node, NodeKind, Sim};
use crate::world::World;

/// Latest a watch of the model may be without knowing it: lag and gap together. Shorter than an address
/// rests, and than a gate is held beyond the last moment at which a sleep can be written: beyond that no
/// proxy that goes by a watch can know better.
pub(crate) const LONGEST_STALL: Duration = Duration::from_secs(2);
/// Two watches are told of the same by so much apart at most, unless one is broken or far behind.
pub(crate) const APART: Duration = Duration::from_secs(1);
/// Lag once all is well.
const CALM: Duration = Duration::from_millis(10);

/// When each stream of one watcher has told what it has to tell so far.
#[derive(Debug)]
pub(crate) struct Streams {
    told: [Instant; Change::STREAMS],
    /// How often each stream broke: what was on its way then is lost.
    broke: [u32; Change::STREAMS],
    /// Whether changes are told; where they are not, a list comes first.
    connected: [bool; Change::STREAMS],
    /// Since when a stream tells nothing, until it has listed anew.
    silent: [Option<Instant>; Change::STREAMS],
    /// When each stream last listed.
    mended: [Instant; Change::STREAMS],
    /// When all first lists will have been told.
    synced: Option<Instant>,
}

/// What a stream tells.
#[derive(Clone, Debug)]
pub(crate) enum News {
    One(Change),
    /// All there is of this stream's kind.
    All(usize, Arc<Cache>),
}

impl News {
    const fn stream(&self) -> usize {
        match self {
            Self::One(change) => change.stream(),
            Self::All(stream, _) => *stream,
        }
    }
}

impl Streams {
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            told: [now; Change::STREAMS],
            broke: [0; Change::STREAMS],
            connected: [false; Change::STREAMS],
            silent: [None; Change::STREAMS],
            mended: [now; Change::STREAMS],
            synced: None,
        }
    }

    /// Whether all first lists have been told.
    pub(crate) fn is_synced(&self, now: Instant) -> bool {
        self.synced.is_some_and(|at| now >= at)
    }

    /// Whether something that happened after `since` may be unknown because this stream was broken then.
    pub(crate) fn has_gap_since(&self, stream: usize, since: Instant) -> bool {
        self.silent[stream].is_some() || self.mended[stream] > since
    }

    /// Since when some stream tells nothing.
    pub(crate) fn silent_since(&self) -> Option<Instant> {
        self.silent.iter().flatten().min().copied()
    }

    fn break_off(&mut self, stream: usize, now: Instant) {
        self.broke[stream] += 1;
        self.connected[stream] = false;
        self.silent[stream].get_or_insert(now);
    }

    /// When something of this stream is told that happens now.
    fn due(&mut self, stream: usize, sim: &mut Sim) -> Instant {
        let most = if sim.is_calm() {
            CALM.min(sim.plan.watch.lag)
        } else {
            sim.plan.watch.lag
        };
        let at = sim.now() + sim.up_to(most);
        let at = at.max(self.told[stream]);
        self.told[stream] = at;
        at
    }
}

impl World {
    fn streams(&mut self, node: Node) -> &mut Streams {
        match node.kind {
            NodeKind::Activator => &mut self.activators[node.index].streams,
            NodeKind::Scaler => &mut self.scalers[node.index].streams,
        }
    }

    /// Tells all watchers, and the controller, of what has changed.
    pub(crate) fn spread(&mut self) {
        while let Some(change) = self.api.next_change() {
            self.note_owner(&change);
            self.tell_controller(&change);
            for node in self.nodes() {
                self.tell(node, News::One(change.clone()));
            }
        }
    }

    fn tell(&mut self, node: Node, news: News) {
        let stream = news.stream();
        let streams = match node.kind {
            NodeKind::Activator => &mut self.activators[node.index].streams,
            NodeKind::Scaler => &mut self.scalers[node.index].streams,
        };
        if !streams.connected[stream] {
            return;
        }
        let at = streams.due(stream, &mut self.sim);
        let broke = streams.broke[stream];
        self.sim.queue.at(at, Event::Watched(node, broke, news));
    }

    /// A node hears of its watch.
    pub(crate) fn watched(&mut self, node: Node, broke: u32, news: News) {
        let now = self.sim.now();
        let streams = self.streams(node);
        if streams.broke[news.stream()] != broke {
            return;
        }
        match news {
            News::One(change) => self.changed(node, change),
            News::All(stream, there) => {
                streams.silent[stream] = None;
                streams.mended[stream] = now;
                let there = there.of(stream);
                let vanished = self.cache(node).of(stream).into_iter();
                let vanished =
                    vanished.filter(|known| !there.iter().any(|it| it.name() == known.name()));
                let mut vanished: Vec<Change> = vanished.map(Change::gone).collect();
                if self.sim.mutant == Some(Mutant::DeletesLost) {
                    vanished.clear();
                }
                self.sim.coverage.vanished_in_gaps += vanished.len() as u64;
                for change in there.into_iter().chain(vanished) {
                    self.changed(node, change);
                }
                match node.kind {
                    NodeKind::Activator => self.look(node.index),
                    NodeKind::Scaler => self.look_at_watches(node.index),
                }
            }
        }
    }

    fn cache(&self, node: Node) -> &Cache {
        match node.kind {
            NodeKind::Activator => &self.activators[node.index].cache,
            NodeKind::Scaler => &self.scalers[node.index].cache,
        }
    }

    fn changed(&mut self, node: Node, change: Change) {
        match node.kind {
            NodeKind::Activator => self.activator_watched(node.index, change),
            NodeKind::Scaler => self.scaler_watched(node.index, change),
        }
    }

    /// One watch of a node breaks, without anybody knowing, and lists anew after a while.
    pub(crate) fn break_watch(&mut self, node: Node) {
        let now = self.sim.now();
        if !self.streams(node).is_synced(now) {
            return;
        }
        let stream = self.sim.rng.usize(..Change::STREAMS);
        self.sim.coverage.watch_gaps += 1;
        self.sim
            .trace(|| format!("watch {stream} of {} breaks", node.label()));
        self.streams(node).break_off(stream, now);
        let gap = LONGEST_STALL.saturating_sub(self.sim.plan.watch.lag);
        let gap = self.sim.up_to(gap);
        self.sim.after(gap, Event::Relist(node, stream));
    }

    /// All watches of a node end: the API server is out of its reach.
    pub(crate) fn break_all(&mut self, node: Node) {
        let now = self.sim.now();
        if node.kind == NodeKind::Scaler {
            self.scalers[node.index].knows_members = false;
        }
        let streams = self.streams(node);
        streams.synced.take_if(|at| now < *at);
        for stream in 0..Change::STREAMS {
            streams.break_off(stream, now);
        }
    }

    /// A broken watch lists anew, if it can.
    pub(crate) fn relist(&mut self, node: Node, stream: usize) {
        if self.streams(node).connected[stream] || self.is_unwatched(node.kind, node.index) {
            return;
        }
        self.sim
            .trace(|| format!("watch {stream} of {} lists anew", node.label()));
        self.streams(node).connected[stream] = true;
        let all = Arc::new(self.api.objects().clone());
        self.tell(node, News::All(stream, all));
    }

    /// The API server is in reach again: all watches list anew.
    pub(crate) fn relist_all(&mut self, node: Node) {
        if self.streams(node).synced.is_none() {
            return self.list(node);
        }
        for stream in 0..Change::STREAMS {
            let pause = self.sim.up_to(LONGEST_STALL / 4);
            self.sim.after(pause, Event::Relist(node, stream));
        }
    }

    /// A node starts to watch: it is told all there is, and then that this was all.
    pub(crate) fn list(&mut self, node: Node) {
        let now = self.sim.now();
        if self.is_unwatched(node.kind, node.index) {
            return self.break_all(node);
        }
        (0..Change::STREAMS).for_each(|stream| self.relist(node, stream));
        let streams = self.streams(node);
        let last = streams.told.into_iter().max().unwrap_or(now);
        streams.synced = Some(last);
        self.sim.queue.at(last, Event::Synced(node));
    }

    /// Until when a claim that vanishes now is held to be there: one that is released or bound is gone in one
    /// watch before its memory, or it, is there in the other.
    pub(crate) fn hold(&self) -> Instant {
        let now = self.sim.now();
        if self.sim.mutant == Some(Mutant::ClaimsNotHeld) {
            return now;
        }
        now + APART
    }

    /// The controller looks at what changed, and at the claim it belongs to.
    fn tell_controller(&mut self, change: &Change) {
        let name = match change {
            Change::Sandbox(name, _) | Change::Claim(name, _) | Change::Pod(name, _) => {
                Arc::clone(name)
            }
            Change::Released(..) | Change::Policy(..) => return,
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
