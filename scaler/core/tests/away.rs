//! Wakes while the API gives no answer.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use reveille_scaler_core::act::{Intent, Note, SleepReason, Tell, Written};
use reveille_scaler_core::command::{Answer, Command};
use reveille_scaler_core::explain::State;
use reveille_scaler_core::view::Mode;
use reveille_scaler_core::wake::Cause;
use world::{World, pod, seconds};

const MS: Duration = Duration::from_millis(1);

/// Time passes while every write that is asked for has this fate; answers how many were asked for.
fn pass_writing(world: &mut World, time: Duration, fate: &Written) -> usize {
    let (end, mut tries) = (world.now + time, 0);
    while world.now < end {
        if let Some(write) = world.writes().pop() {
            assert!(world.begin_write(&write));
            world.written(fate.clone());
            tries += 1;
        }
        world.pass(50 * MS);
    }
    tries
}

fn failed(world: &mut World) -> Vec<(String, String, Duration)> {
    let failed = |tell: Tell| match tell {
        Tell::Failed {
            reason,
            message,
            retry_after,
        } => Some((reason.to_string(), message.to_string(), retry_after)),
        _ => None,
    };
    world.tells().into_iter().filter_map(failed).collect()
}

#[test]
fn who_waits_is_told_after_ten_seconds_that_the_api_gives_no_answer_and_why() {
    let mut world = World::asleep();
    world.ask();
    let away = Written::Unavailable("connection refused".into());
    let tries = pass_writing(&mut world, seconds(9), &away);
    assert!((6..30).contains(&tries), "{tries}");
    assert_eq!(failed(&mut world), []);
    pass_writing(&mut world, seconds(2), &away);
    let quoted = |note: &&Note| matches!(note, Note::WakeFailed { message, .. } if message.contains("connection refused"));
    assert!(
        world.notes().iter().any(quoted),
        "the operator is told how it shows"
    );
    let told = failed(&mut world);
    let [(reason, message, retry_after)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((&**reason, *retry_after), ("ApiUnavailable", seconds(3)));
    assert!(
        message.contains("ask again") && !message.contains("refused"),
        "{message}"
    );
}

/// How often it was told that the wake is late.
fn delays(world: &mut World) -> usize {
    let tells = world.tells();
    let is_late = |tell: &&Tell| matches!(tell, Tell::Delayed { reason, .. } if &**reason == "ApiUnavailable");
    tells.iter().filter(is_late).count()
}

#[test]
fn who_waits_hears_that_a_write_is_late_once_by_itself_and_then_when_it_asks() {
    let mut world = World::asleep();
    world.ask();
    let write = world.begin(Intent::Restore);
    world.pass(900 * MS);
    assert_eq!(delays(&mut world), 0);
    world.pass(200 * MS);
    assert_eq!(delays(&mut world), 1);
    world.pass(seconds(2));
    assert_eq!(delays(&mut world), 0, "nobody new waits");
    world.ask();
    world.ask();
    assert_eq!(delays(&mut world), 1);
    world.written(Written::Done(write.epoch + 1));
    let told = world.tells();
    assert!(matches!(told[..], [Tell::Waking { epoch: 2 }]), "{told:?}");
    world.ask();
    world.pass(seconds(5));
    assert_eq!(delays(&mut world), 0);
}

#[test]
fn a_wake_that_the_api_answers_in_time_is_never_late_however_often_it_has_to_be_written() {
    let mut world = World::asleep();
    world.ask();
    for _ in 0..3 {
        world.begin(Intent::Restore);
        world.pass(800 * MS);
        world.written(Written::Conflict);
        world.pass(seconds(3));
    }
    assert_eq!(delays(&mut world), 0);
}

#[test]
fn a_write_that_hangs_holds_nobody_up_and_has_its_time_if_it_lands_after_all() {
    let mut world = World::asleep();
    world.ask();
    world.begin(Intent::Restore);
    world.pass(seconds(4));
    world.written(Written::Lost);
    world.pass(100 * MS);
    let write = world.begin(Intent::Restore);
    world.pass(seconds(10));
    assert_eq!(failed(&mut world).len(), 1, "while the write still hangs");
    world.written(Written::Done(write.epoch + 1));
    world.see(|view| {
        let sandbox = view.sandbox.as_mut().unwrap();
        (sandbox.mode, sandbox.epoch) = (Mode::Running, write.epoch + 1);
    });
    world.pass(seconds(3));
    world.pass(seconds(500));
    assert_eq!(world.drain(), None, "it may come up for who asks again");
    world.pass(seconds(100));
    assert!(world.drain().is_some(), "and it had its time");
}

#[test]
fn the_pause_after_an_unanswered_wake_does_not_grow_however_long_the_api_is_away() {
    let mut world = World::asleep();
    let away = Written::Unavailable("connection refused".into());
    for _ in 0..20 {
        world.ask();
        pass_writing(&mut world, seconds(11), &away);
        let told = failed(&mut world);
        assert_eq!(told[0].2, seconds(3), "{told:?}");
        world.ask();
        let left = failed(&mut world)[0].2;
        assert!(left <= seconds(3), "who asks meanwhile hears it at once");
        let wake = Command::Wake {
            cause: Cause::Http,
            waiting: 1,
        };
        let answer = world.machine.command(wake, &world.roster, world.now);
        assert!(matches!(answer, Answer::BackedOff { .. }), "{answer:?}");
        pass_writing(&mut world, seconds(3), &away);
    }
    world.ask();
    let write = world.begin(Intent::Restore);
    world.written(Written::Done(write.epoch + 1));
    assert_eq!(
        world.machine.state(world.now),
        State::Waking,
        "and it heals"
    );
}

#[test]
fn an_answer_of_any_kind_shows_that_the_api_is_there() {
    let mut world = World::asleep();
    world.ask();
    for _ in 0..5 {
        pass_writing(&mut world, seconds(6), &Written::Lost);
        let mut begun = None;
        while begun.is_none() {
            begun = world.writes().pop();
            world.pass(50 * MS);
        }
        assert!(world.begin_write(&begun.unwrap()));
        world.written(Written::Conflict);
    }
    assert_eq!(failed(&mut world), []);
}

#[test]
fn a_wake_that_waits_for_its_turn_is_not_taken_for_one_without_an_answer() {
    let mut world = World::asleep();
    world.ask();
    let write = world.writes().pop().unwrap();
    world.pass(seconds(50));
    assert_eq!(failed(&mut world), []);
    assert!(world.begin_write(&write));
    world.written(Written::Done(2));
}

#[test]
fn a_sleep_that_the_server_refuses_is_noted_with_its_word_and_the_gates_open() {
    let mut world = World::awake();
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    world.begin(Intent::Suspend);
    world.written(Written::Denied("no sleeping on duty".into()));
    let note = Note::SleepDenied {
        reason: SleepReason::Idle,
        message: "no sleeping on duty".into(),
    };
    assert!(world.notes().contains(&&note), "{:?}", world.notes());
    assert!(world.undrained(nonce));
    world.see(|view| view.pod = Some(pod("pod-1", true)));
    assert_eq!(world.machine.state(world.now), State::Awake);
}
