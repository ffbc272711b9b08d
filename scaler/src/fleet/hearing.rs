//! What the fleet's task hears: messages of activators, requests of the API.

use std::collections::BTreeSet;
use std::sync::Arc;

use reveille_crds::SandboxKey;
use reveille_crds::message::{Activity, DrainReply, Ready, ToScaler, Wake};
use reveille_scaler_core::budget::Class;
use reveille_scaler_core::command::{Answer, Command};
use reveille_scaler_core::wake::Ask;
use tokio::sync::oneshot;
use tracing::{debug, info};

use super::doing::Job;
use super::{Fleet, now};
use crate::api::{MarkError, Request};
use crate::apply::{Mark, Severity};
use crate::observe;

impl Fleet {
    pub(super) fn hear(&mut self, message: ToScaler) {
        match message {
            ToScaler::Wake(wake) => self.hear_wake(&wake),
            ToScaler::Activity(activity) => self.hear_activity(&activity),
            ToScaler::Drained(reply) => self.hear_reply(&reply),
            ToScaler::Ready(ready) => self.hear_ready(&ready),
        }
    }

    /// What is not known (yet) is passed over: the Wake is repeated while somebody waits.
    fn hear_wake(&mut self, wake: &Wake) {
        let ask = Ask {
            cause: observe::cause(wake.reason),
            waiting: wake.waiting,
            member: Some(Arc::from(wake.activator.as_str())),
            by: wake.by.as_deref().map(crate::observe::words),
        };
        let Some(entry) = self
            .entries
            .get_mut(&wake.key)
            .filter(|_| self.synced_at.is_some())
        else {
            debug!(sandbox = %wake.key, "passed over a wake of an unknown sandbox");
            return;
        };
        entry.machine.ask(&ask, now());
        self.touch(&wake.key);
    }

    fn hear_activity(&mut self, activity: &Activity) {
        let now = now();
        let from: Arc<str> = Arc::from(activity.activator.as_str());
        // Only what exists is kept, so that the roster is bounded by the fleet.
        let (known, unknown): (Vec<_>, Vec<_>) = activity
            .sandboxes
            .iter()
            .partition(|each| self.entries.contains_key(&each.key));
        let reports: Vec<_> = known
            .into_iter()
            .map(|each| (&each.key, observe::report(each)))
            .collect();
        let entries: Vec<_> = reports
            .iter()
            .map(|(key, report)| ((*key).clone(), report.is_active()))
            .collect();
        let place = (activity.sequence, activity.full);
        let hearing = self
            .roster
            .report(&from, &activity.incarnation, place, &entries, now);
        self.look_at_silence();
        let mut touched = BTreeSet::new();
        for (member, key) in hearing.quiet {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.machine.quiet(&member, now);
                touched.insert(key);
            }
        }
        if hearing.accepted {
            for each in unknown {
                self.overlooked.pass_over(&each.key);
            }
            for (key, report) in reports {
                if let Some(entry) = self.entries.get_mut(key) {
                    entry.machine.report(&from, &report, now);
                    touched.insert(key.clone());
                }
            }
        }
        if hearing.ask_full {
            self.ask_reports(now);
        }
        for key in &touched {
            self.touch(key);
        }
        self.looked(&from, &activity.answers);
    }

    fn hear_reply(&mut self, reply: &DrainReply) {
        if let Some(entry) = self.entries.get_mut(&reply.key) {
            entry.machine.reply(
                &reply.activator,
                &reply.incarnation,
                reply.nonce,
                reply.drained,
            );
            self.touch(&reply.key);
        }
    }

    fn hear_ready(&mut self, ready: &Ready) {
        if let Some(entry) = self.entries.get_mut(&ready.key) {
            entry.machine.ready(&Arc::from(ready.pod.as_str()), now());
            self.touch(&ready.key);
        }
    }

    /// Serves a request of the API. A caller that left is no error.
    pub(super) fn serve(&mut self, request: Request) {
        match request {
            Request::List { .. } | Request::Get { .. } => self.look(request),
            Request::Command {
                key,
                command,
                last,
                reply,
            } => {
                drop(reply.send(self.command(&key, command, last)));
            }
            Request::Mark { key, mark, reply } => self.mark(&key, mark, reply),
        }
    }

    fn command(&mut self, key: &SandboxKey, command: Command, last: bool) -> Option<(Answer, u64)> {
        let entry = self
            .entries
            .get_mut(key)
            .filter(|_| self.synced_at.is_some())?;
        let answer = entry.machine.command(command, &self.roster, now());
        let epoch = entry.machine.view().epoch();
        if last && matches!(command, Command::Sleep { .. }) {
            let refused = match &answer {
                Answer::Conflict(why) => Some((why.reason(), why.to_string())),
                Answer::Unheard(silence) => Some(("ActivatorsUnheard", silence.to_string())),
                _ => None,
            };
            if let Some((reason, why)) = refused {
                self.journal.metrics.sleep_refused(reason);
                info!(sandbox = %key, reason, "{key} was not put to sleep though somebody asked for it: {why}");
                let text = format!("Not put to sleep: {reason}, {why}; cause api");
                let words = ("SleepRefused", "Sleep");
                self.publish(key, Severity::Warning, words, text);
            }
        }
        self.touch(key);
        Some((answer, epoch))
    }

    fn mark(
        &mut self,
        key: &SandboxKey,
        mark: Mark,
        reply: oneshot::Sender<Result<(), MarkError>>,
    ) {
        match self.marked(key, mark) {
            Ok((sandbox, uid)) => {
                if let Some(place) = self.marks.queue(sandbox, uid, mark, reply) {
                    self.budget.push(Class::Mark, Job::Mark(place));
                }
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// The Sandbox that is to be marked, and its UID.
    fn marked(&self, key: &SandboxKey, mark: Mark) -> Result<(SandboxKey, Arc<str>), MarkError> {
        let target = self.index.target(key).filter(|target| target.key == *key);
        let entry = self.entries.get(key);
        let (target, entry) = target.zip(entry).ok_or(MarkError::NotFound)?;
        if matches!(mark, Mark::Lease(_)) {
            let may = entry.machine.may_lease(now());
            may.map_err(MarkError::NotAwake)?;
        }
        let (sandbox, facts) = target.sandbox.ok_or(MarkError::NoSandbox)?;
        Ok((sandbox, Arc::clone(&facts.uid)))
    }
}
