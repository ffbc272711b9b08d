//! The list of all sandboxes, a page at a time: what is explained in one turn of the fleet's task is bounded,
//! whatever the size of the fleet.

use std::collections::BinaryHeap;
use std::time::Instant;

use reveille_crds::SandboxKey;

use super::entry::Entry;
use super::{Fleet, flapping};
use crate::api::{Flaps, LastSleep, LastWake, List, Page, SandboxState, hold_word};
use crate::journal::phases;
use crate::observe::Clocks;

impl Fleet {
    /// The sandboxes that come next by name.
    pub(super) fn list(&self, list: &List) -> Page {
        let within = |key: &&SandboxKey| {
            let namespace = list.namespace.as_deref();
            namespace.is_none_or(|namespace| namespace == key.namespace())
        };
        let names = self.entries.keys().filter(within);
        let (names, remaining) = next(names, list.after.as_ref(), list.limit);
        let clocks = Clocks::read();
        let known = |key| self.entries.get_key_value(key);
        let known = names.into_iter().filter_map(known);
        Page {
            sandboxes: known
                .map(|(key, entry)| self.describe(key, entry, clocks))
                .collect(),
            remaining,
        }
    }

    /// One sandbox.
    pub(super) fn get(&self, key: &SandboxKey) -> Option<SandboxState> {
        let entry = self.entries.get(key)?;
        Some(self.describe(key, entry, Clocks::read()))
    }

    /// What the API tells of one target.
    fn describe(&self, key: &SandboxKey, entry: &Entry, clocks: Clocks) -> SandboxState {
        let told = entry.machine.explain(&self.roster, clocks.now);
        let target = self.index.target(key);
        let sandbox = target.as_ref().and_then(|target| target.sandbox.as_ref());
        let hold = sandbox.and_then(|(_, facts)| facts.hold);
        let busy_until = sandbox.and_then(|(_, facts)| facts.busy_until.as_deref().copied());
        let policy = target
            .and_then(|target| target.policy)
            .map(|(policy, _)| policy.name().to_owned());
        let left =
            |at: Instant| at.saturating_duration_since(clocks.now).as_millis() as f64 / 1000.0;
        SandboxState {
            namespace: key.namespace().to_owned(),
            name: key.name().to_owned(),
            state: told.state.as_str(),
            reason: told.why.reason(),
            why: told.why.to_string(),
            epoch: told.epoch,
            uid: told.uid.map(|uid| uid.to_string()),
            in_flight: told.in_flight,
            parked: told.parked,
            hold: hold.map(hold_word),
            busy_until: busy_until.filter(|until| *until > clocks.wall),
            policy,
            last_wake: told.last_wake.map(|(at, woke)| LastWake {
                at: clocks.timestamp(at),
                cause: woke.cause.as_str(),
                phases: phases(&woke),
            }),
            last_sleep: told.last_sleep.map(|(at, reason)| LastSleep {
                at: clocks.timestamp(at),
                reason: reason.as_str(),
            }),
            next_sleep_in_seconds: told.next_sleep.map(left),
            flapping: told.flapping.map(|row| Flaps {
                wakes: row.wakes(),
                by: Some(row.by().to_string()).filter(|by| !by.is_empty()),
                ends_in_seconds: left(row.ends()),
                message: flapping(row.wakes(), row.cooldown(), row.by()),
            }),
        }
    }
}

/// The first so many of these names that come after `after`, in order, and how many more there are. Each name
/// is looked at once, which is a comparison; no more than a page is held.
fn next<'a>(
    names: impl Iterator<Item = &'a SandboxKey>,
    after: Option<&SandboxKey>,
    limit: usize,
) -> (Vec<&'a SandboxKey>, usize) {
    let mut first = BinaryHeap::with_capacity(limit + 1);
    let mut more = 0;
    for name in names.filter(|name| after.is_none_or(|after| *name > after)) {
        first.push(name);
        if first.len() > limit {
            first.pop();
            more += 1;
        }
    }
    (first.into_sorted_vec(), more)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names in no order.
    fn names(count: usize) -> Vec<SandboxKey> {
        let key =
            |number: usize| SandboxKey::new("agents", &format!("run-{}", number * 7919 % count));
        (0..count).map(|number| key(number).unwrap()).collect()
    }

    #[test]
    fn the_pages_of_five_thousand_hold_each_once_in_order() {
        let names = names(5000);
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let (page, more) = next(names.iter(), after, 500);
            assert!(page.len() <= 500, "{}", page.len());
            seen.extend(page);
            assert_eq!(more, names.len() - seen.len());
            after = seen.last().copied();
            if more == 0 {
                break;
            }
        }
        let mut sorted: Vec<_> = names.iter().collect();
        sorted.sort();
        assert_eq!(seen, sorted);
    }

    #[test]
    fn a_name_that_is_gone_still_says_where_to_go_on() {
        let mut names = names(100);
        let (page, more) = next(names.iter(), None, 10);
        let (last, seen) = (page[9].clone(), page.len());
        names.retain(|name| *name != last);
        let (rest, none) = next(names.iter(), Some(&last), 100);
        assert_eq!((rest.len(), more, none), (100 - seen, 100 - seen, 0));
        assert!(rest.iter().all(|name| **name > last));
    }
}
