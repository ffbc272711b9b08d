//! The driver around the activator's core: it translates and does, and decides nothing.

mod seeing;
mod slot;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille_activator_core::entry::{Outcome, Step};
use reveille_activator_core::gate::DrainAnswer;
use reveille_activator_core::lot::Ended;
use reveille_activator_core::report::Reports;
use reveille_activator_core::view::Sight;
use reveille_scaler_core::ledger::Report;

pub(crate) use self::slot::{Drained, Slot};
use self::view::outcome;
use crate::message::{ToActivator, ToScaler};
use crate::mutant::Mutant;
use crate::objects::{Cache, Name, Uid};
use crate::requests::RequestId;
use crate::sim::{Event, Node, NodeKind};
use crate::watch::Streams;
use crate::world::World;

/// Every activator reports so often, be it nothing.
pub(crate) const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Pause between two probes of a pod.
const PROBE_EVERY: Duration = Duration::from_millis(25);

/// One activator.
#[derive(Debug)]
pub(crate) struct Activator {
    pub(crate) name: Arc<str>,
    pub(crate) node: Node,
    /// Times that its pod was replaced: each has a name of its own.
    pub(crate) pod: u32,
    pub(crate) is_up: bool,
    /// Clients are led to it.
    pub(crate) serves: bool,
    /// It knows whether its carrier is up.
    pub(crate) linked: bool,
    /// Whether, as far as it knows, what its watches say is up to date.
    sight: Sight,
    pub(crate) cache: Cache,
    pub(crate) slots: BTreeMap<Name, Slot>,
    /// When the watch first showed a pod (UID).
    pub(crate) shown: BTreeMap<Uid, Instant>,
    /// When the watch first showed a pod (UID) deleted, or on its way out.
    pub(crate) left: BTreeMap<Uid, Instant>,
    /// Slots of targets that are gone, whose requests are not over.
    retired: Vec<(Name, Slot)>,
    pub(crate) streams: Streams,
    reports: Reports,
}

impl Activator {
    pub(crate) fn new(index: usize, now: Instant) -> Self {
        Self {
            name: format!("activator-{index}").into(),
            node: Node {
                kind: NodeKind::Activator,
                index,
                life: 0,
            },
            pod: 0,
            is_up: false,
            serves: false,
            linked: true,
            sight: Sight::Since(now),
            cache: Cache::default(),
            slots: BTreeMap::new(),
            shown: BTreeMap::new(),
            left: BTreeMap::new(),
            retired: Vec::new(),
            streams: Streams::new(now),
            reports: Reports::default(),
        }
    }

    /// Differs for each life.
    pub(crate) fn incarnation(&self) -> Arc<str> {
        format!("{}.{}", self.name, self.node.life).into()
    }

    /// The process begins anew, knowing nothing.
    pub(crate) fn start(&mut self, now: Instant) {
        let node = Node {
            life: self.node.life + 1,
            ..self.node
        };
        *self = Self {
            node,
            is_up: true,
            pod: self.pod,
            name: format!("activator-{}-{}", node.index, self.pod).into(),
            ..Self::new(self.node.index, now)
        };
    }

    /// What happened since the last report, or all that is known.
    pub(crate) fn report(&mut self, now: Instant) -> ToScaler {
        let stamp = self.reports.stamp();
        let due = |slot: &Slot| {
            if stamp.full {
                slot.entry.is_known()
            } else {
                slot.entry.is_changed()
            }
        };
        let retired = self
            .retired
            .iter_mut()
            .filter(|(_, slot)| slot.entry.is_changed());
        let present = self.slots.iter_mut().filter(|(_, slot)| due(slot));
        let entries = retired.map(|(name, slot)| (&*name, slot)).chain(present);
        let entries = entries.map(|(name, slot)| {
            let seen = slot.entry.report(now);
            let report = Report {
                in_flight: seen.in_flight,
                parked: seen.parked,
                quiet_for: seen.quiet_for,
                busy: seen.busy,
            };
            (Arc::clone(name), report)
        });
        let entries = entries.collect();
        self.retired.retain(|(_, slot)| slot.users > 0);
        let (from, incarnation) = (Arc::clone(&self.name), self.incarnation());
        ToScaler::Activity {
            from,
            incarnation,
            sequence: stamp.sequence,
            full: stamp.full,
            entries,
        }
    }

    /// The next report is a full one.
    pub(crate) const fn ask_full(&mut self) {
        self.reports.ask_full();
    }
}

impl Activator {
    /// The slot of this number, be its target gone.
    pub(crate) fn slot(&mut self, name: &Name, serial: u64) -> Option<&mut Slot> {
        let retired = self.retired.iter_mut().map(|(_, slot)| slot);
        self.slots
            .get_mut(name)
            .into_iter()
            .chain(retired)
            .find(|slot| slot.serial == serial)
    }
}

impl World {
    /// The carrier delivers.
    pub(crate) fn activator_hears(&mut self, index: usize, message: ToActivator) {
        let now = self.sim.now();
        let activator = &mut self.activators[index];
        let (target, outcome) = match message {
            ToActivator::Sync => return activator.ask_full(),
            ToActivator::Drain { target, drain } => {
                let sees = activator.sight != Sight::Blind;
                let (nonce, hold, order) = (drain.nonce, drain.hold, drain.order);
                let Some(slot) = activator.slots.get_mut(&target) else {
                    return self.answer_drain(index, target, drain.nonce, false);
                };
                // Who does not see what becomes of it has nothing put to sleep, unless that is ordered.
                let drained =
                    (sees || drain.order) && slot.entry.drain(drain, now) == DrainAnswer::Drained;
                // A doubled question may shorten the hold and not lengthen it, nor does a later Busy open the gate.
                slot.drained.retain(|known| now < known.until);
                let until = now + hold;
                if order {
                    slot.ordered = Some((nonce, until));
                }
                let mut known = slot.drained.iter_mut();
                let known = known.find(|known| known.nonce == nonce);
                if let Some(known) = known {
                    known.until = if order { until } else { known.until.min(until) };
                } else if drained {
                    slot.drained.push(Drained {
                        nonce,
                        at: now,
                        until,
                    });
                }
                self.sim.coverage.drains_refused += u64::from(!drained);
                let drained = drained || self.sim.mutant == Some(Mutant::DrainForged);
                self.answer_drain(index, Arc::clone(&target), nonce, drained);
                return self.poll_slot(index, &target);
            }
            ToActivator::Undrain { target, nonce } => {
                if let Some(slot) = activator.slots.get_mut(&target) {
                    slot.drained.retain(|drained| drained.nonce != nonce);
                }
                (target, Outcome::Undrain { nonce })
            }
            ToActivator::Tell { target, tell } => (target, outcome(tell)),
        };
        if let Some(slot) = self.activators[index].slots.get_mut(&target) {
            slot.entry.outcome(outcome, now);
            self.poll_slot(index, &target);
        }
    }

    fn answer_drain(&mut self, index: usize, target: Name, nonce: u64, drained: bool) {
        let activator = &self.activators[index];
        let (from, incarnation) = (Arc::clone(&activator.name), activator.incarnation());
        self.send_to_scalers(
            index,
            &ToScaler::Drained {
                target,
                from,
                incarnation,
                nonce,
                drained,
            },
        );
    }

    /// Does what a slot wants done, and arranges for its next call.
    pub(crate) fn poll_slot(&mut self, index: usize, name: &Name) {
        let now = self.sim.now();
        let Some(slot) = self.activators[index].slots.get_mut(name) else {
            return;
        };
        if !slot.entry.is_waking() {
            slot.probing = None;
            slot.waiting_since = None;
            return;
        }
        let mut step = slot.entry.poll(now);
        if self.sim.mutant == Some(Mutant::LastComeFirst) {
            step.released.reverse();
        }
        self.carry_out(index, name, step);
        let Some(slot) = self.activators[index].slots.get_mut(name) else {
            return;
        };
        slot.waiting_since = (slot.entry.parked() > 0).then(|| slot.waiting_since.unwrap_or(now));
        let next = slot.entry.next(now);
        if let Some(at) = next.filter(|_| slot.due != next) {
            let at = at.max(now);
            slot.due = Some(at);
            let event = Event::PollSlot(self.activators[index].node, Arc::clone(name), at);
            self.sim.queue.at(at, event);
        }
        self.probe_slot(index, name);
    }

    /// The instant at which a slot asked to be called has come.
    pub(crate) fn slot_due(&mut self, index: usize, name: &Name, at: Instant) {
        let Some(slot) = self.activators[index].slots.get_mut(name) else {
            return;
        };
        if slot.due == Some(at) {
            slot.due = None;
            self.poll_slot(index, name);
        }
    }

    fn carry_out(&mut self, index: usize, name: &Name, step: Step<RequestId>) {
        let now = self.sim.now();
        if let Some(ask) = step.wake {
            let Some(slot) = self.activators[index].slots.get_mut(name) else {
                return;
            };
            let is_repeated = slot
                .asked
                .is_some_and(|at| slot.waiting_since.is_some_and(|since| at >= since));
            if !(is_repeated && self.sim.mutant == Some(Mutant::WakesNotRepeated)) {
                slot.asked = Some(now);
                self.ask_for_wake(index, name, ask.waiting);
            }
        }
        if let Some(pod) = step.opened {
            self.send_to_scalers(
                index,
                &ToScaler::Ready {
                    target: Arc::clone(name),
                    pod,
                },
            );
        }
        self.ended(index, name, step.expired);
        self.ended(index, name, step.denied);
        if let Some(release) = step.release {
            for Ended { payload, .. } in step.released {
                self.released(index, name, payload, &release);
            }
        }
    }

    /// Probes the pod that the entry wants probed, every now and then until it answers.
    fn probe_slot(&mut self, index: usize, name: &Name) {
        let now = self.sim.now();
        let Some(slot) = self.activators[index].slots.get_mut(name) else {
            return;
        };
        let wanted = slot.entry.probe(now).map(|pod| Arc::clone(&pod.uid));
        if wanted == slot.probing {
            return;
        }
        slot.probing.clone_from(&wanted);
        if let Some(pod) = wanted {
            let event = Event::Probe(self.activators[index].node, Arc::clone(name), pod);
            self.sim.after(PROBE_EVERY / 5, event);
        }
    }

    /// One probe: a connection to the address that the watch shows, whoever has it by now.
    pub(crate) fn probed(&mut self, index: usize, name: &Name, pod: Uid) {
        let Some(slot) = self.activators[index].slots.get_mut(name) else {
            return;
        };
        if slot.probing.as_ref() != Some(&pod) {
            return;
        }
        let answers = slot
            .ip
            .and_then(|ip| self.cluster.at(ip))
            .is_some_and(|(_, agent)| agent.listens);
        if answers {
            slot.probing = None;
            slot.entry.opened(&pod);
            self.poll_slot(index, name);
        } else {
            let event = Event::Probe(self.activators[index].node, Arc::clone(name), pod);
            self.sim.after(PROBE_EVERY, event);
        }
    }
}
