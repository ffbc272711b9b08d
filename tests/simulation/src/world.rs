//! Both cores, the model around them, and the one loop that moves it all.

mod happen;
mod notes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille_scaler_core::view::Mode;

use self::notes::Need;
use crate::activator::{Activator, REPORT_EVERY};
use crate::api::Api;
use crate::busy::Lease;
use crate::clients::Visit;
use crate::cluster::{Cluster, Fate, PodStep, cold};
use crate::facts::Facts;
use crate::mutant::Mutant;
use crate::objects::{Claim, Name, Uid};
use crate::requests::{End, Requests};
use crate::scaler::Scaler;
use crate::sim::{Event, Node, NodeKind, Sim};
use crate::writes::Pending;

/// Latest that a node tells that a container has started.
const STATUS_WITHIN: Duration = Duration::from_millis(500);
/// Time after the storm until clients come once more: whatever was cut, killed or evicted is back.
const LAST_VISITS: Duration = Duration::from_secs(12);
/// The longest a run may take to come to rest after the storm. The longest pause between two drains,
/// and between two wakes, is part of it.
const REST: Duration = Duration::from_secs(260);

/// Everything there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) api: Api,
    pub(crate) cluster: Cluster,
    pub(crate) activators: Vec<Activator>,
    pub(crate) scalers: Vec<Scaler>,
    pub(crate) requests: Requests,
    pub(crate) writes: Vec<Pending>,
    /// Who has lost the carrier, and who the API server.
    pub(crate) cut: BTreeSet<(NodeKind, usize)>,
    pub(crate) offline: BTreeSet<(NodeKind, usize)>,
    /// Scalers whose watches do not run.
    pub(crate) blind: BTreeSet<usize>,
    /// Who is suspended, and until when.
    pub(crate) paused: BTreeMap<(NodeKind, usize), Instant>,
    /// Busy leases that activators were told of.
    pub(crate) leases: Vec<Lease>,
    /// The target that a Sandbox of this UID stands for, or stood for.
    pub(crate) owners: BTreeMap<Uid, Name>,
    /// Sandboxes (UID) whose last change of mode was a scaler's sleep.
    asleep: BTreeMap<Uid, Instant>,
    /// Pods that are being deleted since, or because, a scaler put their sandbox to sleep, and when it did.
    pub(crate) put_to_sleep: BTreeMap<Uid, Instant>,
    pub(crate) needs: BTreeMap<Name, Need>,
    /// When operators last replaced an object.
    pub(crate) replaced: BTreeMap<Name, Instant>,
    /// The last order that a scaler has told of a target: its nonce, and when it was first told.
    pub(crate) orders: BTreeMap<(usize, Name), (u64, Instant)>,
    /// The last drain of each scaler and target.
    pub(crate) last_drains: BTreeMap<(usize, Name), u64>,
    /// Drains (nonce) whose sleep was written, and orders that were called off: since when nothing needs their
    /// gates.
    pub(crate) settled: BTreeMap<u64, Instant>,
    /// Drains (nonce) whose scaler died: when it did.
    pub(crate) left_alone: BTreeMap<u64, Instant>,
    /// Wakes that were told to users: target, Sandbox and epoch; and how many had been done by then.
    pub(crate) woke: BTreeMap<(Name, Option<Uid>, u64), u32>,
    /// What the step at hand did.
    pub(crate) facts: Facts,
    /// Clients of the time after the storm: how each fared.
    pub(crate) last: Vec<(Name, End)>,
    /// Slots and drains there ever were, for numbers that differ.
    pub(crate) slots: u64,
    pub(crate) drains: u64,
    /// The end of the storm.
    pub(crate) calm: Instant,
    last_visits: bool,
}

impl World {
    /// The world of a seed at its first instant.
    pub(crate) fn new(seed: u64, mutant: Option<Mutant>, depth: usize) -> Self {
        let sim = Sim::new(seed, mutant, depth);
        let now = sim.now();
        let calm = now + sim.plan.storm;
        let mut world = Self {
            api: Api::default(),
            cluster: Cluster::default(),
            activators: (0..sim.plan.activators)
                .map(|index| Activator::new(index, now))
                .collect(),
            scalers: (0..sim.plan.scalers)
                .map(|index| Scaler::new(index, sim.plan.lease, now))
                .collect(),
            requests: Requests::default(),
            writes: Vec::new(),
            cut: BTreeSet::new(),
            offline: BTreeSet::new(),
            blind: BTreeSet::new(),
            paused: BTreeMap::new(),
            leases: Vec::new(),
            owners: BTreeMap::new(),
            asleep: BTreeMap::new(),
            put_to_sleep: BTreeMap::new(),
            needs: BTreeMap::new(),
            replaced: BTreeMap::new(),
            orders: BTreeMap::new(),
            last_drains: BTreeMap::new(),
            settled: BTreeMap::new(),
            left_alone: BTreeMap::new(),
            woke: BTreeMap::new(),
            facts: Facts::default(),
            last: Vec::new(),
            slots: 0,
            drains: 0,
            calm,
            last_visits: false,
            sim,
        };
        world.populate();
        world
    }

    fn populate(&mut self) {
        let now = self.sim.now();
        for number in 0..self.sim.plan.targets.len() {
            let name = self.sim.plan.name(number);
            let target = self.sim.plan.targets[number].clone();
            let uid = self.api.uid(&name);
            if target.managed {
                self.api.put_policy(&name, target.policy);
            }
            if target.claim {
                let claim = Claim {
                    uid,
                    version: 0,
                    created: now,
                    epoch: 0,
                    sandbox: None,
                };
                self.api.put_claim(&name, claim);
            } else {
                let mut sandbox = cold(uid, None, target.volumes, now);
                sandbox.mode = if target.awake {
                    Mode::Running
                } else {
                    Mode::Suspended
                };
                self.api.put_sandbox(&name, sandbox);
            }
            let first = self.sim.up_to(self.sim.plan.load.pause) + Duration::from_secs(1);
            self.sim.after(first, Event::Visit(Visit::Herd(number)));
        }
        self.cluster.fill_pool(&mut self.api, &mut self.sim);
        for index in 0..self.activators.len() {
            self.sim
                .after(Duration::ZERO, Event::Start(NodeKind::Activator, index));
        }
        for index in 0..self.scalers.len() {
            self.sim
                .after(Duration::ZERO, Event::Start(NodeKind::Scaler, index));
        }
        self.sim.queue.at(self.calm, Event::Calm);
        self.plan_trouble();
        self.spread();
    }

    /// Jumps to the next event and lets it happen. False if the run has come to its end.
    pub(crate) fn step(&mut self) -> bool {
        let Some(event) = self.sim.queue.pop(self.calm + REST) else {
            return false;
        };
        self.facts.clear();
        self.sim.coverage.steps += 1;
        self.happen(event);
        self.spread();
        self.note_use();
        !self.is_at_rest()
    }

    fn pod(&mut self, name: &Name, uid: &Uid, step: PodStep) {
        let is_silent = self.cluster.silent.contains(uid);
        self.cluster
            .step(name, uid, step, &mut self.api, &mut self.sim);
        if matches!(step, PodStep::Crash | PodStep::Gone) && !is_silent {
            self.break_connections(uid);
        }
    }

    /// A process begins.
    fn start(&mut self, kind: NodeKind, index: usize) {
        let now = self.sim.now();
        self.sim.trouble();
        self.sim.trace(|| format!("{kind:?} {index} starts"));
        match kind {
            NodeKind::Activator => {
                self.activators[index].start(now);
                let node = self.activators[index].node;
                let first = self.sim.up_to(REPORT_EVERY);
                self.sim.after(first, Event::Report(node));
                let told = self.sim.up_to(STATUS_WITHIN);
                self.sim.after(told, Event::Members);
            }
            NodeKind::Scaler => {
                self.scalers[index].start(self.sim.plan.lease, now);
                self.members();
                self.poll_election(index);
            }
        }
        let node = self.node(kind, index);
        self.list(node);
    }

    /// A node in its present life.
    pub(crate) fn node(&self, kind: NodeKind, index: usize) -> Node {
        match kind {
            NodeKind::Activator => self.activators[index].node,
            NodeKind::Scaler => self.scalers[index].node,
        }
    }

    /// All nodes that are up.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        let activators = self.activators.iter().filter(|activator| activator.is_up);
        let scalers = self.scalers.iter().filter(|scaler| scaler.is_up);
        let activators = activators.map(|activator| activator.node);
        activators
            .chain(scalers.map(|scaler| scaler.node))
            .collect()
    }

    fn calm_down(&mut self) {
        self.sim.trace(|| "the storm is over".into());
        self.sim.calm_down();
        self.end_trouble();
        let broken: Vec<Name> = self
            .cluster
            .agents()
            .filter(|(uid, agent)| agent.fate != Fate::Up || self.cluster.silent.contains(*uid))
            .map(|(_, agent)| Arc::clone(&agent.name))
            .collect();
        for name in broken {
            self.cluster.terminate(&name, &mut self.api, &mut self.sim);
        }
        for number in 0..self.sim.plan.targets.len() {
            self.sim
                .after(LAST_VISITS, Event::Visit(Visit::Last(number)));
        }
    }

    /// Whether all is done that was to be done.
    fn is_at_rest(&mut self) -> bool {
        if !self.sim.is_calm() || self.sim.now() <= self.calm + LAST_VISITS {
            return false;
        }
        self.last_visits |= self.last.len() >= self.sim.plan.targets.len();
        self.last_visits && self.requests.live().next().is_none() && self.awake().next().is_none()
    }
}
