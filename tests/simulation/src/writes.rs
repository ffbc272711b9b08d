//! Writes of scalers on their way to the API server and back: late, lost, done without an answer.
//!
//! A write is done within [`Rules::write_timeout`] of its issue or never: the server's own limit on a
//! request, and the writer's. A writer that dies leaves its writes behind. One that is suspended may take a
//! request with it that it has begun and not sent, which then comes however late: only its fences and its
//! preconditions hold it. Something in between may hold a request back for longer than that, too: a sleep
//! that gets no answer is made sure of ([`sure`]).

mod known;
mod sure;

use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille_scaler_core::act::{Intent, Write as CoreWrite, Written};
use reveille_scaler_core::sandbox::Rules;
use reveille_scaler_core::view::{Hold, Mode};

pub(crate) use self::known::Known;
use self::known::known;
use crate::api::{Refusal, Write};
use crate::claims::{Next, Stage};
use crate::join::Target;
use crate::mutant::Mutant;
use crate::objects::{Name, Sandbox, Uid};
use crate::scaler::address;
use crate::sim::{Event, Node, NodeKind};
use crate::world::World;

/// Longest way once all is well.
const CALM: Duration = Duration::from_millis(10);

/// Of the runs in which processes are suspended: how often one is that has just begun to send a write.
const PAUSED_OVER_IT: f64 = 0.05;

/// How often the second half of a release is late.
const HALF_DONE: f64 = 0.3;

/// Time from the decision to write to the first byte.
const SEND: Duration = Duration::from_micros(50);

/// Names a write of the run.
pub(crate) type WriteId = usize;

/// One write.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) by: Node,
    pub(crate) target: Name,
    pub(crate) write: Write,
    /// Its next request.
    pub(crate) stage: Stage,
    /// As its machine asked for it; none has asked for upkeep.
    asked: Option<CoreWrite>,
    pub(crate) issued: Instant,
    pub(crate) cause: &'static str,
    pub(crate) known: Known,
    /// Its writer led when it began it, in that term.
    pub(crate) led: Option<u64>,
    /// Requests of it that are under way to the server.
    travelling: u8,
    /// Its writer was suspended with a request of it not sent yet: until then.
    pub(crate) stuck: Option<Instant>,
    /// Its first request is held back on the way.
    held: bool,
    /// Its writer has done what it could to find out what became of it.
    made_sure: bool,
    fate: Written,
    is_over: bool,
}

/// A write that reached the API server.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) pending: Pending,
    /// UID, epoch and mode that the object it went to really had.
    pub(crate) before: Option<(Uid, u64, Mode)>,
    /// UID of the Sandbox that stood for its target.
    pub(crate) bound: Option<Uid>,
    /// The hold that stood on it.
    pub(crate) hold: Option<Hold>,
    /// The busy lease that stood on it.
    pub(crate) busy_until: Option<Instant>,
    /// A release had put it to sleep, and somebody woke it by hand.
    pub(crate) by_hand: bool,
    /// A later term than its writer's, in which its target was put to sleep before.
    pub(crate) later: Option<u64>,
    pub(crate) result: Result<u64, Refusal>,
}

impl Pending {
    /// What of it the present request does: a release goes to the Sandbox before it goes to the claim.
    pub(crate) fn goes_to(&self) -> &Write {
        match (&self.write, &self.stage) {
            (
                Write::Release {
                    sandbox: Some(sandbox),
                    ..
                },
                Stage::Suspend { .. },
            ) => sandbox,
            (write, _) => write,
        }
    }
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
        let known = known(&what, target, now);
        let id = self.issue_write(by, Arc::clone(name), what, Some(write.clone()));
        self.writes[id].known = known;
    }

    /// A node sends a write, asked for by a machine or not.
    pub(crate) fn issue_write(
        &mut self,
        by: Node,
        target: Name,
        write: Write,
        asked: Option<CoreWrite>,
    ) -> WriteId {
        let now = self.sim.now();
        let scaler = &self.scalers[by.index];
        let led = scaler.election.term().filter(|_| scaler.leads(now));
        let cause = asked.as_ref().map_or("", |asked| asked.cause);
        self.writes.push(Pending {
            by,
            target,
            stage: Stage::first(&write),
            write,
            asked,
            issued: now,
            cause,
            known: Known::default(),
            led,
            travelling: 0,
            stuck: None,
            held: false,
            made_sure: false,
            fate: Written::Lost,
            is_over: false,
        });
        let id = self.writes.len() - 1;
        self.sim.queue.at(
            now + Rules::default().write_timeout,
            Event::WriteAnswered(by, id),
        );
        self.plan_half(id);
        if self.sim.goes_wrong(self.sim.plan.writes.unavailable) {
            self.writes[id].fate = Written::Unavailable("the API server is not available".into());
            let delay = self.sim.up_to(self.sim.plan.writes.delay);
            self.sim.after(delay, Event::WriteAnswered(by, id));
        } else {
            self.sim.after(SEND, Event::WriteContinues(by, id));
            self.may_pause_over(by);
        }
        id
    }

    /// Of all moments this is the worst to be suspended.
    fn may_pause_over(&mut self, by: Node) {
        let may_pause = self.sim.plan.trouble.pause.is_some();
        if may_pause && self.sim.goes_wrong(PAUSED_OVER_IT) {
            self.suspend(by);
        }
    }

    /// The next request of a write goes out.
    fn send_write(&mut self, id: WriteId) {
        let now = self.sim.now();
        let by = self.writes[id].by;
        let writes = self.sim.plan.writes;
        let limit = self.writes[id].issued + Rules::default().write_timeout;
        if self.sim.goes_wrong(writes.lose) || self.is_offline(NodeKind::Scaler, by.index) {
            self.sim.coverage.writes_lost += 1;
            return self.sim.trouble_for(Rules::default().drain_hold);
        }
        if let Some(delay) = self.held_back(id) {
            let stage = self.writes[id].stage.clone();
            return self.sim.after(delay, Event::WriteArrives(id, stage));
        }
        let is_slow = now < self.scalers[by.index].lease_back && self.sim.goes_wrong(0.5);
        // Between the two halves of a release is the worst moment to be slow.
        let is_half_done = matches!(self.writes[id].stage, Stage::Delete { .. });
        let late = writes.late.max(if is_half_done { HALF_DONE } else { 0.0 });
        let delay = if is_slow || self.sim.goes_wrong(late) {
            self.sim.coverage.writes_late += 1;
            self.sim.trouble_for(Rules::default().drain_hold);
            self.sim.up_to(limit.saturating_duration_since(now))
        } else {
            self.sim.up_to(self.way())
        };
        // The server gives up what comes later, and so it is as if it had never come.
        if now + delay <= limit {
            self.writes[id].travelling += 1;
            let stage = self.writes[id].stage.clone();
            self.sim.after(delay, Event::WriteArrives(id, stage));
            self.may_pause_over(by);
        }
    }

    /// Longest way of a request or an answer.
    fn way(&self) -> Duration {
        let delay = self.sim.plan.writes.delay;
        if self.sim.is_calm() {
            CALM.min(delay)
        } else {
            delay
        }
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

    /// A request of a write reaches the API server, which tests and does it.
    pub(crate) fn write_arrives(&mut self, id: WriteId, stage: Stage) {
        let now = self.sim.now();
        let mut pending = self.writes[id].clone();
        let is_awaited = pending.stage == stage;
        pending.stage = stage;
        if let Some(until) = pending.stuck.filter(|until| now < *until) {
            return self
                .sim
                .queue
                .at(until, Event::WriteArrives(id, pending.stage));
        }
        let travelling = &mut self.writes[id].travelling;
        *travelling = travelling.saturating_sub(1);
        let before = self.api.before(pending.goes_to());
        let standing = self.api.standing(&pending.target);
        let bound = standing.map(|(_, sandbox)| Arc::clone(sandbox));
        let done = self.serve(&pending);
        let by = pending.by;
        self.sim.trace(|| {
            let Pending { write, stage, .. } = &pending;
            format!("API: {write:?} by scaler-{}, {stage:?}: {done:?}", by.index)
        });
        if let Some(result) = done.result {
            self.note_result(pending, before, bound, result);
        }
        if self.sim.goes_wrong(self.sim.plan.writes.lose_result)
            || self.is_offline(NodeKind::Scaler, by.index)
        {
            self.sim.coverage.results_lost += 1;
            return self.sim.trouble_for(Rules::default().drain_hold);
        }
        let at = now + self.sim.up_to(self.way());
        if !is_awaited || at >= self.heard_until(id) {
            return;
        }
        match done.next {
            Next::Then(stage) => {
                self.writes[id].stage = stage;
                self.sim.queue.at(at, Event::WriteContinues(by, id));
            }
            Next::Done(fate) => {
                self.writes[id].fate = fate;
                self.sim.queue.at(at, Event::WriteAnswered(by, id));
            }
        }
    }

    /// The writer hears of one request of a write and sends the next, unless it has given it up.
    pub(crate) fn write_continues(&mut self, id: WriteId) {
        let is_late = self.sim.now() >= self.writes[id].issued + Rules::default().write_timeout;
        match self.sim.mutant {
            Some(Mutant::DeadlineAnew) if is_late => {
                self.writes[id].issued = self.sim.now();
                self.send_write(id);
            }
            _ if is_late || self.writes[id].is_over => {}
            _ => self.send_write(id),
        }
    }

    fn note_result(
        &mut self,
        pending: Pending,
        before: Option<(Uid, u64, Mode)>,
        standing: Option<Arc<Sandbox>>,
        result: Result<u64, Refusal>,
    ) {
        let is_delete = matches!(pending.stage, Stage::Delete { .. });
        let by_hand = standing
            .as_ref()
            .filter(|_| is_delete)
            .is_some_and(|it| it.releasing.is_some() && it.mode == Mode::Running);
        if result.is_ok() {
            self.note_written(&pending, by_hand);
        } else if pending.write.wakes() {
            self.sim.coverage.wakes_fenced += 1;
        } else {
            self.sim.coverage.sleeps_fenced += 1;
        }
        let mut later = None;
        if let Some(term) = pending
            .led
            .filter(|_| result.is_ok() && !pending.write.wakes())
        {
            let need = self.needs.entry(Arc::clone(&pending.target)).or_default();
            later = Some(need.term).filter(|done| *done > term);
            need.term = need.term.max(term);
        }
        self.facts.applied.push(Applied {
            pending,
            before,
            hold: standing.as_ref().and_then(|sandbox| sandbox.hold),
            busy_until: standing.as_ref().and_then(|sandbox| sandbox.busy_until),
            by_hand,
            bound: standing.map(|sandbox| Arc::clone(&sandbox.uid)),
            later,
            result,
        });
    }

    /// The writer hears of its write, or gives it up.
    pub(crate) fn write_answered(&mut self, id: WriteId) {
        let now = self.sim.now();
        if std::mem::replace(&mut self.writes[id].is_over, true) {
            return;
        }
        let Pending {
            by,
            target,
            asked,
            fate,
            stage,
            issued,
            ..
        } = self.writes[id].clone();
        if fate == Written::Lost {
            // Nothing is tried anew before the gates of its drain run out.
            let gates = issued + Rules::default().drain_hold;
            self.sim.trouble_for(gates.saturating_duration_since(now));
        }
        if let (Some(Mutant::MemoryTakenBack), Written::Lost, Stage::Delete { memory, .. }) =
            (self.sim.mutant, &fate, &stage)
        {
            self.api.forget(&target, memory);
        }
        let Some(asked) = asked else { return };
        let fate = match (self.sim.mutant, fate) {
            (Some(Mutant::OthersWakeTold), Written::Overtaken(epoch)) => Written::Done(epoch),
            (_, fate) => fate,
        };
        self.sim.trace(|| {
            let index = by.index;
            format!("scaler-{index} hears of its write on {target}: {fate:?}")
        });
        let scaler = &mut self.scalers[by.index];
        if let Some(machine) = scaler.machines.get_mut(&target) {
            machine.core.written(&asked, &fate, now);
            self.poll_machine(by.index, &target);
        }
    }

    /// A node is suspended until then: of its requests that are under way some have not left it yet.
    pub(crate) fn stick_writes(&mut self, by: Node, until: Instant) {
        for id in 0..self.writes.len() {
            let pending = &self.writes[id];
            if pending.by == by && pending.travelling > 0 && self.sim.rng.bool() {
                let late = until + self.sim.up_to(CALM);
                self.writes[id].stuck = Some(late);
                self.sim.coverage.writes_stuck += 1;
            }
        }
    }

    /// A write that cannot be addressed: its fence would hold anyway.
    fn answer_at(&mut self, now: Instant, by: Node, name: &Name, asked: &CoreWrite) {
        let write = Write::Collect {
            claim: Arc::clone(name),
            memory: "".into(),
        };
        self.writes.push(Pending {
            by,
            target: Arc::clone(name),
            stage: Stage::first(&write),
            write,
            asked: Some(asked.clone()),
            issued: now,
            cause: "",
            known: Known::default(),
            led: None,
            travelling: 0,
            stuck: None,
            held: false,
            made_sure: false,
            fate: Written::Conflict,
            is_over: false,
        });
        let id = self.writes.len() - 1;
        self.sim.queue.at(now, Event::WriteAnswered(by, id));
    }
}
