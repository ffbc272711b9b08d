//! The fleet's task: every machine, one timer queue, and the queue of writes.
//!
//! All state is owned by one task, so there is no lock. An idle sandbox costs its entry in the map, and
//! one in the timer queue if it is to sleep some day.

mod counting;
mod doing;
mod entry;
mod hearing;
mod listing;
mod looking;
mod marks;
mod mistakes;
mod records;
mod standing;
mod telling;
mod upkeep;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use reveille_crds::SandboxKey;
use reveille_crds::change::Change;
use reveille_crds::index::Index;
use reveille_crds::message::ToActivator;
use reveille_scaler_core::act::Act;
use reveille_scaler_core::budget::Budget;
use reveille_scaler_core::explain::State;
use reveille_scaler_core::overlooked::Overlooked;
use reveille_scaler_core::roster::Roster;
use reveille_scaler_core::sandbox::Rules;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use self::doing::{Done, Job};
use self::entry::Entry;
use self::looking::Look;
use self::marks::Marks;
use self::records::Records;
pub(crate) use self::telling::flapping;
use crate::apply::Objects;
use crate::config::Config;
use crate::journal::Journal;
use crate::status::Tallies;
use crate::{Carrier, Error, api};

/// Messages to the activators that wait because their channel is full. They are hints, or repeated, so the
/// oldest goes when there are more: 4,096 of about 200 bytes are under 1 MiB.
const OUTBOX: usize = 4096;

/// Everything the task owns but its channels.
pub(crate) struct Fleet {
    config: Config,
    rules: Arc<Rules>,
    objects: Objects,
    index: Index,
    roster: Roster<SandboxKey>,
    overlooked: Overlooked<SandboxKey>,
    entries: HashMap<SandboxKey, Entry>,
    timers: BTreeSet<(Instant, SandboxKey)>,
    budget: Budget<Job>,
    doing: JoinSet<Done>,
    writing: usize,
    /// Of these, what only informs.
    informing: usize,
    /// Of these, wakes that are ours to write first.
    waking: usize,
    asking: usize,
    marks: Marks,
    /// Agents to be asked whether they are busy; at most one entry per awake sandbox.
    to_ask: VecDeque<(SandboxKey, Arc<str>)>,
    outbox: VecDeque<ToActivator>,
    /// Answers of the API that wait for a report, in the order in which their time is over.
    looks: VecDeque<Look>,
    look_number: u64,
    synced_at: Option<Instant>,
    tallies: Tallies,
    /// Records of released claims that are to be removed one day.
    records: Records,
    events_waiting: usize,
    journal: Journal,
    /// Where the drains of the next machine are numbered from.
    nonce: u64,
    /// As it was last said.
    led: bool,
    /// Activators that were last said to be silent; some of the members.
    silent: BTreeSet<Arc<str>>,
}

impl Fleet {
    pub(crate) fn new(config: Config, objects: Objects, journal: Journal) -> Self {
        let now = tokio::time::Instant::now().into_std();
        let rules = Rules {
            wake_unmanaged: config.wake_unmanaged,
            unmanaged_wake_deadline: config.unmanaged_wake_deadline,
            unmanaged_progress_deadline: config.unmanaged_progress_deadline,
            drain_timeout: config.drain_timeout,
            drain_hold: config.drain_hold,
            write_timeout: config.write_timeout,
            ..Rules::default()
        };
        let led = config.leader.leads();
        journal.metrics.leads(led);
        let mut roster = Roster::new(config.member_silence, now);
        roster.set_members(config.members.borrow().iter());
        Self {
            rules: Arc::new(rules),
            objects,
            index: Index::default(),
            roster,
            overlooked: Overlooked::default(),
            entries: HashMap::new(),
            timers: BTreeSet::new(),
            budget: Budget::new(config.writes_per_second, config.write_burst, now),
            doing: JoinSet::new(),
            writing: 0,
            informing: 0,
            waking: 0,
            asking: 0,
            marks: Marks::default(),
            to_ask: VecDeque::new(),
            outbox: VecDeque::new(),
            looks: VecDeque::new(),
            look_number: uuid::Uuid::new_v4().as_u64_pair().0,
            synced_at: None,
            tallies: Tallies::default(),
            records: Records::default(),
            events_waiting: 0,
            journal,
            // Another start of the scaler must not number its drains alike.
            nonce: uuid::Uuid::new_v4().as_u64_pair().0,
            led,
            silent: BTreeSet::new(),
            config,
        }
    }

    /// Runs until `shutdown`, or until watch or carrier end.
    pub(crate) async fn run(
        mut self,
        mut changes: mpsc::Receiver<Change>,
        carrier: Carrier,
        mut api: api::Receiver,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let Carrier {
            to_activators,
            mut from_activators,
            mut link,
            events: _,
        } = carrier;
        let (mut leader, mut members) = (self.config.leader.clone(), self.config.members.clone());
        let mut current = self.config.current.clone();
        let (mut api_open, mut link_open, mut members_open, mut current_open) =
            (true, true, true, true);
        self.set_linked(*link.borrow_and_update());
        self.set_members(&members.borrow_and_update().clone());
        self.look_at_lead();
        let ended = loop {
            self.work(&to_activators);
            let due = self.due();
            tokio::select! {
                // What only finishes or speeds up work comes first, so that nothing can starve it: results,
                // then room in the carrier, then timers. Facts come before hints.
                biased;
                () = shutdown.cancelled() => break Ok(()),
                Some(done) = self.doing.join_next(), if !self.doing.is_empty() => match done {
                    Ok(done) => self.done(done),
                    // What it was to bring back would be awaited for ever.
                    Err(error) => break Err(Error::TaskFailed(error.to_string())),
                },
                permit = to_activators.reserve(), if !self.outbox.is_empty() => match permit {
                    Ok(permit) => if let Some(message) = self.outbox.pop_front() { permit.send(message) },
                    Err(_) => break Err(Error::CarrierEnded),
                },
                () = sleep_until(due.unwrap_or_else(now).into()), if due.is_some() => self.fire(),
                up = link.changed(), if link_open => match up {
                    Ok(()) => self.set_linked(*link.borrow_and_update()),
                    Err(_) => link_open = false,
                },
                () = leader.changed() => self.look_at_lead(),
                changed = current.changed(), if current_open => match changed {
                    Ok(()) => self.look_at_lead(),
                    Err(_) => current_open = false,
                },
                changed = members.changed(), if members_open => match changed {
                    Ok(()) => self.set_members(&members.borrow_and_update().clone()),
                    Err(_) => members_open = false,
                },
                request = api.0.recv(), if api_open => match request {
                    Some(request) => self.serve(request),
                    None => api_open = false,
                },
                change = changes.recv() => match change {
                    Some(change) => self.learn(change),
                    None => break Err(Error::WatchEnded),
                },
                message = from_activators.recv() => match message {
                    Some(message) => self.hear(message),
                    None => break Err(Error::CarrierEnded),
                },
            }
        };
        self.finish().await;
        ended
    }

    /// Takes a change of the watch. Half a picture is not looked at: of a claim and its record either may be
    /// told first.
    fn learn(&mut self, change: Change) {
        // Our own write of a status comes back too, and is no news.
        let policy = match &change {
            Change::Policy(key, facts) if self.index.policies().get(key) != facts.as_ref() => {
                Some((key.clone(), self.index.reach_of(key, facts.as_ref())))
            }
            _ => None,
        };
        let synced = change == Change::Synced;
        let touched = self.index.apply(change);
        if self.synced_at.is_some() {
            for key in touched {
                self.see(&key);
            }
        }
        if let Some((policy, reach)) = policy
            && self.synced_at.is_some()
        {
            for key in reach {
                self.see_rule(&key);
            }
            self.tallies
                .policies_changed(policy.namespace(), &self.index, now());
        }
        if synced && self.synced_at.is_none() {
            self.start();
        }
    }

    /// Everything that existed is known: decide about all of it.
    fn start(&mut self) {
        self.synced_at = Some(now());
        // What was reported of sandboxes that were not known yet has been passed over.
        self.roster.reset(now());
        self.ask_reports(now());
        let namespaces: BTreeSet<String> = self
            .index
            .policies()
            .iter()
            .map(|(key, _)| key.namespace().to_owned())
            .collect();
        for namespace in namespaces {
            self.tallies
                .policies_changed(&namespace, &self.index, now());
        }
        let keys: Vec<_> = self.index.targets().collect();
        for key in &keys {
            self.see(key);
        }
        let states = self.entries.values().filter_map(|entry| entry.state);
        let awake = states.filter(|state| *state == State::Awake).count();
        let known = keys.len();
        if self.config.is_beside_its_activator {
            debug!(
                known,
                awake, "{known} sandboxes are known, {awake} are awake"
            );
        } else {
            info!(
                known,
                awake, "{known} sandboxes are known, {awake} are awake"
            );
        }
    }

    /// When something is due by itself.
    fn due(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let write = self
            .budget
            .next_down_to(self.last_class(), self.waking, now());
        let write = write.filter(|_| self.may_write());
        let silence = self.roster.lapses_at(now());
        let reports = self.overlooked.due();
        let looks = self.looks_due();
        let all = [timer, write, silence, reports, looks, self.upkeep_due()];
        all.into_iter().flatten().min()
    }

    /// Fires one timer that is due; the loop comes back for the next.
    fn fire(&mut self) {
        let now = now();
        self.look_at_silence();
        self.stop_looking(now);
        if self.overlooked.take(now) {
            self.ask_reports(now);
        }
        self.keep_up(now);
        let Some((_, key)) = self.timers.first().filter(|(at, _)| *at <= now).cloned() else {
            return;
        };
        if let Some((at, _)) = self.timers.pop_first()
            && let Some(entry) = self.entries.get_mut(&key)
        {
            debug_assert_eq!(entry.due, Some(at), "a timer belongs to its entry");
            entry.due = None;
        }
        self.touch(&key);
    }

    fn say(&mut self, message: ToActivator) {
        if self.outbox.len() == OUTBOX {
            self.outbox.pop_front();
        }
        self.outbox.push_back(message);
    }

    fn act(&mut self, key: &SandboxKey, act: Act) {
        match act {
            Act::Write(write) => self.queue_write(key, write),
            Act::AskBusy { pod } => self.to_ask.push_back((key.clone(), pod)),
            Act::Note(note) => self.note(key, &note),
            Act::Tell(tell) => self.tell(key, tell),
            Act::Drain {
                epoch,
                uid,
                nonce,
                hold,
                order,
            } => self.tell_drain(key, (epoch, uid, nonce), hold, order),
            Act::Undrain { nonce } => self.tell_undrain(key, nonce),
        }
    }
}

/// The clock that tests can pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
