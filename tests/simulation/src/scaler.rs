//! The driver around the scaler's core: it translates and does, and decides nothing.

mod drains;
mod seeing;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille_activator_core::gate::Drain;
use reveille_scaler_core::act::{Act, Note, Write as CoreWrite};
use reveille_scaler_core::budget::{Budget, Class, is_mine};
use reveille_scaler_core::command::{Answer, Command};
use reveille_scaler_core::drain::Ending;
use reveille_scaler_core::election::{Election, Timing};
use reveille_scaler_core::ledger::Report;
use reveille_scaler_core::roster::Roster;
use reveille_scaler_core::sandbox::Sandbox;
use reveille_scaler_core::wake::{Ask, Cause};

pub(crate) use self::view::address;
use crate::message::{ToActivator, ToScaler};
use crate::mutant::Mutant;
use crate::objects::{Cache, Name, Uid};
use crate::sim::{Event, Node, NodeKind};
use crate::watch::Streams;
use crate::world::World;

/// A member that has not reported for so long is silent.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);
/// Writes a second in the long run, and at once.
pub(crate) const WRITES: (u32, u32) = (50, 10);
/// Holds and leases that may wait for their turn at a time.
pub(crate) const MARKS: usize = 64;

/// One scaler.
#[derive(Debug)]
pub(crate) struct Scaler {
    pub(crate) node: Node,
    pub(crate) is_up: bool,
    pub(crate) identity: Arc<str>,
    pub(crate) election: Election,
    /// The call at which the election will be polled; others are stale.
    pub(crate) election_due: Option<Instant>,
    /// Whether it led when its machines were last told.
    pub(crate) led: bool,
    /// Memories beside live claims that will be looked at again.
    pub(crate) leftovers: BTreeMap<Name, Uid>,
    /// When the last list of members will have been seen.
    pub(crate) members_due: Instant,
    has_members: bool,
    /// The watch of members runs, and has told.
    pub(crate) knows_members: bool,
    /// As far as it knows all its watches run.
    sees: bool,
    /// Until then its steps in the election are lost.
    pub(crate) lease_back: Instant,
    pub(crate) cache: Cache,
    pub(crate) machines: BTreeMap<Name, Machine>,
    pub(crate) roster: Roster<Name>,
    pub(crate) streams: Streams,
    /// Writes, and marks, of which the model knows no more than that they take their turn.
    pub(crate) budget: Budget<Option<(Name, CoreWrite)>>,
    /// Marks that wait for their turn.
    pub(crate) marks: usize,
    /// Wakes that wait for theirs, and since when.
    pub(crate) waiting: BTreeMap<Name, Instant>,
}

/// The machine of one target.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) core: Sandbox,
    /// The call at which it will be polled; others are stale.
    due: Option<Instant>,
}

impl Scaler {
    pub(crate) fn new(index: usize, timing: Timing, now: Instant) -> Self {
        let mut roster = Roster::new(SILENCE, now);
        roster.lead_until(None, now);
        roster.set_current(false);
        let identity: Arc<str> = format!("scaler-{index}").into();
        Self {
            node: Node {
                kind: NodeKind::Scaler,
                index,
                life: 0,
            },
            is_up: false,
            election: Election::new(Arc::clone(&identity), timing, now),
            identity,
            election_due: None,
            led: false,
            leftovers: BTreeMap::new(),
            members_due: now,
            has_members: false,
            knows_members: false,
            sees: false,
            lease_back: now,
            cache: Cache::default(),
            machines: BTreeMap::new(),
            roster,
            streams: Streams::new(now),
            budget: Budget::new(WRITES.0, WRITES.1, now),
            marks: 0,
            waiting: BTreeMap::new(),
        }
    }

    /// The process begins anew, knowing nothing.
    pub(crate) fn start(&mut self, timing: Timing, now: Instant) {
        let node = Node {
            life: self.node.life + 1,
            ..self.node
        };
        *self = Self {
            node,
            is_up: true,
            ..Self::new(self.node.index, timing, now)
        };
    }

    /// Whether it leads in truth.
    pub(crate) fn leads(&self, now: Instant) -> bool {
        self.is_up && self.election.leads(now)
    }

    /// Drains of this life are numbered from here.
    fn nonce(&self) -> u64 {
        (u64::from(self.node.life) << 40) | ((self.node.index as u64) << 36)
    }
}

impl World {
    /// The carrier delivers.
    pub(crate) fn scaler_hears(&mut self, index: usize, message: ToScaler) {
        let now = self.sim.now();
        let scaler = &mut self.scalers[index];
        match message {
            ToScaler::Wake {
                target,
                from,
                waiting,
            } => {
                if self.sim.mutant == Some(Mutant::WakePerAsk) {
                    return self.write_per_ask(index, &target);
                }
                let Some(machine) = scaler.machines.get_mut(&target) else {
                    return;
                };
                let ask = Ask {
                    cause: Cause::Http,
                    waiting,
                    member: Some(from),
                    by: None,
                };
                machine.core.ask(&ask, now);
                self.poll_machine(index, &target);
            }
            ToScaler::Activity {
                from,
                incarnation,
                sequence,
                full,
                entries,
            } => {
                self.heard(index, (&from, &incarnation), (sequence, full), &entries);
            }
            ToScaler::Drained {
                target,
                from,
                incarnation,
                nonce,
                drained,
            } => {
                let Some(machine) = scaler.machines.get_mut(&target) else {
                    return;
                };
                machine.core.reply(&from, &incarnation, nonce, drained);
                self.poll_machine(index, &target);
            }
            ToScaler::Ready { target, pod } => {
                let Some(machine) = scaler.machines.get_mut(&target) else {
                    return;
                };
                machine.core.ready(&pod, now);
                self.poll_machine(index, &target);
            }
        }
    }

    fn heard(
        &mut self,
        index: usize,
        (from, incarnation): (&Arc<str>, &Arc<str>),
        stamp: (u64, bool),
        entries: &[(Name, Report)],
    ) {
        let now = self.sim.now();
        let scaler = &mut self.scalers[index];
        let known = entries
            .iter()
            .filter(|(name, _)| scaler.machines.contains_key(name));
        let active: Vec<(Name, bool)> = known
            .clone()
            .map(|(name, report)| (Arc::clone(name), report.is_active()))
            .collect();
        let hearing = scaler.roster.report(from, incarnation, stamp, &active, now);
        let mut touched: Vec<Name> = Vec::new();
        if hearing.accepted {
            for (name, report) in entries {
                if let Some(machine) = scaler.machines.get_mut(name) {
                    machine.core.report(from, report, now);
                    touched.push(Arc::clone(name));
                }
            }
        }
        for (member, name) in &hearing.quiet {
            if let Some(machine) = scaler.machines.get_mut(name) {
                machine.core.quiet(member, now);
                touched.push(Arc::clone(name));
            }
        }
        if hearing.ask_full {
            self.send_to_activators(index, &ToActivator::Sync);
        }
        for name in touched {
            self.poll_machine(index, &name);
        }
    }

    /// A wake by the HTTP API, as activators ask for it while the carrier is down.
    pub(crate) fn command_wake(
        &mut self,
        index: usize,
        target: &Name,
        waiting: u32,
    ) -> Option<Answer> {
        let now = self.sim.now();
        let scaler = &mut self.scalers[index];
        let machine = scaler.machines.get_mut(target)?;
        let cause = Cause::Http;
        let command = Command::Wake { cause, waiting };
        let answer = machine.core.command(command, &scaler.roster, now);
        self.poll_machine(index, target);
        Some(answer)
    }

    /// Asks a machine what is to be done, does it, and arranges for its next call.
    pub(crate) fn poll_machine(&mut self, index: usize, name: &Name) {
        let now = self.sim.now();
        let scaler = &mut self.scalers[index];
        let Some(machine) = scaler.machines.get_mut(name) else {
            return;
        };
        let poll = machine.core.poll(&scaler.roster, now);
        if let Some(at) = poll.next.filter(|_| machine.due != poll.next) {
            let at = at.max(now);
            machine.due = Some(at);
            let event = Event::PollMachine(scaler.node, Arc::clone(name), at);
            self.sim.queue.at(at, event);
        }
        for act in poll.acts {
            self.act(index, name, act);
        }
    }

    /// The instant at which a machine asked to be called has come.
    pub(crate) fn machine_due(&mut self, index: usize, name: &Name, at: Instant) {
        let Some(machine) = self.scalers[index].machines.get_mut(name) else {
            return;
        };
        if machine.due == Some(at) {
            machine.due = None;
            if self.sim.mutant == Some(Mutant::CooldownTimerLost) {
                return;
            }
            self.poll_machine(index, name);
        }
    }

    fn act(&mut self, index: usize, name: &Name, act: Act) {
        let target = Arc::clone(name);
        match act {
            Act::Write(write) => {
                let scaler = &mut self.scalers[index];
                if write.what.is_wake() {
                    let is_mine = is_mine(name, scaler.led);
                    let now = self.sim.now();
                    scaler.waiting.insert(Arc::clone(name), now);
                    scaler.budget.push_wake(Some((target, write)), is_mine, now);
                } else {
                    scaler.budget.push(Class::Sleep, Some((target, write)));
                }
                self.spend(index);
            }
            Act::Tell(tell) => self.send_to_activators(index, &ToActivator::Tell { target, tell }),
            Act::Drain {
                epoch,
                uid,
                nonce,
                hold,
                order,
            } => {
                let drain = Drain {
                    nonce,
                    epoch,
                    uid,
                    hold,
                    order,
                };
                self.drain(index, target, drain);
            }
            Act::Undrain { nonce } => self.undrain(index, target, nonce),
            Act::AskBusy { pod } => self.ask_busy(index, name, pod),
            Act::Note(note) => self.note(index, name, &note),
        }
    }

    fn note(&mut self, index: usize, name: &Name, note: &Note) {
        self.sim
            .trace(|| format!("scaler-{index} notes for {name}: {note:?}"));
        match note {
            Note::WakeFailed { .. } => {
                self.sim.coverage.wakes_failed += 1;
                self.needs.entry(Arc::clone(name)).or_default().wakes_failed += 1;
            }
            Note::Refused { .. } => self.sim.coverage.wakes_refused += 1,
            Note::AgentSilent { .. } | Note::Flapping { .. } | Note::MadeAgain { .. } => {}
            Note::Drained {
                ending: Ending::Slept,
                ..
            } => {
                self.note_slept(index, name);
                self.needs
                    .entry(Arc::clone(name))
                    .or_default()
                    .drains_failed[index] = 0;
            }
            Note::Drained { .. } => {
                self.needs
                    .entry(Arc::clone(name))
                    .or_default()
                    .drains_failed[index] += 1
            }
            Note::Woke(_) => {
                let view = self.scalers[index].machines.get(name);
                let view = view.map(|machine| machine.core.view());
                let (uid, epoch) = view.map_or((None, 0), |it| (it.uid().cloned(), it.epoch()));
                self.sim.coverage.woke += 1;
                let wakes = self.needs.get(name).map_or(0, |need| need.wakes);
                let told = self.woke.insert((Arc::clone(name), uid, epoch), wakes);
                // A replaced object begins its epochs anew. And the Sandbox of a claim that was bound again does,
                // which its watch may show later than the claim.
                let target = self.sim.plan.target(name);
                let is_bound = target.is_some_and(|target| target.claim);
                let is_again = told.is_some_and(|before| !is_bound || before == wakes);
                if is_again && !self.replaced.contains_key(name) {
                    self.facts.told_twice.push((Arc::clone(name), epoch));
                }
            }
            Note::Slept { .. } | Note::SleepDenied { .. } => {}
        }
    }

    /// Begins the writes whose turn has come.
    pub(crate) fn spend(&mut self, index: usize) {
        let now = self.sim.now();
        let mut polled = Vec::new();
        while let Some(job) = self.scalers[index].budget.pop(now) {
            let scaler = &mut self.scalers[index];
            let Some((name, write)) = job else {
                scaler.marks -= 1;
                continue;
            };
            if write.what.is_wake() {
                scaler.waiting.remove(&name);
            }
            // What has come up while it waited for its turn counts.
            self.poll_machine(index, &name);
            let scaler = &mut self.scalers[index];
            let Some(machine) = scaler.machines.get_mut(&name) else {
                continue;
            };
            if machine.core.begin_write(&write, now) {
                let target = scaler.cache.target(&name);
                self.issue(index, &name, &write, target.as_ref());
            } else {
                scaler.budget.give_back();
            }
            polled.push(name);
        }
        let scaler = &self.scalers[index];
        if let Some(at) = scaler.budget.next(now) {
            let event = Event::Budget(scaler.node);
            self.sim.queue.at(at, event);
        }
        for name in polled {
            self.poll_machine(index, &name);
        }
    }
}
