//! Two scalers that both hear of every wake of a herd, each with its own budget: who writes what, and when.
#![allow(clippy::disallowed_methods, reason = "a case has to begin somewhere")]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use reveille_scaler_core::budget::{Budget, Class, is_mine};

const MS: Duration = Duration::from_millis(1);
const HERD: usize = 200;
const RATE: u32 = 50;
/// From the answer to a write until the others see it.
const SHOWN: Duration = Duration::from_millis(40);
/// Writes that a scaler has under way at a time.
const ROOM: usize = 64;

/// One scaler: what it has under way, with when the server has it and whether it is its own.
struct Scaler {
    budget: Budget<usize>,
    under_way: Vec<(usize, Instant, bool)>,
    leads: bool,
}

fn name(number: usize) -> String {
    format!("agent-{number}")
}

/// What became of a herd.
struct Outcome {
    /// Writes that were done.
    done: BTreeMap<usize, Duration>,
    /// Writes that the fence refused.
    refused: usize,
}

/// Wakes a herd that all scalers are asked for at the same moment. A write takes `latency`. `shared`: each
/// takes its own share first.
fn wake(leading: &[bool], shared: bool, latency: Duration) -> Outcome {
    let start = Instant::now();
    let mut scalers: Vec<Scaler> = leading
        .iter()
        .map(|&leads| {
            let mut budget = Budget::new(RATE, 100, start);
            for number in 0..HERD {
                let is_mine = !shared || is_mine(&name(number), leads);
                budget.push_wake(number, is_mine, start);
            }
            Scaler {
                budget,
                under_way: Vec::new(),
                leads,
            }
        })
        .collect();
    let mut outcome = Outcome {
        done: BTreeMap::new(),
        refused: 0,
    };
    let mut now = start;
    while outcome.done.len() < HERD {
        assert!(now < start + Duration::from_secs(60), "it never ends");
        for scaler in &mut scalers {
            scaler.under_way.retain(|&(number, at, _)| {
                if at > now {
                    return true;
                }
                match outcome.done.entry(number) {
                    Entry::Occupied(_) => outcome.refused += 1,
                    Entry::Vacant(free) => {
                        free.insert(now - start);
                    }
                }
                false
            });
        }
        for scaler in &mut scalers {
            loop {
                let own = scaler.under_way.iter().filter(|(_, _, own)| *own).count();
                if scaler.under_way.len() >= ROOM {
                    break;
                }
                let Some(number) = scaler.budget.pop_down_to(Class::Event, own, now) else {
                    break;
                };
                let seen = outcome.done.get(&number);
                if seen.is_some_and(|&at| start + at + SHOWN <= now) {
                    scaler.budget.give_back();
                    continue;
                }
                let own = !shared || is_mine(&name(number), scaler.leads);
                scaler.under_way.push((number, now + latency, own));
            }
        }
        now += MS;
    }
    outcome
}

#[test]
fn of_two_that_hear_of_the_same_herd_each_writes_its_share_and_hardly_any_twice() {
    for latency in [5 * MS, 40 * MS, 300 * MS] {
        let apart = wake(&[true, false], true, latency);
        let together = wake(&[true, false], false, latency);
        assert!(
            together.refused > HERD / 2,
            "the case is one: {}",
            together.refused
        );
        println!(
            "{latency:?} a write: {} of {HERD} written twice, {} without shares",
            apart.refused, together.refused
        );
        assert!(apart.refused <= HERD / 10, "{latency:?}");
    }
}

#[test]
fn who_is_alone_writes_everything_and_no_wake_loses_more_than_two_seconds_and_a_write() {
    for latency in [5 * MS, 300 * MS, 3000 * MS] {
        for leads in [true, false] {
            let shared = wake(&[leads], true, latency);
            let plain = wake(&[leads], false, latency);
            assert_eq!(shared.refused, 0);
            for (number, at) in &shared.done {
                let before = plain.done[number];
                let limit = before + Duration::from_secs(2) + latency;
                assert!(*at <= limit, "{number}: {at:?}, was {before:?}");
            }
        }
    }
}

#[test]
fn a_scaler_that_dies_leaves_its_share_to_the_other() {
    let start = Instant::now();
    let mut budget = Budget::new(RATE, 100, start);
    let numbers = 0..20;
    for number in numbers.clone() {
        budget.push_wake(number, number % 2 == 0, start);
    }
    let own: Vec<usize> =
        std::iter::from_fn(|| budget.pop_down_to(Class::Event, 8, start)).collect();
    assert_eq!(own, numbers.clone().step_by(2).collect::<Vec<_>>());
    assert_eq!(budget.pop_down_to(Class::Event, 8, start), None);
    let at = budget.next_down_to(Class::Event, 8, start);
    assert_eq!(
        at,
        Some(start + Duration::from_secs(2)),
        "if all that is under way hangs"
    );
    let now = start + 100 * MS;
    assert_eq!(budget.next_down_to(Class::Event, 7, start), Some(now));
    let rest: Vec<usize> =
        std::iter::from_fn(|| budget.pop_down_to(Class::Event, 7, now)).collect();
    assert_eq!(rest, numbers.skip(1).step_by(2).collect::<Vec<_>>());
    assert!(budget.is_empty());
}
