//! One target of the directory: its machine behind a lock of its own, and who is to hear of changes.
//!
//! The lock is held for a few instructions and never across an await. What is sent to others, and every
//! guard that would lock again when dropped, is taken out first and used after unlocking.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use reveille_activator_core::activity::Seen;
use reveille_activator_core::entry::{Arrival, Entry, Outcome, Role, Step};
use reveille_activator_core::gate::{Drain, DrainAnswer};
use reveille_activator_core::lot::TicketId;
use reveille_activator_core::view::{DenialKind, Pod, Sight, State, View};
use reveille_crds::SandboxKey;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, oneshot};

use crate::metrics::Series;
use crate::parking::{Grant, Refusal};
use crate::sight;

mod activity;
mod facts;

pub(crate) use activity::{Activity, Pulse};
pub(crate) use facts::{Facts, HttpFacts};

/// Where a request is sent: one port of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// UID of the pod.
    pub(crate) pod: Arc<str>,
    /// Where the container port is reached.
    pub(crate) address: SocketAddr,
    /// The port speaks HTTP/2 without TLS.
    pub(crate) h2c: bool,
    /// Time without a word of the pod's kernel after which a connection is dead.
    pub(crate) silence: Duration,
    /// The pod was just woken: a refused dial goes on until then.
    pub(crate) young_until: Option<Instant>,
}

/// Ports of one pod that are probed at a time. Which port serves is the client's word only: a wrong one
/// asked first must not hold up the others, and many wrong ones must not become a scan.
const MOST_PORTS: usize = 4;

/// What hangs on a ticket: the way to the request that waits.
pub(crate) type Waiter = oneshot::Sender<Result<Grant, Refusal>>;

/// Slots that have something new to report; each is in here once at most.
pub(crate) type Dirty = Mutex<Vec<Arc<Slot>>>;

/// One target.
pub(crate) struct Slot {
    key: SandboxKey,
    state: Mutex<Inner>,
    /// Tells the wake task, if there is one, that something changed.
    changed: Notify,
    /// Tells what is open that its pod is not the target's any more, or that it may be silent for another time.
    concerns: Notify,
    dirty: Arc<Dirty>,
    sight: Arc<sight::Sight>,
}

struct Inner {
    entry: Entry<Waiter>,
    facts: Arc<Facts>,
    /// What its requests count on, while it is in the directory.
    series: Option<Arc<Series>>,
    /// A task polls the entry.
    has_task: bool,
    /// What the request that began the wake asks for.
    asker: Option<Box<str>>,
    /// Container ports asked for by those who wait, that of the request that began the wake first; at
    /// most [`MOST_PORTS`].
    ports: Vec<u16>,
}

/// What the wake task is to do next.
pub(crate) struct Turn {
    pub(crate) step: Step<Waiter>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) next: Option<Instant>,
    /// To be probed until it answers.
    pub(crate) probe: Option<Pod>,
    /// Container ports asked for, the first one by the request that began the wake.
    pub(crate) ports: Vec<u16>,
    /// The watch shows no wake yet.
    pub(crate) is_asleep: bool,
}

impl Slot {
    pub(crate) fn new(
        key: SandboxKey,
        view: View,
        facts: Facts,
        dirty: Arc<Dirty>,
        sight: Arc<sight::Sight>,
    ) -> Arc<Self> {
        let mut entry = Entry::new();
        entry.observe(view, now());
        let inner = Inner {
            entry,
            facts: Arc::new(facts),
            series: None,
            has_task: false,
            asker: None,
            ports: Vec::new(),
        };
        Arc::new(Self {
            key,
            state: Mutex::new(inner),
            changed: Notify::new(),
            concerns: Notify::new(),
            dirty,
            sight,
        })
    }

    /// It is in the directory now, and its requests count on this.
    pub(crate) fn count_on(&self, series: Arc<Series>) {
        self.state.lock().series = Some(series);
    }

    /// What its requests count on.
    pub(crate) fn series(&self) -> Option<Arc<Series>> {
        self.state.lock().series.clone()
    }

    /// A wake begins with a request that asks for this.
    pub(crate) fn asked_by(&self, words: Option<Box<str>>) {
        self.state.lock().asker = words;
    }

    /// What the request that began the wake asks for.
    pub(crate) fn asker(&self) -> Option<String> {
        self.state.lock().asker.as_deref().map(str::to_owned)
    }

    /// The target's key.
    pub(crate) fn key(&self) -> &SandboxKey {
        &self.key
    }

    /// Counts one request from now until the guard drops.
    pub(crate) fn begin(self: &Arc<Self>) -> Activity {
        Activity::begin(self)
    }

    /// UID of the Sandbox object that stands for the target now.
    pub(crate) fn sandbox_uid(&self) -> Option<Arc<str>> {
        self.state.lock().facts.sandbox_uid.clone()
    }

    /// The agent's busy header, answered by that pod; 0 ends the lease.
    pub(crate) fn busy(self: &Arc<Self>, pod: &Arc<str>, seconds: u64) {
        let length = Duration::from_secs(seconds);
        self.count(|entry| entry.busy(pod, length, now()));
    }

    /// This endpoint did not take the connection: it is ignored until the watch says something newer.
    pub(crate) fn forget(&self, endpoint: &Endpoint) {
        self.tell(|entry| entry.forget(&endpoint.pod, now()));
    }

    /// Time without bytes after which an upgraded connection falls silent.
    pub(crate) fn websocket_idle(&self) -> Duration {
        self.state.lock().facts.websocket_idle
    }

    /// Time without bytes after which a response stops counting.
    pub(crate) fn stream_idle(&self) -> Option<Duration> {
        self.state.lock().facts.stream_idle
    }

    /// Whether no request would wake it now.
    pub(crate) fn is_blocked(&self) -> bool {
        self.state.lock().facts.is_blocked
    }

    /// Resolves when a pod stops being the target's, or the policy on silence is another, counted from this call.
    pub(crate) fn concern(&self) -> Notified<'_> {
        self.concerns.notified()
    }

    /// How requests are spoken to it.
    pub(crate) fn http(&self) -> HttpFacts {
        self.state.lock().facts.http
    }

    /// The watch said something. Gives the UID of the pod that is the target's no more, if it had one.
    pub(crate) fn observe(&self, view: View, facts: Facts) -> Option<Arc<str>> {
        let mut state = self.look();
        state.entry.observe(view, now());
        let before = std::mem::replace(&mut state.facts, Arc::new(facts));
        let is_told_anew = before.stream_idle != state.facts.stream_idle
            || before.websocket_idle != state.facts.websocket_idle;
        let before = before.pod.clone();
        let present = state.facts.pod.as_ref().map(|pod| &pod.uid);
        let gone = before.filter(|before| Some(&before.uid) != present);
        drop(state);
        self.changed.notify_one();
        if gone.is_some() || is_told_anew {
            self.concerns.notify_waiters();
        }
        gone.map(|pod| Arc::clone(&pod.uid))
    }

    /// Whether that is the pod requests are sent to.
    pub(crate) fn has_pod(&self, pod: &Arc<str>) -> bool {
        let state = self.state.lock();
        state
            .facts
            .pod
            .as_ref()
            .is_some_and(|present| present.uid == *pod)
    }

    /// Where the request may go, or its ticket. `take` gives the payload of a ticket. The flag says that
    /// a wake task has to be spawned.
    pub(crate) fn arrive(
        &self,
        port: u16,
        most: Option<Duration>,
        take: impl FnOnce(Role) -> Result<Waiter, Refusal>,
    ) -> (Arrival<Refusal>, Arc<Facts>, bool) {
        let mut state = self.look();
        if let Some(refusal) = undeclared(&state.facts, port) {
            return (Arrival::Turned(refusal), state.facts.clone(), false);
        }
        let is_first = !state.entry.is_waking();
        let arrival = state.entry.arrive(most, take, now());
        let mut needs_task = false;
        if matches!(arrival, Arrival::Parked { .. }) {
            needs_task = !std::mem::replace(&mut state.has_task, true);
            if is_first {
                state.ports.clear();
            }
            if state.ports.len() < MOST_PORTS && !state.ports.contains(&port) {
                state.ports.push(port);
            }
        }
        (arrival, Arc::clone(&state.facts), needs_task)
    }

    /// The client of a parked request left.
    pub(crate) fn abandon(&self, ticket: TicketId) -> bool {
        let ended = self.state.lock().entry.abandon(ticket);
        if ended.is_some() {
            self.changed.notify_one();
        }
        ended.is_some()
    }

    /// What the wake task is to do; `None` ends the task.
    pub(crate) fn turn(&self) -> Option<Turn> {
        let now = now();
        let mut state = self.look();
        if !state.entry.is_waking() {
            state.has_task = false;
            return None;
        }
        let step = state.entry.poll(now);
        Some(Turn {
            step,
            facts: Arc::clone(&state.facts),
            next: state.entry.next(now),
            probe: state.entry.probe(now).cloned(),
            ports: state.ports.clone(),
            is_asleep: matches!(state.entry.view().state, State::Asleep | State::Unknown),
        })
    }

    /// Has the wake task take a turn.
    pub(crate) fn nudge(&self) {
        self.changed.notify_one();
    }

    /// Resolves when something was told to the entry since the last turn.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The pod took a connection and passed its probe.
    pub(crate) fn opened(&self, pod: &Arc<str>) {
        self.tell(|entry| {
            entry.opened(pod);
        });
    }

    /// A scaler, or its absence, said how the wake goes.
    pub(crate) fn outcome(&self, outcome: Outcome) {
        self.tell(|entry| entry.outcome(outcome, now()));
    }

    /// A scaler wants the sandbox to sleep. A watch that does not run would not show the sleep, but what is
    /// ordered comes all the same.
    pub(crate) fn drain(&self, drain: Drain) -> DrainAnswer {
        if self.sight.get() == Sight::Blind && !drain.order {
            return DrainAnswer::Busy;
        }
        self.look().entry.drain(drain, now())
    }

    /// A released request got its first response byte, or failed.
    pub(crate) fn answered(&self, generation: u32) {
        self.tell(|entry| entry.answered(generation, now()));
    }

    /// Socket whatever waits; the wake task ends with it.
    pub(crate) fn end_all(&self) -> Vec<Waiter> {
        let mut state = self.state.lock();
        state.has_task = false;
        let ended = state.entry.end_all(DenialKind::Refused);
        drop(state);
        ended.into_iter().map(|ended| ended.payload).collect()
    }

    /// What to report, if the sandbox was ever used.
    pub(crate) fn report(&self) -> Option<Seen> {
        let mut state = self.state.lock();
        state.entry.is_known().then(|| state.entry.report(now()))
    }

    /// Changes what is reported, and puts the slot on the list of those that have news.
    fn count(self: &Arc<Self>, change: impl FnOnce(&mut Entry<Waiter>)) {
        let mut state = self.state.lock();
        let before = state.entry.is_changed();
        change(&mut state.entry);
        let is_news = !before && state.entry.is_changed();
        drop(state);
        if is_news {
            self.dirty.lock().push(Arc::clone(self));
        }
    }

    /// The state, for what depends on whether the watch runs.
    fn look(&self) -> MutexGuard<'_, Inner> {
        let mut state = self.state.lock();
        state.entry.see(self.sight.get());
        state
    }

    fn tell(&self, change: impl FnOnce(&mut Entry<Waiter>)) {
        let mut state = self.look();
        change(&mut state.entry);
        let has_task = state.has_task;
        drop(state);
        if has_task {
            self.changed.notify_one();
        }
    }
}

/// The cores' clock: tokio's, so that tests can pause it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A wake would not help whoever asks for a port that the sandbox cannot have.
fn undeclared(facts: &Facts, port: u16) -> Option<Refusal> {
    let ports = facts
        .ports
        .as_ref()
        .filter(|ports| !ports.contains(&port))?;
    Some(Refusal::PortNotDeclared {
        port,
        declared: Arc::clone(ports),
    })
}
