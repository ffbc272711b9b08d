//! What the fleet's task has under way outside itself: writes within their budget, questions to agents.

use std::sync::Arc;
use std::time::Duration;

use reveille_crds::SandboxKey;
use reveille_crds::message::ToActivator;
use reveille_crds::names::DEFAULT_PORT;
use reveille_crds::scaled_sandbox::ScaledSandboxStatus;
use reveille_lifecycle::store::IntentError;
use reveille_scaler_core::act::{Write, Written};
use reveille_scaler_core::budget::Class;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::timeout;
use tracing::debug;

use super::{Fleet, now};
use crate::observe::Clocks;
use crate::{apply, busy_probe};

/// Writes under way at a time: at 50 a second and 4 s at worst each, 200 would be the most; a server that
/// slow is not helped by more than 64.
const WRITES: usize = 64;
/// Questions to agents under way at a time: each is one connection for at most 2 s.
const QUESTIONS: usize = 64;

/// A write waiting for its turn. One per target, one per policy.
pub(super) enum Job {
    Write {
        key: SandboxKey,
        write: Write,
    },
    Status {
        policy: SandboxKey,
        status: Box<ScaledSandboxStatus>,
    },
}

/// What a task of ours brought back.
pub(super) enum Done {
    Written {
        key: SandboxKey,
        write: Write,
        fate: Written,
    },
    Status {
        policy: SandboxKey,
        result: Result<(), IntentError>,
    },
    Asked {
        key: SandboxKey,
        pod: Arc<str>,
        answer: Option<Duration>,
    },
    Held,
}

impl Fleet {
    pub(super) fn queue_write(&mut self, key: &SandboxKey, write: Write) {
        let class = if write.what.is_wake() {
            Class::Wake
        } else {
            Class::Sleep
        };
        self.budget.push(
            class,
            Job::Write {
                key: key.clone(),
                write,
            },
        );
    }

    pub(super) fn push_status(&mut self) {
        for (policy, status) in self.tallies.take(&self.index, Clocks::read().wall) {
            self.budget.push(
                Class::Status,
                Job::Status {
                    policy,
                    status: Box::new(status),
                },
            );
        }
    }

    pub(super) fn may_write(&self) -> bool {
        self.writing < WRITES
    }

    /// Starts whatever may start now, and hands over what the carrier takes.
    pub(super) fn work(&mut self, to_activators: &mpsc::Sender<ToActivator>) {
        while self.may_write()
            && let Some(job) = self.budget.pop(now())
        {
            self.begin(job);
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
    }

    fn begin(&mut self, job: Job) {
        let (store, deadline) = (self.store.clone(), self.config.write_timeout);
        match job {
            Job::Status { policy, status } => {
                self.writing += 1;
                self.doing.spawn(async move {
                    let result = apply::status(store, policy.clone(), *status, deadline).await;
                    Done::Status { policy, result }
                });
            }
            Job::Write { key, write } => {
                // What was heard since it was queued may have ended its sleep.
                self.touch(&key);
                let Some(entry) = self.entries.get_mut(&key) else {
                    return;
                };
                if !entry.machine.begin_write(&write, now()) {
                    return self.touch(&key);
                }
                let change = self
                    .index
                    .target(&key)
                    .and_then(|target| apply::address(&write, &target));
                self.writing += 1;
                self.doing.spawn(async move {
                    let fate = match change {
                        Some(change) => apply::write(store, change, deadline).await,
                        None => Written::Conflict,
                    };
                    Done::Written { key, write, fate }
                });
            }
        }
    }

    fn ask(&mut self, key: SandboxKey, pod: Arc<str>) {
        let target = self.index.target(&key);
        let found = target.and_then(|target| {
            let facts = target.pod.filter(|facts| facts.uid == pod)?;
            let busy = target.policy?.1.spec.busy.clone()?;
            Some((facts.address(busy.port.unwrap_or(DEFAULT_PORT))?, busy.path))
        });
        let deadline = self.config.busy_timeout;
        self.asking += 1;
        self.doing.spawn(async move {
            let answer = match found {
                Some((address, path)) => match busy_probe::ask(address, &path, deadline).await {
                    Ok(answer) => Some(answer),
                    Err(error) => {
                        debug!(sandbox = %key, %error, "the agent did not say whether it is busy");
                        None
                    }
                },
                None => None,
            };
            Done::Asked { key, pod, answer }
        });
    }

    /// Takes back what a task brought.
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Written { key, write, fate } => {
                self.writing = self.writing.saturating_sub(1);
                self.journal
                    .metrics
                    .written(write.what.as_str(), apply::result(&fate));
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.machine.written(&write, &fate, now());
                    self.touch(&key);
                }
            }
            Done::Status { policy, result } => {
                self.writing = self.writing.saturating_sub(1);
                self.journal
                    .metrics
                    .written("status", if result.is_ok() { "done" } else { "failed" });
                if let Err(error) = result {
                    debug!(%policy, %error, "status was not written");
                    self.tallies.again(&policy, now());
                }
            }
            Done::Asked { key, pod, answer } => {
                self.asking = self.asking.saturating_sub(1);
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.machine.probed(&pod, answer, now());
                    self.touch(&key);
                }
            }
            Done::Held => {}
        }
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
