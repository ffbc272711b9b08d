//! What proves that a pod answers: its own probe, or an activator that connected.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use reveille_scaler_core::act::{Intent, Note, Tell, Written};
use reveille_scaler_core::command::{Answer, Command};
use reveille_scaler_core::explain::State;
use reveille_scaler_core::ledger::Report;
use reveille_scaler_core::view::{Mode, Policy};
use reveille_scaler_core::wake::Cause;
use world::{World, pod, policy, seconds};

/// Woken, and its pod, which has no probe, is Ready at once.
fn ready_without_probe(wake: fn(&mut World)) -> World {
    let mut world = World::asleep();
    world.see(|view| {
        view.policy = Some(Policy {
            wake_deadline: seconds(1),
            progress_deadline: seconds(3),
            ..policy()
        })
    });
    wake(&mut world);
    world.begin(Intent::Restore);
    world.written(Written::Done(2));
    world.see(|view| {
        let sandbox = view.sandbox.as_mut().unwrap();
        (sandbox.mode, sandbox.epoch) = (Mode::Running, 2);
        view.pod = Some(pod("pod-1", true));
        view.pod.as_mut().unwrap().proven_by_ready = false;
    });
    world
}

fn woke(world: &World) -> bool {
    let notes = world.notes();
    notes.iter().any(|note| matches!(note, Note::Woke(_)))
}

#[test]
fn while_requests_are_parked_ready_alone_is_no_proof_but_a_connection_is() {
    let mut world = ready_without_probe(World::ask);
    world.active(0, 1);
    world.pass(seconds(2));
    assert!(!woke(&world));
    assert_eq!(world.machine.state(world.now), State::Waking);
    world.machine.ready(&"pod-1".into(), world.now);
    world.poll();
    assert!(woke(&world));
}

#[test]
fn a_ready_pod_that_never_answers_fails_at_the_deadline_and_is_left_up() {
    let mut world = ready_without_probe(World::ask);
    world.active(0, 1);
    world.pass(seconds(3));
    let failed = world.tells().pop();
    let Some(Tell::Failed {
        reason, message, ..
    }) = failed
    else {
        panic!("{failed:?}")
    };
    assert_eq!(
        (&*reason, &*message),
        (
            "NotAnswering",
            "the sandbox was not up within 3 s: its pod accepted no connection on the port asked for"
        )
    );
    assert_eq!(world.machine.state(world.now), State::Awake);
    assert_eq!(world.drain(), None);
    assert!(!woke(&world));
    world.report(Some(Report::default()));
    world.pass(seconds(30));
    assert!(world.drain().is_some(), "it sleeps when it is quiet");
}

#[test]
fn a_wake_that_failed_leaves_nothing_to_prove() {
    let mut world = ready_without_probe(World::ask);
    world.active(0, 1);
    let deadline = world.next.unwrap() - world.now;
    world.pass_in_silence(deadline);
    assert!(matches!(world.tells()[..], [.., Tell::Failed { .. }]));
    assert_eq!(world.machine.state(world.now), State::Awake, "at once");
}

#[test]
fn when_everyone_who_waited_has_left_ready_is_the_end() {
    let mut world = ready_without_probe(World::ask);
    world.pass(Duration::from_millis(500));
    world.report(Some(Report::default()));
    assert_eq!(world.machine.state(world.now), State::Awake);
    assert!(!woke(&world), "nobody has seen it answer");
    world.machine.ready(&"pod-1".into(), world.now);
    world.poll();
    assert!(woke(&world), "now an activator has");

    let mut world = ready_without_probe(World::ask);
    world.pass_in_silence(Duration::from_millis(2499));
    assert_eq!(world.machine.state(world.now), State::Waking);
    world.pass_in_silence(Duration::from_millis(1));
    let state = world.machine.state(world.now);
    assert_eq!(
        state,
        State::Awake,
        "an ask that is not repeated counts no more"
    );
}

#[test]
fn a_wake_without_parked_requests_ends_with_ready() {
    let world = ready_without_probe(|world| {
        let (cause, waiting) = (Cause::Api, 0);
        let wake = Command::Wake { cause, waiting };
        let answer = world.machine.command(wake, &world.roster, world.now);
        assert_eq!(answer, Answer::Waking);
        world.poll();
    });
    assert!(woke(&world));
}
