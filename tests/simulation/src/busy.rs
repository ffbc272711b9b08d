//! Busy leases: what agents said, and who heard it; what a scaler was asked for stands on the Sandbox.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille_scaler_core::command::Command;
use reveille_scaler_core::view::Mode;
use reveille_scaler_core::wake::Cause;

use crate::objects::{Name, Uid};
use crate::sim::{Event, Node, NodeKind};
use crate::world::World;

/// Longest time until an agent has answered the question whether it is busy.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);
/// Longest lease it then asks for, and an operator.
const LEASE: Duration = Duration::from_secs(2);

/// A busy lease. It binds as long as the process that was told of it lives.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) pod: Uid,
    pub(crate) heard_by: Node,
    pub(crate) heard: Instant,
    pub(crate) until: Instant,
}

/// What an agent answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// For so long; zero: it is not.
    For(Duration),
    /// No answer at all.
    Silent,
}

impl World {
    /// Somebody was told that the agent of this pod is busy; a later word replaces an earlier one.
    pub(crate) fn lease(&mut self, pod: Uid, heard_by: Node, until: Instant) {
        self.forget_lease(&pod, heard_by);
        let heard = self.sim.now();
        self.leases.push(Lease {
            pod,
            heard_by,
            heard,
            until,
        });
    }

    /// What that process was told of this pod does not bind any more.
    pub(crate) fn forget_lease(&mut self, pod: &Uid, heard_by: Node) {
        self.leases
            .retain(|lease| lease.pod != *pod || lease.heard_by != heard_by);
    }

    /// Whether that process is still the one that was told.
    pub(crate) fn remembers(&self, lease: &Lease) -> bool {
        let Node { kind, index, .. } = lease.heard_by;
        match kind {
            NodeKind::Activator => {
                let activator = &self.activators[index];
                activator.is_up && activator.node == lease.heard_by
            }
            NodeKind::Scaler => {
                let scaler = &self.scalers[index];
                scaler.leads(self.sim.now()) && scaler.node == lease.heard_by
            }
        }
    }

    /// A scaler asks the agent of this pod whether it is busy.
    pub(crate) fn ask_busy(&mut self, index: usize, target: &Name, pod: Uid) {
        self.sim.coverage.agents_asked += 1;
        let answer = match self.sim.rng.u8(..6) {
            0 if !self.sim.is_calm() => Busy::For(self.sim.up_to(LEASE)),
            _ => Busy::For(Duration::ZERO),
        };
        let after = self.sim.up_to(ANSWER_WITHIN);
        let node = self.scalers[index].node;
        self.sim.after(
            after,
            Event::BusyAnswer(node, Arc::clone(target), pod, answer),
        );
    }

    /// The agent has answered, or has not.
    pub(crate) fn busy_answered(&mut self, index: usize, target: &Name, pod: &Uid, answer: Busy) {
        let now = self.sim.now();
        // Whoever died over the answer has not given it.
        let listens = self.cluster.agent(pod).is_some_and(|agent| agent.listens);
        let answer = if listens { answer } else { Busy::Silent };
        self.sim
            .trace(|| format!("{pod} of {target} is asked whether it is busy: {answer:?}"));
        let scaler = &mut self.scalers[index];
        let node = scaler.node;
        let Some(machine) = scaler.machines.get_mut(target) else {
            return;
        };
        let length = match answer {
            Busy::For(length) => Some(length),
            Busy::Silent => None,
        };
        machine.core.probed(pod, length, now);
        if let Some(length) = length {
            self.lease(Arc::clone(pod), node, now + length);
        }
        self.poll_machine(index, target);
    }

    /// What an operator asks for.
    pub(crate) fn operator_command(&mut self, choice: u8) -> Command {
        match choice {
            7 => Command::Sleep { force: false },
            _ => Command::Wake {
                cause: Cause::Api,
                waiting: 0,
            },
        }
    }

    /// Somebody asks a scaler, whichever, for a busy lease, which writes it on what is awake.
    pub(crate) fn ask_for_lease(&mut self, name: &Name) {
        let until = Some(self.sim.now() + self.sim.up_to(LEASE));
        self.sim.coverage.leases_written += 1;
        self.api.edit_sandbox(name, |sandbox| {
            if sandbox.mode == Mode::Running {
                sandbox.busy_until = sandbox.busy_until.max(until);
            }
        });
    }
}
