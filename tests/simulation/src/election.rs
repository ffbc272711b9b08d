//! The lease object, and the scalers' way to it: the steps of the election core as requests to the API server.
//!
//! A step reaches the server late or never, and its sender gives it up after a third of the renew deadline;
//! what arrives after that is done all the same. Both scalers bear the same name in every life, which is the
//! harder case: whose lease it is cannot be told by the name.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille_scaler_core::election::{Outcome, Record, Step};

use crate::message::ToActivator;
use crate::mutant::Mutant;
use crate::objects::Name;
use crate::sim::{Event, Node, NodeKind};
use crate::world::World;

/// As long as a leader of a mutant leads.
const FOR_EVER: Duration = Duration::from_secs(86_400);

/// The lease as it is in the API.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    record: Option<Record>,
    versions: u64,
    /// `renewTime`, by the clock of who wrote it. Nobody but a mutant looks at it.
    renewed: Option<Instant>,
}

/// A step on its way.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) step: Step,
    /// Its sender gives it up then.
    limit: Instant,
}

/// What its sender hears.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    step: Step,
    outcome: Outcome,
    /// Of a read that succeeded.
    shown: Option<Shown>,
}

#[derive(Clone, Debug)]
struct Shown {
    record: Option<Record>,
    renewed: Option<Instant>,
}

impl Lease {
    /// Does a step, if the lease has the version that it expects.
    fn take(&mut self, step: &Step, identity: &Arc<str>, now: Instant) -> Outcome {
        let transitions = |record: &Option<Record>| record.as_ref().map_or(0, |it| it.transitions);
        let (version, holder, transitions) = match step {
            Step::Read => return Outcome::Unknown,
            Step::Create { transitions } => (None, Some(identity), *transitions),
            Step::Take {
                version,
                transitions,
            } => (Some(version), Some(identity), *transitions),
            Step::Renew { version } => (Some(version), Some(identity), transitions(&self.record)),
            Step::GiveUp { version } => (Some(version), None, transitions(&self.record)),
        };
        if self.record.as_ref().map(|record| &record.version) != version {
            return Outcome::Conflict;
        }
        self.versions += 1;
        let version: Arc<str> = self.versions.to_string().into();
        self.record = Some(Record {
            version: Arc::clone(&version),
            holder: holder.cloned(),
            transitions,
            // All scalers of a run go by the same intervals.
            lease: Duration::ZERO,
        });
        self.renewed = Some(now);
        Outcome::Written(version)
    }
}

impl World {
    /// The scaler that leads in truth, whatever others believe.
    pub(crate) fn leader(&self) -> Option<usize> {
        let now = self.sim.now();
        let leads = |index: &usize| self.scalers[*index].leads(now);
        (0..self.scalers.len()).find(leads)
    }

    /// Asks an election what is to be done, does it, and arranges for its next call.
    pub(crate) fn poll_election(&mut self, index: usize) {
        let now = self.sim.now();
        let scaler = &mut self.scalers[index];
        let node = scaler.node;
        let poll = scaler.election.poll(now);
        if let Some(at) = poll.next.filter(|_| scaler.election_due != poll.next) {
            scaler.election_due = Some(at);
            self.sim.queue.at(at, Event::PollElection(node, at));
        }
        if let Some(step) = poll.step {
            self.send_step(node, step);
        }
        self.tell_lead(index);
    }

    /// The instant at which an election asked to be called has come.
    pub(crate) fn election_due(&mut self, index: usize, at: Instant) {
        if self.scalers[index].election_due == Some(at) {
            self.scalers[index].election_due = None;
            self.poll_election(index);
        }
    }

    fn send_step(&mut self, node: Node, step: Step) {
        let now = self.sim.now();
        let writes = self.sim.plan.writes;
        let limit = now + self.sim.plan.lease.renew_deadline / 3;
        if step != Step::Read {
            self.sim
                .trace(|| format!("scaler-{} sends {step:?}", node.index));
        }
        let is_lost = self.is_offline(NodeKind::Scaler, node.index)
            || now < self.scalers[node.index].lease_back;
        if is_lost || self.sim.goes_wrong(writes.lose) {
            return self.give_up_step(node, limit, step);
        }
        let delay = if self.sim.goes_wrong(writes.late) {
            self.sim.up_to(self.sim.plan.lease.lease)
        } else {
            self.sim.up_to(writes.delay)
        };
        if now + delay >= limit {
            self.give_up_step(node, limit, step.clone());
        }
        let request = Request { step, limit };
        self.sim.after(delay, Event::LeaseArrives(node, request));
    }

    fn give_up_step(&mut self, node: Node, limit: Instant, step: Step) {
        let answer = Answer {
            step,
            outcome: Outcome::Unknown,
            shown: None,
        };
        self.sim.queue.at(limit, Event::LeaseAnswered(node, answer));
    }

    /// A step reaches the API server, be its sender dead by now.
    pub(crate) fn lease_arrives(&mut self, node: Node, request: Request) {
        let now = self.sim.now();
        let Request { step, limit } = request;
        let identity = Arc::clone(&self.scalers[node.index].identity);
        let lease = &mut self.api.lease;
        let shown = (step == Step::Read).then(|| Shown {
            record: lease.record.clone(),
            renewed: lease.renewed,
        });
        let outcome = lease.take(&step, &identity, now);
        if now >= limit {
            return;
        }
        let delay = self.sim.up_to(self.sim.plan.writes.delay);
        let is_lost = self.sim.goes_wrong(self.sim.plan.writes.lose_result)
            || self.is_offline(NodeKind::Scaler, node.index);
        if is_lost || now + delay >= limit {
            return self.give_up_step(node, limit, step);
        }
        let answer = Answer {
            step,
            outcome,
            shown,
        };
        self.sim.after(delay, Event::LeaseAnswered(node, answer));
    }

    /// A scaler hears of its step.
    pub(crate) fn lease_answered(&mut self, index: usize, answer: Answer) {
        let now = self.sim.now();
        let by_wall_clock = self.sim.mutant == Some(Mutant::ElectionByWallClock);
        let scaler = &mut self.scalers[index];
        let Answer {
            step,
            outcome,
            shown,
        } = answer;
        match shown {
            Some(Shown { record, renewed }) => {
                // A clock that goes far ahead of the holder's finds its times long past.
                let skewed = renewed.map(|at| at - self.sim.plan.lease.lease);
                let seen_at = skewed.filter(|_| by_wall_clock).unwrap_or(now);
                scaler.election.observed(record, seen_at);
            }
            None => scaler.election.done(&step, &outcome, now),
        }
        self.poll_election(index);
    }

    /// Tells the machines of a scaler until when it leads.
    fn tell_lead(&mut self, index: usize) {
        let now = self.sim.now();
        let unchecked = self.sim.mutant == Some(Mutant::LeadUnchecked);
        let scaler = &mut self.scalers[index];
        let (led, leads) = (scaler.led, scaler.leads(now));
        let mut until = scaler.election.leads_until();
        if unchecked && leads {
            until = Some(now + FOR_EVER);
        }
        scaler.roster.lead_until(until, now);
        scaler.led = leads;
        if led == leads {
            return;
        }
        self.sim.trouble();
        let term = scaler.election.term().unwrap_or_default();
        let verb = if leads { "leads" } else { "leads no more" };
        self.sim
            .trace(|| format!("scaler-{index} {verb}, term {term}"));
        if leads {
            self.sim.coverage.leader_changes += 1;
            self.send_to_activators(index, &ToActivator::Sync);
        } else {
            self.sim.coverage.leads_lost += 1;
        }
        let names: Vec<Name> = self.scalers[index].machines.keys().cloned().collect();
        for name in names {
            self.poll_machine(index, &name);
        }
    }
}
