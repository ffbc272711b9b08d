//! An object that somebody replaced, or took our annotations from: it is believed as it is.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on fails")]

#[path = "support/world.rs"]
mod world;

use reveille_scaler_core::act::{Intent, Tell, Written};
use reveille_scaler_core::view::Mode;

use world::{World, seconds};

/// What `kubectl replace -f` leaves of it: the same UID, no annotations.
fn replace(world: &mut World, mode: Mode) {
    world.see(|view| {
        view.pod = None;
        let sandbox = view.sandbox.as_mut().unwrap();
        (sandbox.mode, sandbox.epoch) = (mode, 0);
    });
}

#[test]
fn a_sandbox_whose_annotations_were_taken_away_is_woken() {
    let mut world = World::awake();
    world.see_sandbox(|sandbox| sandbox.epoch = 8);
    replace(&mut world, Mode::Suspended);
    world.take();
    world.ask();
    let write = world.begin(Intent::Restore);
    assert_eq!(write.epoch, 0);
    world.written(Written::Done(1));
    assert_eq!(world.tells(), [Tell::Waking { epoch: 1 }]);
}

#[test]
fn a_sandbox_whose_annotations_were_taken_away_is_put_to_sleep_by_what_is_there() {
    let mut world = World::awake();
    world.see_sandbox(|sandbox| sandbox.epoch = 8);
    world.see_sandbox(|sandbox| sandbox.epoch = 0);
    world.pass(seconds(30));
    let nonce = world.drain().expect("a drain is asked for");
    world.reply(nonce, true);
    assert_eq!(world.begin(Intent::Suspend).epoch, 0);
}

#[test]
fn our_own_write_counts_until_the_watch_shows_it() {
    let mut world = World::asleep();
    world.ask();
    world.begin(Intent::Restore);
    world.written(Written::Done(2));
    // Of before the write.
    world.see_sandbox(|sandbox| sandbox.expires = None);
    assert_eq!(world.machine.view().epoch(), 2);
    world.see_sandbox(|sandbox| (sandbox.mode, sandbox.epoch) = (Mode::Running, 2));
    // And of after it, whatever it is.
    replace(&mut world, Mode::Suspended);
    assert_eq!(world.machine.view().epoch(), 0);
    world.ask();
    assert_eq!(world.begin(Intent::Restore).epoch, 0);
}

#[test]
fn our_own_write_that_the_watch_never_shows_counts_for_the_time_of_a_write() {
    let mut world = World::asleep();
    world.ask();
    world.begin(Intent::Restore);
    world.written(Written::Done(2));
    // The watch shows only what replaced it, at once.
    replace(&mut world, Mode::Suspended);
    assert_eq!(world.machine.view().epoch(), 2, "it may be of before");
    world.take();
    for _ in 0..5 {
        world.ask();
        world.pass(seconds(1));
    }
    assert_eq!(world.machine.view().epoch(), 0);
    assert_eq!(world.begin(Intent::Restore).epoch, 0);
}
