//! What the API tells of requests is what is, not what was at the last report: the activators are asked to
//! report first, and have a moment for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille_crds::message::ToActivator;
use reveille_scaler_core::roster::Silence;

use super::{Fleet, now};
use crate::api::Request;

/// So long an answer waits for the activators: an answer over NATS takes milliseconds.
const WITHIN: Duration = Duration::from_millis(250);
/// Answers that wait at a time. At 250 ms each that is 256 a second; who asks on top of that is told what is
/// known.
const MOST: usize = 64;

/// An answer that waits.
pub(super) struct Look {
    number: u64,
    /// Activators that have not reported since.
    missing: BTreeSet<Arc<str>>,
    until: Instant,
    request: Request,
}

impl Fleet {
    /// Answers what is asked for when all activators that are heard have reported, or had their time.
    pub(super) fn look(&mut self, request: Request) {
        let now = now();
        let is_heard = self.roster.silence(now) != Some(Silence::LinkDown);
        let members = self.roster.present().map(|(member, _)| member);
        let members = members.filter(|member| is_heard && !self.silent.contains(*member));
        let missing: BTreeSet<_> = members.cloned().collect();
        if missing.is_empty() || self.looks.len() >= MOST {
            return self.show(request);
        }
        self.look_number = self.look_number.wrapping_add(1);
        let number = self.look_number;
        self.say(ToActivator::Look(number));
        let until = now + WITHIN;
        self.looks.push_back(Look {
            number,
            missing,
            until,
            request,
        });
    }

    /// A report of this activator came after these were asked for.
    pub(super) fn looked(&mut self, from: &Arc<str>, answers: &[u64]) {
        if answers.is_empty() {
            return;
        }
        for look in &mut self.looks {
            if answers.contains(&look.number) {
                look.missing.remove(from);
            }
        }
        self.end_looks(|look| look.missing.is_empty());
    }

    /// When the first has waited for long enough.
    pub(super) fn looks_due(&self) -> Option<Instant> {
        self.looks.front().map(|look| look.until)
    }

    /// Answers those that have.
    pub(super) fn stop_looking(&mut self, now: Instant) {
        self.end_looks(|look| look.until <= now);
    }

    fn end_looks(&mut self, is_over: impl Fn(&Look) -> bool) {
        let looks = std::mem::take(&mut self.looks);
        for look in looks {
            if is_over(&look) {
                self.show(look.request);
            } else {
                self.looks.push_back(look);
            }
        }
    }

    /// Answers with what is known. A caller that left is no error.
    fn show(&self, request: Request) {
        match request {
            Request::List { list, reply } => drop(reply.send(self.list(&list))),
            Request::Get { key, reply } => drop(reply.send(self.get(&key))),
            Request::Command { .. } | Request::Mark { .. } => {}
        }
    }
}
