//! What the fleet's task has under way outside itself: writes within their budget, questions to agents.

use std::sync::Arc;
use std::time::Duration;

use reveille_crds::SandboxKey;
use reveille_crds::message::ToActivator;
use reveille_crds::names::DEFAULT_PORT;
use reveille_crds::scaled_sandbox::ScaledSandboxStatus;
use reveille_scaler_core::act::Write;
use reveille_scaler_core::budget::{Class, is_mine};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::marks::Place;
use super::records::Removal;
use super::upkeep::remove;
use super::{Fleet, now};
use crate::apply::{Event, Failure};
use crate::busy_probe::Question;
use crate::observe::Clocks;
use crate::{apply, busy_probe};

/// Writes under way at a time: at 50 a second and 4 s at worst each, 200 would be the most; a server that
/// slow is not helped by more than 64.
const WRITES: usize = 64;
/// Of these, writes that only inform: a slow taker of events must not keep a wake waiting.
const INFORMING: usize = 16;
/// Questions to agents under way at a time: each is one connection for at most 2 s.
const QUESTIONS: usize = 64;

/// A write waiting for its turn: two per target at most, one per policy, one per record, and a bounded number
/// of events and marks.
pub(super) enum Job {
    Write {
        key: SandboxKey,
        write: Write,
        /// A wake that this scaler writes before others do.
        is_mine: bool,
    },
    Status {
        policy: SandboxKey,
    },
    Remove {
        claim: SandboxKey,
        removal: Removal,
    },
    /// The claim, of this UID, is to sleep as it is from now on.
    KeepBound {
        claim: SandboxKey,
        uid: Arc<str>,
    },
    Event(Box<Event>),
    Mark(Place),
}

/// What a task of ours brought back.
pub(super) enum Done {
    Written {
        key: SandboxKey,
        write: Write,
        is_mine: bool,
        done: Result<u64, Failure>,
    },
    Status {
        policy: SandboxKey,
        done: Result<Option<Box<ScaledSandboxStatus>>, Failure>,
    },
    Removed {
        claim: SandboxKey,
        done: Result<(), Failure>,
    },
    KeptBound {
        claim: SandboxKey,
        done: Result<(), Failure>,
    },
    Told(Result<(), Failure>),
    Asked {
        key: SandboxKey,
        pod: Arc<str>,
        answer: Result<Duration, busy_probe::Error>,
    },
    Marked,
}

impl Fleet {
    pub(super) fn queue_write(&mut self, key: &SandboxKey, write: Write) {
        let is_wake = write.what.is_wake();
        let is_mine = is_wake && is_mine(key.name(), self.led);
        let key = key.clone();
        let job = Job::Write {
            key,
            write,
            is_mine,
        };
        if is_wake {
            self.budget.push_wake(job, is_mine, now());
        } else {
            self.budget.push(Class::Sleep, job);
        }
    }

    pub(super) fn may_write(&self) -> bool {
        self.writing < WRITES
    }

    /// The last class of writes that may begin now. As many marks under way as may be keep back everything but
    /// wakes until one of them is answered; then marks and sleeps take turns. So sleeps go on by at least those 16
    /// in the time of a write, which is four a second where the API server takes all of its 4 s.
    pub(super) fn last_class(&self) -> Class {
        match () {
            () if self.marks.are_many() => Class::Wake,
            () if self.informing < INFORMING => Class::Event,
            () => Class::Sleep,
        }
    }

    /// Starts whatever may start now, and hands over what the carrier takes.
    pub(super) fn work(&mut self, to_activators: &mpsc::Sender<ToActivator>) {
        while self.may_write()
            && let Some(job) = self
                .budget
                .pop_down_to(self.last_class(), self.waking, now())
        {
            if !self.begin(job) {
                self.budget.give_back();
            }
        }
        while self.asking < QUESTIONS
            && let Some((key, pod)) = self.to_ask.pop_front()
        {
            self.ask(key, pod);
        }
        while let Some(message) = self.outbox.pop_front() {
            match to_activators.try_send(message) {
                Ok(()) => {}
                Err(TrySendError::Full(message) | TrySendError::Closed(message)) => {
                    self.outbox.push_front(message);
                    break;
                }
            }
        }
        let metrics = &self.journal.metrics;
        metrics.waiting(self.timers.len(), self.budget.len());
    }

    /// Begins it; false: it is not to be done any more.
    fn begin(&mut self, job: Job) -> bool {
        let (objects, limit) = (self.objects.clone(), self.config.write_timeout);
        match job {
            Job::Write {
                key,
                write,
                is_mine,
            } => return self.begin_write(key, write, is_mine),
            Job::Mark(place) => {
                let Some(due) = self.marks.begin(&place) else {
                    return false;
                };
                self.writing += 1;
                self.doing.spawn(async move {
                    let sandbox = &place.sandbox;
                    let done = apply::mark(&objects, sandbox, &due.uid, due.mark, limit).await;
                    due.answer(done);
                    Done::Marked
                });
                return true;
            }
            Job::Status { policy } => {
                let wall = Clocks::read().wall;
                let leads = self.config.leader.leads();
                let Some(due) = self.tallies.begin(&policy, leads, &self.index, wall) else {
                    return false;
                };
                if let Some(mistake) = due.mistake {
                    self.tell_mistake(&policy, mistake);
                }
                self.doing.spawn(async move {
                    let done = apply::status(&objects, &policy, due.status, due.again, limit).await;
                    Done::Status { policy, done }
                });
            }
            Job::Remove { claim, .. } if !self.config.leader.leads() => {
                self.removed(&claim);
                return false;
            }
            Job::Remove { claim, removal } => {
                self.doing.spawn(async move {
                    let done = remove(&objects, &claim, removal, limit).await;
                    Done::Removed { claim, done }
                });
            }
            Job::KeepBound { claim, uid } => {
                self.doing.spawn(async move {
                    let done = apply::keep_bound(&objects, &claim, &uid, limit).await;
                    Done::KeptBound { claim, done }
                });
            }
            Job::Event(event) => {
                self.events_waiting = self.events_waiting.saturating_sub(1);
                self.doing
                    .spawn(async move { Done::Told(apply::tell(&objects, &event, limit).await) });
            }
        }
        self.informing += 1;
        self.writing += 1;
        true
    }

    fn begin_write(&mut self, key: SandboxKey, write: Write, is_mine: bool) -> bool {
        // What was heard since it was queued may have ended its sleep, and leading may have ended.
        self.look_at_lead();
        self.touch(&key);
        let Some(entry) = self.entries.get_mut(&key) else {
            return false;
        };
        // Decided on at the same instant as the write: whoever is suspended in between comes too late.
        let now = now();
        let until = tokio::time::Instant::from_std(now + self.config.write_timeout);
        if !entry.machine.begin_write(&write, now) {
            self.touch(&key);
            return false;
        }
        let change = self
            .index
            .target(&key)
            .and_then(|target| apply::address(&write, &target));
        let objects = self.objects.clone();
        self.writing += 1;
        self.waking += usize::from(is_mine);
        self.doing.spawn(async move {
            let done = match &change {
                Some(change) => apply::write(&objects, change, until).await,
                None => Err(Failure::NotFound("it is gone".to_owned())),
            };
            Done::Written {
                key,
                write,
                is_mine,
                done,
            }
        });
        true
    }

    fn ask(&mut self, key: SandboxKey, pod: Arc<str>) {
        let target = self.index.target(&key);
        let found = target.and_then(|target| {
            let facts = target.pod.filter(|facts| facts.uid == pod)?;
            let busy = target.policy?.1.spec.busy.clone()?;
            let address = facts.address(busy.port.unwrap_or(DEFAULT_PORT))?;
            let question = Question {
                path: busy.path,
                idle_when: busy.idle_when,
                period: Duration::from_secs(busy.period.into()),
            };
            Some((address, question))
        });
        let deadline = self.config.busy_timeout;
        self.asking += 1;
        self.doing.spawn(async move {
            let answer = match found {
                Some((address, question)) => busy_probe::ask(address, &question, deadline).await,
                None => Err(busy_probe::Error::NoPort),
            };
            Done::Asked { key, pod, answer }
        });
    }

    /// Takes back what a task brought.
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Written {
                key,
                write,
                is_mine,
                done,
            } => {
                self.waking = self.waking.saturating_sub(usize::from(is_mine));
                self.wrote(write.what.as_str(), &done);
                if let Err(error) = &done {
                    debug!(sandbox = %key, what = write.what.as_str(), %error, "was not written");
                }
                if let Some(entry) = self.entries.get_mut(&key) {
                    let fate = apply::written(write.what, done);
                    entry.machine.written(&write, &fate, now());
                    self.touch(&key);
                }
            }
            Done::Status { policy, done } => {
                self.informed("status", &done);
                match done {
                    Ok(status) => self.tallies.wrote(&policy, status, now()),
                    Err(error) => {
                        debug!(%policy, %error, "status was not written");
                        self.tallies.again(&policy, now());
                    }
                }
            }
            Done::Removed { claim, done } => {
                self.informed("collect", &done);
                self.removed(&claim);
                if let Err(error) = done {
                    debug!(%claim, %error, "the record of a claim was not removed");
                }
            }
            Done::KeptBound { claim, done } => {
                self.informed("keep-bound", &done);
                if let Some(entry) = self.entries.get_mut(&claim) {
                    entry.keeping_bound = false;
                }
                if let Err(error) = done {
                    debug!(%claim, %error, "it was not written that a claim stays bound");
                }
            }
            Done::Told(done) => {
                self.informed("event", &done);
                if let Err(error) = done {
                    debug!(%error, "an event was not published");
                }
            }
            Done::Asked { key, pod, answer } => self.answered(&key, &pod, answer),
            Done::Marked => {
                self.marks.done();
                self.writing = self.writing.saturating_sub(1);
            }
        }
    }

    /// An agent has said whether it is busy, or has not.
    fn answered(
        &mut self,
        key: &SandboxKey,
        pod: &Arc<str>,
        answer: Result<Duration, busy_probe::Error>,
    ) {
        self.asking = self.asking.saturating_sub(1);
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let trouble = answer.as_ref().err().map(busy_probe::Error::kind);
        let is_news = entry.agent_trouble != trouble;
        entry.agent_trouble = trouble;
        match &answer {
            Err(error) => {
                self.journal.metrics.busy_failed(error.kind());
                if is_news {
                    warn!(
                        sandbox = %key, reason = error.kind(),
                        "the agent of {key} does not say whether it is busy, so it counts as busy for now: {error}"
                    );
                }
            }
            Ok(_) if is_news => {
                info!(sandbox = %key, "the agent of {key} says again whether it is busy");
            }
            Ok(_) => {}
        }
        entry.machine.probed(pod, answer.ok(), now());
        self.touch(key);
    }

    fn informed<T>(&mut self, what: &'static str, done: &Result<T, Failure>) {
        self.informing = self.informing.saturating_sub(1);
        self.wrote(what, done);
    }

    fn wrote<T>(&mut self, what: &'static str, done: &Result<T, Failure>) {
        self.writing = self.writing.saturating_sub(1);
        self.journal.metrics.written(what, apply::result(done));
    }

    /// Waits for what is under way; each of it has a deadline of its own.
    pub(super) async fn finish(mut self) {
        let limit = self.config.write_timeout.max(self.config.busy_timeout);
        let waited = timeout(limit, async {
            while self.doing.join_next().await.is_some() {}
        })
        .await;
        if waited.is_err() {
            self.doing.shutdown().await;
        }
    }
}
