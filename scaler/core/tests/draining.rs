//! The handshake before a sleep, and everything that may come between.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/world.rs"]
mod world;

use std::sync::Arc;
use std::time::Duration;

use reveille_scaler_core::act::{Act, Intent, Note, Tell, Written};
use reveille_scaler_core::view::Mode;
use world::{World, seconds};

const NS: Duration = Duration::from_nanos(1);

#[test]
fn a_busy_answer_calls_the_sleep_off_and_counts_as_activity() {
    let mut world = World::awake();
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.reply(nonce, false);
    assert!(world.undrained(nonce));
    world.pass(seconds(30) - NS);
    assert_eq!(world.drain(), None);
    world.pass(NS);
    assert_ne!(
        world.drain().unwrap(),
        nonce,
        "every question has a number of its own"
    );
}

#[test]
fn an_unanswered_drain_is_undone_after_its_time_and_asked_again_later_and_later() {
    let mut world = World::awake();
    world.pass(seconds(30));
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let nonce = world.drain().unwrap();
        world.pass(Duration::from_millis(500));
        assert!(world.undrained(nonce));
        let off = world.now;
        for _ in 0..40 {
            if world
                .acts
                .iter()
                .any(|act| matches!(act, Act::Drain { .. }))
            {
                break;
            }
            world.pass(Duration::from_millis(500));
        }
        pauses.push((world.now - off).as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8]);
}

#[test]
fn a_wake_during_the_drain_calls_the_sleep_off() {
    let mut world = World::awake();
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.ask();
    assert!(world.undrained(nonce));
    world.reply(nonce, true);
    assert!(world.writes().is_empty());
}

#[test]
fn a_wake_while_the_sleep_waits_for_its_turn_calls_it_off() {
    let mut world = World::awake();
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    let write = world.writes().remove(0);
    world.ask();
    assert!(world.undrained(nonce));
    assert!(!world.begin_write(&write), "the queued sleep is dead");
}

#[test]
fn a_wake_while_the_sleep_is_written_wakes_it_right_after() {
    let mut world = World::awake();
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    world.begin(Intent::Suspend);
    world.ask();
    assert!(world.writes().is_empty(), "one write at a time");
    world.written(Written::Done(2));
    let wake = world.begin(Intent::Restore);
    assert_eq!(wake.epoch, 2);
}

#[test]
fn a_sleep_whose_turn_comes_too_late_for_the_gates_is_not_written() {
    let mut world = World::awake();
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    let write = world.writes().remove(0);
    world.pass(seconds(6));
    assert!(!world.begin_write(&write));
    world.poll();
    assert!(world.undrained(nonce));
}

#[test]
fn nobody_opens_the_gates_of_a_lost_sleep_since_it_may_have_been_written() {
    let mut world = World::awake();
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    world.begin(Intent::Suspend);
    world.pass(seconds(4));
    world.written(Written::Lost);
    world.ask();
    assert!(!world.undrained(nonce));
    assert!(world.writes().is_empty());
    world.pass(seconds(6));
    assert!(!world.undrained(nonce), "they run out by themselves");
    assert!(matches!(world.tells()[..], [.., Tell::Waking { .. }]));
}

#[test]
fn a_lost_sleep_that_was_written_and_undone_keeps_nobody_waiting() {
    let mut world = World::awake();
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    world.begin(Intent::Suspend);
    world.pass(seconds(4));
    world.written(Written::Lost);
    world.ask();
    assert!(world.tells().is_empty(), "nobody knows what it will find");
    world.see_sandbox(|sandbox| sandbox.epoch = 3);
    assert!(matches!(world.tells()[..], [.., Tell::Waking { .. }]));
    assert!(!world.undrained(nonce), "what they see opens the gates");
    assert!(!world.machine.is_draining());
}

#[test]
fn a_lost_sleep_that_was_written_after_all_counts() {
    let mut world = World::awake();
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    world.begin(Intent::Suspend);
    world.pass(seconds(4));
    world.written(Written::Lost);
    world.see_sandbox(|sandbox| (sandbox.mode, sandbox.epoch) = (Mode::Suspended, 2));
    assert!(
        world
            .notes()
            .iter()
            .any(|note| matches!(note, Note::Slept { .. }))
    );
    assert!(!world.undrained(nonce));
}

#[test]
fn an_activator_that_restarts_after_its_answer_has_no_gate_closed() {
    let mut world = World::awake();
    let b: Arc<str> = "b".into();
    world.roster.set_members([&world.a.clone(), &b]);
    world.roster.report(&b, "b", (1, true), &[], world.now);
    for _ in 0..30 {
        world.pass(seconds(1));
        let sequence = 2 + (world.now - world.roster.since()).as_secs();
        world
            .roster
            .report(&b, "b", (sequence, true), &[], world.now);
        world.poll();
    }
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    world.restart_activator("anew");
    world.machine.reply("b", "b", nonce, true);
    world.poll();
    assert!(world.undrained(nonce));
    assert!(world.writes().is_empty());
}
