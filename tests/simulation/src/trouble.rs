//! What goes wrong, and what operators do.

use std::sync::Arc;
use std::time::Duration;

use reveille_scaler_core::command::Command;
use reveille_scaler_core::view::{Hold, Mode};

use crate::cluster::{PodStep, cold};
use crate::message::ToActivator;
use crate::objects::Name;
use crate::requests::RequestId;
use crate::sim::{Event, NodeKind};
use crate::world::World;

/// Longest time until a process that died is started again.
const RESTART: Duration = Duration::from_secs(3);
/// Time from an activator's start to its first client: the readiness that its deployment waits for. It is
/// longer than a sleep that was decided without it can still be on its way.
pub(crate) const SERVES_AFTER: Duration = Duration::from_secs(5);
/// Latest that the scalers see which activators run.
const MEMBERS_LAG: Duration = Duration::from_millis(500);
/// Longest time without a leader.
const LEADERLESS: Duration = Duration::from_secs(2);
/// Longest cut of a carrier, and longest time until it is noticed.
const CUT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(1));
/// How long an operator's doing lasts.
const OPERATION: Duration = Duration::from_secs(4);

/// Kinds of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ActivatorCrash,
    ScalerCrash,
    LeaderChange,
    Partition,
    Mended(NodeKind, usize),
    PodCrash,
    Eviction,
    Operator,
    Stranger,
    /// What an operator did to that target is undone.
    Undone(usize),
}

impl World {
    /// Trouble of every kind that the plan knows is on its way.
    pub(crate) fn plan_trouble(&mut self) {
        let kinds = [
            Kind::ActivatorCrash,
            Kind::ScalerCrash,
            Kind::LeaderChange,
            Kind::Partition,
            Kind::PodCrash,
            Kind::Eviction,
            Kind::Operator,
            Kind::Stranger,
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
            Kind::LeaderChange => trouble.leader_change,
            Kind::Partition => trouble.partition,
            Kind::PodCrash => trouble.pod_crash,
            Kind::Eviction => trouble.eviction,
            Kind::Operator => trouble.operator,
            Kind::Stranger => trouble.stranger,
            Kind::Mended(..) | Kind::Undone(_) => None,
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
            Kind::Undone(target) => return self.undo(target),
            _ if self.sim.is_calm() => return,
            _ => {}
        }
        self.sim.trouble();
        match kind {
            Kind::ActivatorCrash => self.crash_activator(),
            Kind::ScalerCrash => self.crash_scaler(),
            Kind::LeaderChange => self.change_leader(),
            Kind::Partition => self.cut(),
            Kind::PodCrash => self.crash_pod(),
            Kind::Eviction => self.evict(),
            Kind::Operator => self.operate(),
            Kind::Stranger => self.forge(),
            Kind::Mended(..) | Kind::Undone(_) => {}
        }
        self.next_trouble(kind);
    }

    fn crash_activator(&mut self) {
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
        let activator = &mut self.activators[index];
        (activator.is_up, activator.serves) = (false, false);
        activator.slots.clear();
        let lag = self.sim.up_to(MEMBERS_LAG);
        self.sim.after(lag, Event::Members);
        let pause = self.sim.up_to(RESTART);
        self.sim
            .after(pause, Event::Start(NodeKind::Activator, index));
    }

    fn crash_scaler(&mut self) {
        let index = self.sim.rng.usize(..self.scalers.len());
        if !self.scalers[index].is_up {
            return;
        }
        self.sim.coverage.scaler_crashes += 1;
        self.sim.trace(|| format!("scaler-{index} is killed"));
        let scaler = &mut self.scalers[index];
        scaler.is_up = false;
        if scaler.leads {
            scaler.leads = false;
            self.elect();
        }
        self.scalers[index].machines.clear();
        let pause = self.sim.up_to(RESTART);
        self.sim.after(pause, Event::Start(NodeKind::Scaler, index));
    }

    /// The leader gives up its lease; somebody takes it after a while.
    fn change_leader(&mut self) {
        let now = self.sim.now();
        let Some(index) = self.scalers.iter().position(|scaler| scaler.leads) else {
            return;
        };
        self.sim.trace(|| format!("scaler-{index} leads no more"));
        self.scalers[index].set_leading(false, now);
        self.elect();
    }

    fn elect(&mut self) {
        let next = self.sim.rng.usize(..self.scalers.len());
        let after = self.sim.up_to(LEADERLESS);
        self.sim.after(after, Event::Leads(next));
    }

    /// A scaler has taken the lease, unless it is dead, or somebody else was faster.
    pub(crate) fn lead(&mut self, index: usize) {
        if self.scalers.iter().any(|scaler| scaler.leads) {
            return;
        }
        if !self.scalers[index].is_up {
            return self.elect();
        }
        let now = self.sim.now();
        self.sim.coverage.leader_changes += 1;
        self.sim.trouble();
        self.sim.trace(|| format!("scaler-{index} leads"));
        self.scalers[index].set_leading(true, now);
        self.send_to_activators(index, &ToActivator::Sync);
        let names: Vec<Name> = self.scalers[index].machines.keys().cloned().collect();
        for name in names {
            self.poll_machine(index, &name);
        }
    }

    /// A carrier or a watch is cut for a while.
    fn cut(&mut self) {
        let count = self.activators.len() + self.scalers.len();
        let chosen = self.sim.rng.usize(..count);
        let (kind, index) = match chosen.checked_sub(self.activators.len()) {
            None => (NodeKind::Activator, chosen),
            Some(index) => (NodeKind::Scaler, index),
        };
        if self.sim.rng.bool() {
            self.stall(kind, index);
            return;
        }
        if !self.cut.insert((kind, index)) {
            return;
        }
        self.sim.coverage.partitions += 1;
        self.sim
            .trace(|| format!("{kind:?} {index} loses its carrier"));
        self.notice(kind, index);
        let after = self.sim.up_to(CUT.0);
        self.sim
            .after(after, Event::Trouble(Kind::Mended(kind, index)));
    }

    fn mend(&mut self, kind: NodeKind, index: usize) {
        if self.cut.remove(&(kind, index)) {
            self.sim.trouble();
            self.sim
                .trace(|| format!("{kind:?} {index} has its carrier back"));
            self.notice(kind, index);
        }
    }

    fn notice(&mut self, kind: NodeKind, index: usize) {
        let node = match kind {
            NodeKind::Activator => self.activators[index].node,
            NodeKind::Scaler => self.scalers[index].node,
        };
        let after = self.sim.up_to(CUT.1);
        self.sim.after(after, Event::Linked(node));
    }

    fn crash_pod(&mut self) {
        let up: Vec<_> = self
            .cluster
            .agents()
            .filter(|(_, agent)| agent.listens)
            .map(|(uid, agent)| (Arc::clone(uid), Arc::clone(&agent.name)))
            .collect();
        if up.is_empty() {
            return;
        }
        let (uid, name) = up[self.sim.rng.usize(..up.len())].clone();
        self.sim.coverage.pods_crashed += 1;
        self.sim
            .after(Duration::ZERO, Event::Pod(name, uid, PodStep::Crash));
    }

    fn evict(&mut self) {
        let pods: Vec<Name> = self.api.objects().pods.keys().cloned().collect();
        if pods.is_empty() {
            return;
        }
        let name = &pods[self.sim.rng.usize(..pods.len())];
        self.sim.coverage.pods_evicted += 1;
        self.cluster.terminate(name, &mut self.api, &mut self.sim);
    }

    fn operate(&mut self) {
        let now = self.sim.now();
        let number = self.sim.rng.usize(..self.sim.plan.targets.len());
        let target = self.sim.plan.name(number);
        let Some((name, sandbox)) = self.api.standing(&target) else {
            return;
        };
        let (name, sandbox) = (Arc::clone(name), Arc::clone(sandbox));
        let choice = self.sim.rng.u8(..10);
        self.sim
            .trace(|| format!("an operator does {choice} to {target}"));
        let counts = &mut self.sim.coverage;
        match choice {
            0 | 1 => {
                counts.holds += 1;
                let hold = if choice == 0 {
                    Hold::Awake
                } else {
                    Hold::Asleep
                };
                self.api
                    .edit_sandbox(&name, |sandbox| sandbox.hold = Some(hold));
            }
            2 | 3 => {
                counts.hand_flips += 1;
                let mode = if sandbox.mode == Mode::Running {
                    Mode::Suspended
                } else {
                    Mode::Running
                };
                self.api.edit_sandbox(&name, |sandbox| sandbox.mode = mode);
            }
            4 => {
                counts.expiries += 1;
                let soon = now + self.sim.up_to(OPERATION / 2);
                self.api
                    .edit_sandbox(&name, |sandbox| sandbox.expires = Some(soon));
                self.sim.queue.at(soon, Event::Reconcile(name));
            }
            5 => {
                counts.deletions += 1;
                self.api.drop_sandbox(&name);
            }
            6 => self.pause(&target, true),
            _ => {
                let command = self.operator_command(choice);
                self.command(&target, command);
            }
        }
        let lasts = self.sim.up_to(OPERATION);
        self.sim.after(lasts, Event::Trouble(Kind::Undone(number)));
    }

    fn pause(&mut self, target: &Name, paused: bool) {
        if let Some(policy) = self.api.objects().policies.get(target) {
            let mut policy = **policy;
            policy.paused = paused;
            self.api.put_policy(target, policy);
        }
    }

    fn command(&mut self, target: &Name, command: Command) {
        let now = self.sim.now();
        let leader = self
            .scalers
            .iter()
            .position(|scaler| scaler.is_up && scaler.leads);
        let Some(index) = leader else { return };
        let scaler = &mut self.scalers[index];
        if let Some(machine) = scaler.machines.get_mut(target) {
            let answer = machine.core.command(command, &scaler.roster, now);
            self.sim
                .trace(|| format!("scaler-{index} answers {command:?} of {target}: {answer:?}"));
            self.poll_machine(index, target);
        }
    }

    /// Whatever an operator did to it is undone; one that was deleted is made again.
    fn undo(&mut self, number: usize) {
        let now = self.sim.now();
        self.sim.trouble();
        let target = self.sim.plan.name(number);
        self.pause(&target, false);
        if let Some((name, _)) = self.api.standing(&target) {
            let name = Arc::clone(name);
            self.api.edit_sandbox(&name, |sandbox| {
                sandbox.hold = None;
                sandbox.expires = None;
            });
            return self.sim.after(Duration::ZERO, Event::Reconcile(name));
        }
        let plan = &self.sim.plan.targets[number];
        if !plan.claim {
            let volumes = plan.volumes;
            let uid = self.api.uid(&target);
            self.api.put_sandbox(&target, cold(uid, None, volumes, now));
        }
    }

    /// Everything that was done by operators is undone, and every cut is mended.
    pub(crate) fn end_trouble(&mut self) {
        for number in 0..self.sim.plan.targets.len() {
            self.undo(number);
        }
        let cut: Vec<(NodeKind, usize)> = self.cut.iter().copied().collect();
        for (kind, index) in cut {
            self.mend(kind, index);
        }
    }

    fn stall(&mut self, kind: NodeKind, index: usize) {
        self.sim
            .trace(|| format!("the watch of {kind:?} {index} stalls"));
        let sim = &mut self.sim;
        match kind {
            NodeKind::Activator => self.activators[index].streams.stall(sim),
            NodeKind::Scaler => self.scalers[index].streams.stall(sim),
        }
    }
}
