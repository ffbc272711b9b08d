//! Writes of scalers on their way to the API server and back: late, lost, done without an answer.
//!
//! A write is done within [`Rules::write_timeout`] of its issue or never: the server's own limit on a
//! request, and the writer's. A writer that dies leaves its writes behind.

use std::time::{Duration, Instant};

use reveille_scaler_core::act::{Intent, Write as CoreWrite, Written};
use reveille_scaler_core::sandbox::Rules;
use reveille_scaler_core::view::{Hold, Mode};

use crate::api::{Refusal, Write};
use crate::join::Target;
use crate::mutant::Mutant;
use crate::objects::{Name, Uid};
use crate::scaler::address;
use crate::sim::{Event, Node};
use crate::world::World;

/// Longest way once all is well.
const CALM: Duration = Duration::from_millis(10);

/// Names a write of the run.
pub(crate) type WriteId = usize;

/// One write.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) by: Node,
    pub(crate) target: Name,
    pub(crate) write: Write,
    /// As its machine asked for it.
    asked: CoreWrite,
    pub(crate) issued: Instant,
    pub(crate) cause: &'static str,
    pub(crate) known: Known,
    fate: Written,
}

/// What its writer's own watch had shown when it was issued.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    pub(crate) hold: Option<Hold>,
    pub(crate) expired: bool,
    pub(crate) pool_member: bool,
    pub(crate) deleting: bool,
    pub(crate) paused: bool,
}

/// A write that reached the API server.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) pending: Pending,
    /// UID, epoch and mode that the object really had.
    pub(crate) before: Option<(Uid, u64, Mode)>,
    pub(crate) result: Result<u64, Refusal>,
}

impl World {
    /// A scaler sends a write.
    pub(crate) fn issue(
        &mut self,
        index: usize,
        name: &Name,
        write: &CoreWrite,
        target: Option<&Target>,
    ) {
        let now = self.sim.now();
        let by = self.scalers[index].node;
        let limit = Rules::default().write_timeout;
        let addressed = target.and_then(|target| Some((address(write, name, target)?, target)));
        let Some((what, target)) = addressed else {
            return self.answer_at(now, by, name, write);
        };
        self.sim.trace(|| {
            format!(
                "scaler-{index} writes {} of {name} at epoch {}",
                write.what.as_str(),
                write.epoch
            )
        });
        let writes = self.sim.plan.writes;
        let known = known(&what, target, now);
        let (target, cause) = (name.clone(), write.cause);
        let mut pending = Pending {
            by,
            target,
            write: what,
            asked: write.clone(),
            issued: now,
            cause,
            known,
            fate: Written::Lost,
        };
        if self.sim.goes_wrong(writes.unavailable) {
            pending.fate = Written::Unavailable("the API server is not available".into());
            self.writes.push(pending);
            let delay = self.sim.up_to(writes.delay);
            return self
                .sim
                .after(delay, Event::WriteAnswered(self.writes.len() - 1));
        }
        self.writes.push(pending);
        let id = self.writes.len() - 1;
        if self.sim.goes_wrong(writes.lose) {
            self.sim.coverage.writes_lost += 1;
            self.sim.trouble_for(Rules::default().drain_hold);
            return self.sim.after(limit, Event::WriteAnswered(id));
        }
        let delay = if self.sim.goes_wrong(writes.late) {
            self.sim.coverage.writes_late += 1;
            self.sim.trouble_for(Rules::default().drain_hold);
            self.sim.up_to(limit)
        } else {
            let most = if self.sim.is_calm() {
                CALM.min(writes.delay)
            } else {
                writes.delay
            };
            self.sim.up_to(most)
        };
        self.sim.after(delay, Event::WriteArrives(id));
    }

    /// Every ask is written, as a mutant has it.
    pub(crate) fn write_per_ask(&mut self, index: usize, name: &Name) {
        let target = self.scalers[index].cache.target(name);
        let Some((_, sandbox)) = target.as_ref().and_then(|target| target.sandbox.as_ref()) else {
            return;
        };
        let (uid, epoch) = (sandbox.uid.clone(), sandbox.epoch);
        let write = CoreWrite {
            what: Intent::Restore,
            uid,
            epoch,
            cause: "http",
        };
        self.issue(index, name, &write, target.as_ref());
    }

    /// A write reaches the API server, which tests and does it.
    pub(crate) fn write_arrives(&mut self, id: WriteId) {
        let now = self.sim.now();
        let pending = self.writes[id].clone();
        let mutated = match self.sim.mutant {
            Some(Mutant::FenceIgnored) => !pending.write.wakes(),
            Some(Mutant::WakePerAsk) => pending.write.wakes(),
            _ => false,
        };
        let before = self.api.before(&pending.write);
        let result = self.api.write(&pending.write, !mutated, now);
        let by = pending.by.index;
        self.sim
            .trace(|| format!("API: {:?} by scaler-{by}: {result:?}", pending.write));
        if result.is_ok() {
            self.note_written(&pending);
        } else if pending.write.wakes() {
            self.sim.coverage.wakes_fenced += 1;
        } else {
            self.sim.coverage.sleeps_fenced += 1;
        }
        self.facts.applied.push(Applied {
            pending,
            before,
            result,
        });
        let limit = self.writes[id].issued + Rules::default().write_timeout;
        if self.sim.goes_wrong(self.sim.plan.writes.lose_result) {
            self.sim.coverage.results_lost += 1;
            self.sim.trouble_for(Rules::default().drain_hold);
            return self.sim.queue.at(limit, Event::WriteAnswered(id));
        }
        let most = if self.sim.is_calm() {
            CALM
        } else {
            self.sim.plan.writes.delay
        };
        let at = now + self.sim.up_to(most);
        if at < limit {
            self.writes[id].fate = match result {
                Ok(epoch) => Written::Done(epoch),
                Err(Refusal::Conflict | Refusal::NotFound) => Written::Conflict,
            };
        }
        self.sim.queue.at(at.min(limit), Event::WriteAnswered(id));
    }

    /// The writer hears of its write, or gives it up.
    pub(crate) fn write_answered(&mut self, id: WriteId) {
        let now = self.sim.now();
        let Pending {
            by,
            target,
            asked,
            fate,
            ..
        } = self.writes[id].clone();
        let scaler = &mut self.scalers[by.index];
        if scaler.node != by || !scaler.is_up {
            return;
        }
        self.sim.trace(|| {
            format!(
                "scaler-{} hears of its write on {target}: {fate:?}",
                by.index
            )
        });
        if let Some(machine) = scaler.machines.get_mut(&target) {
            machine.core.written(&asked, &fate, now);
            self.poll_machine(by.index, &target);
        }
    }

    /// A write that cannot be addressed: its fence would hold anyway.
    fn answer_at(&mut self, now: Instant, by: Node, name: &Name, asked: &CoreWrite) {
        let uid = "".into();
        let write = Write::Bind {
            claim: name.clone(),
            uid,
            epoch: 0,
        };
        let (target, cause, known) = (name.clone(), "", Known::default());
        self.writes.push(Pending {
            by,
            target,
            write,
            asked: asked.clone(),
            issued: now,
            cause,
            known,
            fate: Written::Conflict,
        });
        self.sim
            .queue
            .at(now, Event::WriteAnswered(self.writes.len() - 1));
    }
}

fn known(write: &Write, target: &Target, now: Instant) -> Known {
    let paused = target.policy.as_ref().is_some_and(|policy| policy.paused);
    // A claim that is bound anew gets a Sandbox of its own, whatever the last one was.
    let is_of_claim = matches!(write, Write::Bind { .. });
    let Some((_, sandbox)) = target.sandbox.as_ref().filter(|_| !is_of_claim) else {
        return Known {
            paused,
            ..Known::default()
        };
    };
    Known {
        hold: sandbox.hold,
        expired: sandbox.expires.is_some_and(|at| now >= at),
        pool_member: sandbox.pool_member,
        deleting: sandbox.deleting,
        paused,
    }
}
