//! Both cores, the model around them, and the one loop that moves it all.

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
use crate::trouble::SERVES_AFTER;
use crate::writes::Pending;

/// Activators of the first hour serve at once.
const FIRST_SERVES_AFTER: Duration = Duration::from_millis(200);
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
    pub(crate) cut: BTreeSet<(NodeKind, usize)>,
    /// Busy leases that activators were told of.
    pub(crate) leases: Vec<Lease>,
    /// The target that a Sandbox of this UID stands for, or stood for.
    pub(crate) owners: BTreeMap<Uid, Name>,
    /// Sandboxes (UID) whose last change of mode was a scaler's sleep.
    asleep: BTreeMap<Uid, Instant>,
    /// Pods that are being deleted since, or because, a scaler put their sandbox to sleep, and when it did.
    pub(crate) put_to_sleep: BTreeMap<Uid, Instant>,
    pub(crate) needs: BTreeMap<Name, Need>,
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
                .map(|index| Scaler::new(index, now))
                .collect(),
            requests: Requests::default(),
            writes: Vec::new(),
            cut: BTreeSet::new(),
            leases: Vec::new(),
            owners: BTreeMap::new(),
            asleep: BTreeMap::new(),
            put_to_sleep: BTreeMap::new(),
            needs: BTreeMap::new(),
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
                    created: now,
                    epoch: 0,
                    released: false,
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
        self.sim.after(Duration::from_millis(1), Event::Leads(0));
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

    fn happen(&mut self, event: Event) {
        match event {
            Event::Reconcile(name) => {
                self.cluster.reconcile(&name, &mut self.api, &mut self.sim);
                self.cluster.fill_pool(&mut self.api, &mut self.sim);
            }
            Event::Pod(name, uid, step) => self.pod(&name, &uid, step),
            Event::Start(kind, index) => self.start(kind, index),
            Event::Members => self.members(),
            Event::Exchange(id, turn, leg) => self.exchange(id, turn, leg),
            Event::WriteArrives(id) => self.write_arrives(id),
            Event::WriteAnswered(id) => self.write_answered(id),
            Event::Visit(visit) => self.visit(visit),
            Event::Trouble(kind) => self.make_trouble(kind),
            Event::Leads(index) => self.lead(index),
            Event::Calm => self.calm_down(),
            Event::Watched(node, _)
            | Event::Synced(node)
            | Event::Serves(node)
            | Event::ToScaler(node, _)
            | Event::ToActivator(node, _)
            | Event::Report(node)
            | Event::PollSlot(node, ..)
            | Event::Probe(node, ..)
            | Event::PollMachine(node, ..)
            | Event::BusyAnswer(node, ..)
            | Event::Budget(node)
            | Event::Linked(node) => match node.kind {
                NodeKind::Activator if self.activators[node.index].is(node) => {
                    self.at_activator(node, event)
                }
                NodeKind::Scaler if self.scalers[node.index].is(node) => {
                    self.at_scaler(node, event)
                }
                _ => {}
            },
        }
    }

    fn at_activator(&mut self, node: Node, event: Event) {
        let index = node.index;
        match event {
            Event::Watched(_, change) => self.activator_watched(index, change),
            Event::Serves(_) => self.activators[index].serves = true,
            Event::ToActivator(_, message) if !self.is_cut(NodeKind::Activator, index) => {
                self.activator_hears(index, message);
            }
            Event::Report(_) => {
                let report = self.activators[index].report(self.sim.now());
                self.send_to_scalers(index, &report);
                self.sim.after(REPORT_EVERY, Event::Report(node));
            }
            Event::PollSlot(_, name, at) => self.slot_due(index, &name, at),
            Event::Probe(_, name, pod) => self.probed(index, &name, pod),
            Event::Linked(_) => {
                self.activators[index].linked = !self.is_cut(NodeKind::Activator, index);
                self.activators[index].ask_full();
            }
            Event::Synced(_) => {
                let is_first = node.life == 1;
                let after = if is_first {
                    FIRST_SERVES_AFTER
                } else {
                    SERVES_AFTER
                };
                self.sim.after(after, Event::Serves(node));
            }
            _ => {}
        }
    }

    fn at_scaler(&mut self, node: Node, event: Event) {
        let index = node.index;
        match event {
            Event::Watched(_, change) => self.scaler_watched(index, change),
            Event::ToScaler(_, message) if !self.is_cut(NodeKind::Scaler, index) => {
                self.scaler_hears(index, message);
            }
            Event::PollMachine(_, name, at) => self.machine_due(index, &name, at),
            Event::BusyAnswer(_, name, pod, answer) => {
                self.busy_answered(index, &name, &pod, answer)
            }
            Event::Budget(_) => self.spend(index),
            Event::Linked(_) => {
                let now = self.sim.now();
                let linked = !self.is_cut(NodeKind::Scaler, index);
                self.scalers[index].roster.set_linked(linked, now);
            }
            _ => {}
        }
    }

    fn pod(&mut self, name: &Name, uid: &Uid, step: PodStep) {
        self.cluster
            .step(name, uid, step, &mut self.api, &mut self.sim);
        if matches!(step, PodStep::Crash | PodStep::Gone) {
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
                self.sim.after(first / 2, Event::Members);
            }
            NodeKind::Scaler => {
                self.scalers[index].start(now);
                self.members();
            }
        }
        self.list(kind, index);
    }

    /// Every scaler sees which activators have a running container.
    fn members(&mut self) {
        let running: Vec<Arc<str>> = self
            .activators
            .iter()
            .filter(|activator| activator.is_up)
            .map(|activator| Arc::clone(&activator.name))
            .collect();
        for scaler in self.scalers.iter_mut().filter(|scaler| scaler.is_up) {
            scaler.roster.set_members(&running);
        }
    }

    fn calm_down(&mut self) {
        self.sim.trace(|| "the storm is over".into());
        self.sim.calm_down();
        self.end_trouble();
        let broken: Vec<Name> = self
            .cluster
            .agents()
            .filter(|(_, agent)| agent.fate != Fate::Up)
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

impl Activator {
    fn is(&self, node: Node) -> bool {
        self.is_up && self.node == node
    }
}

impl Scaler {
    fn is(&self, node: Node) -> bool {
        self.is_up && self.node == node
    }
}
