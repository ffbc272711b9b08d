//! What operators do, and what happens to pods without anybody of ours.

use std::sync::Arc;
use std::time::Duration;

use reveille_scaler_core::budget::Class;
use reveille_scaler_core::command::Command;
use reveille_scaler_core::view::{Hold, Mode};

use super::Kind;
use crate::cluster::{PodStep, cold};
use crate::mutant::Mutant;
use crate::objects::{Name, Uid};
use crate::scaler::MARKS;
use crate::sim::{Event, NodeKind};
use crate::world::World;

/// How long an operator's doing lasts.
const OPERATION: Duration = Duration::from_secs(4);
/// The same of a policy that is paused.
const PAUSED: Duration = Duration::from_secs(12);

impl World {
    /// One of the pods that are up, and its name.
    fn any_up(&mut self) -> Option<(Uid, Name)> {
        let up = self.cluster.agents().filter(|(_, agent)| agent.listens);
        let up: Vec<_> = up
            .map(|(uid, agent)| (Arc::clone(uid), Arc::clone(&agent.name)))
            .collect();
        (!up.is_empty()).then(|| up[self.sim.rng.usize(..up.len())].clone())
    }

    /// The node of a pod dies.
    pub(super) fn lose_node(&mut self) {
        let Some((uid, name)) = self.any_up() else {
            return;
        };
        self.sim.coverage.nodes_lost += 1;
        self.sim
            .trace(|| format!("the node of {uid} of {name} dies"));
        self.cluster.fall_silent(&uid, &mut self.sim);
    }

    pub(super) fn crash_pod(&mut self) {
        let Some((uid, name)) = self.any_up() else {
            return;
        };
        self.sim.coverage.pods_crashed += 1;
        self.sim
            .after(Duration::ZERO, Event::Pod(name, uid, PodStep::Crash));
    }

    pub(super) fn evict(&mut self) {
        let pods: Vec<Name> = self.api.objects().pods.keys().cloned().collect();
        if pods.is_empty() {
            return;
        }
        let name = &pods[self.sim.rng.usize(..pods.len())];
        self.sim.coverage.pods_evicted += 1;
        self.cluster.terminate(name, &mut self.api, &mut self.sim);
    }

    pub(super) fn operate(&mut self) {
        let now = self.sim.now();
        let number = self.sim.rng.usize(..self.sim.plan.targets.len());
        let target = self.sim.plan.name(number);
        let Some((name, sandbox)) = self.api.standing(&target) else {
            return;
        };
        let (name, sandbox) = (Arc::clone(name), Arc::clone(sandbox));
        let choice = self.sim.rng.u8(..12);
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
            9 => self.ask_for_lease(&name),
            10 => self.replace(&target, &name),
            11 => self.ask_for_marks(),
            _ => {
                let command = self.operator_command(choice);
                self.command(&target, command);
            }
        }
        let longest = if choice == 6 { PAUSED } else { OPERATION };
        let lasts = self.sim.up_to(longest);
        self.sim.after(lasts, Event::Trouble(Kind::Undone(number)));
    }

    /// `kubectl replace` of a manifest without our annotations, in whatever mode it says: the same UID, and no
    /// epoch. A write that was decided before cannot be told from one that is decided after.
    fn replace(&mut self, target: &Name, name: &Name) {
        let now = self.sim.now();
        self.sim.coverage.replaced += 1;
        let mode = if self.sim.rng.bool() {
            Mode::Running
        } else {
            Mode::Suspended
        };
        self.api.edit_sandbox(name, |sandbox| {
            (sandbox.mode, sandbox.epoch) = (mode, 0);
            (sandbox.hold, sandbox.busy_until, sandbox.woken) = (None, None, None);
            sandbox.releasing = None;
        });
        self.replaced.insert(Arc::clone(target), now);
    }

    /// Holds and leases in bulk, at a scaler: who comes on top of those that may wait is told to come back.
    fn ask_for_marks(&mut self) {
        let index = self.sim.rng.usize(..self.scalers.len());
        if !self.scalers[index].is_up || self.is_paused(NodeKind::Scaler, index) {
            return;
        }
        let class = match self.sim.mutant {
            Some(Mutant::MarksAsWakes) => Class::Wake,
            _ => Class::Mark,
        };
        let asked = self.sim.rng.usize(MARKS / 2..=2 * MARKS);
        let scaler = &mut self.scalers[index];
        let many = asked.min(MARKS - scaler.marks);
        self.sim.coverage.marks += many as u64;
        self.sim.coverage.marks_refused += (asked - many) as u64;
        scaler.marks += many;
        (0..many).for_each(|_| scaler.budget.push(class, None));
        self.spend(index);
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
        let answering = |index: &usize| !self.is_paused(NodeKind::Scaler, *index);
        let leader = self.leader().filter(answering);
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
    pub(super) fn undo(&mut self, number: usize) {
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
}
