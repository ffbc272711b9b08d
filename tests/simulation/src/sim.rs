//! What every part of the model shares: the clock, the dice, the plan, the trace.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::busy::Busy;
use crate::claims::Stage;
use crate::clients::Visit;
use crate::cluster::PodStep;
use crate::coverage::Coverage;
use crate::election::{Answer, Request};
use crate::exchange::Leg;
use crate::message::{ToActivator, ToScaler};
use crate::mutant::Mutant;
use crate::objects::{Name, Uid};
use crate::plan::Plan;
use crate::queue::Queue;
use crate::requests::RequestId;
use crate::trace::Trace;
use crate::trouble::Kind;
use crate::watch::News;
use crate::writes::WriteId;

/// An activator or a scaler, in one of its lives: what is meant for an earlier one is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    pub(crate) index: usize,
    pub(crate) life: u32,
}

impl Node {
    /// For the trace.
    pub(crate) fn label(&self) -> String {
        format!("{:?} {}", self.kind, self.index)
    }
}

/// The two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NodeKind {
    Activator,
    Scaler,
}

/// Everything that can happen.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// The sandbox controller looks at this name.
    Reconcile(Name),
    /// The next thing happens to a pod.
    Pod(Name, Uid, PodStep),
    /// A watch that broke so often tells a node something.
    Watched(Node, u32, News),
    /// A broken watch of a node lists anew.
    Relist(Node, usize),
    /// Neither claim nor memory of this name has come since one of them vanished.
    LetGo(Node, Name, Instant),
    /// A node starts.
    Start(NodeKind, usize),
    /// A node has been told everything that existed when it started.
    Synced(Node),
    /// Clients are led to an activator.
    Serves(Node),
    /// Containers of activators have started or ended.
    Members,
    /// A scaler sees which activators have a running container.
    MembersSeen(Node, Vec<Arc<str>>),
    /// The carrier delivers to a scaler.
    ToScaler(Node, ToScaler),
    /// The carrier delivers to an activator.
    ToActivator(Node, ToActivator),
    /// An activator's report is due.
    Report(Node),
    /// A slot asked to be polled.
    PollSlot(Node, Name, Instant),
    /// An activator probes a pod.
    Probe(Node, Name, Uid),
    /// Something happens to a request.
    Exchange(RequestId, u32, Leg),
    /// What is open towards a pod that an activator has seen leave is over.
    PodOver(Node, Uid),
    /// A machine of a scaler asked to be polled.
    PollMachine(Node, Name, Instant),
    /// An agent has answered a scaler whether it is busy, or has not.
    BusyAnswer(Node, Name, Uid, Busy),
    /// A scaler's write budget has a token again.
    Budget(Node),
    /// A write reaches the API server.
    WriteArrives(WriteId, Stage),
    /// Half of the time of a sleep's write is over.
    WriteHalf(Node, WriteId),
    /// The writer hears of one request of its write.
    WriteContinues(Node, WriteId),
    /// The writer hears of its write, or gives it up.
    WriteAnswered(Node, WriteId),
    /// A memory beside a live claim may be removed.
    Collect(Node, Name, Uid),
    /// An election asked to be polled.
    PollElection(Node, Instant),
    /// A step of an election reaches the API server.
    LeaseArrives(Node, Request),
    /// A scaler hears of a step of its election.
    LeaseAnswered(Node, Answer),
    /// Clients come to a target.
    Visit(Visit),
    /// Trouble of a kind is due.
    Trouble(Kind),
    /// An activator or scaler notices whether its watches are.
    Look(Node),
    /// An activator or scaler notices whether its carrier is up.
    Linked(Node),
    /// Faults and load end.
    Calm,
}

/// Shared by every part of the model.
#[derive(Debug)]
pub(crate) struct Sim {
    pub(crate) queue: Queue<Event>,
    pub(crate) rng: Rng,
    pub(crate) plan: Plan,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) coverage: Coverage,
    /// When something last went wrong: promises about time count from here.
    pub(crate) troubled: Instant,
    trace: Trace,
    is_calm: bool,
}

impl Sim {
    /// The first instant of the run of `seed`.
    pub(crate) fn new(seed: u64, mutant: Option<Mutant>, depth: usize) -> Self {
        let queue = Queue::new();
        let mut rng = Rng::with_seed(seed);
        let mut plan = Plan::of(&mut rng);
        plan.slow_down(seed);
        if let Some(mutant) = mutant {
            plan.suit(mutant);
        }
        let trace = Trace::new(queue.start(), depth);
        let troubled = queue.start();
        let coverage = Coverage::default();
        let is_calm = false;
        Self {
            queue,
            rng,
            plan,
            mutant,
            coverage,
            troubled,
            trace,
            is_calm,
        }
    }

    /// The present instant.
    pub(crate) const fn now(&self) -> Instant {
        self.queue.now()
    }

    /// `event` happens after `delay`.
    pub(crate) fn after(&mut self, delay: Duration, event: Event) {
        self.queue.after(delay, event);
    }

    /// Notes a line.
    pub(crate) fn trace(&mut self, line: impl FnOnce() -> String) {
        self.trace.note(self.queue.now(), line);
    }

    /// The lines noted.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.trace.lines()
    }

    /// Throws dice of this probability.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.f64() < probability
    }

    /// A fault of this probability: none once it is calm; promises about time start anew.
    pub(crate) fn goes_wrong(&mut self, probability: f64) -> bool {
        let wrong = !self.is_calm && self.happens(probability);
        if wrong {
            self.trouble();
        }
        wrong
    }

    /// Promises about time start anew.
    pub(crate) fn trouble(&mut self) {
        self.trouble_for(Duration::ZERO);
    }

    /// Promises about time start anew when what happened now has run its course.
    pub(crate) fn trouble_for(&mut self, duration: Duration) {
        self.troubled = self.troubled.max(self.now() + duration);
    }

    /// A time up to `most`, at least a twentieth of it.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(20);
        Duration::from_micros(self.rng.u64(most / 20..=most))
    }

    /// Whether faults and load have ended.
    pub(crate) const fn is_calm(&self) -> bool {
        self.is_calm
    }

    /// Faults and load end.
    pub(crate) fn calm_down(&mut self) {
        self.is_calm = true;
        self.trouble();
    }
}
