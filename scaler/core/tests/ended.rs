//! A sandbox that is to run, but whose pod has ended: no controller starts that one again.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use reveille_scaler_core::act::{Intent, Note, SleepReason, Tell, Written};
use reveille_scaler_core::view::{Fault, Hold, Mode};
use world::{World, pod, seconds};

/// Awake, and then its pod ends.
fn ended() -> World {
    let mut world = World::awake();
    world.pass(seconds(5));
    end_pod(&mut world, "pod-1");
    world
}

fn end_pod(world: &mut World, uid: &str) {
    world.see(|view| {
        let mut pod = pod(uid, false);
        pod.fault = Some(Fault::new("PodFailed", "exited with code 1"));
        view.pod = Some(pod);
    });
}

/// The drain that is asked for within two and a half seconds, in which an ask counts by itself.
fn soon_drained(world: &mut World) -> Option<u64> {
    (0..26).find_map(|_| {
        world.pass(Duration::from_millis(100));
        world.drain()
    })
}

fn failures(world: &mut World) -> Vec<String> {
    let reason = |tell: Tell| match tell {
        Tell::Failed { reason, .. } => Some(reason.to_string()),
        _ => None,
    };
    world.tells().into_iter().filter_map(reason).collect()
}

#[test]
fn who_asks_is_told_that_the_pod_ended_and_the_next_wake_makes_a_new_one() {
    let mut world = ended();
    world.pass(seconds(1));
    world.ask();
    assert_eq!(failures(&mut world), ["PodFailed"]);
    let nonce = soon_drained(&mut world).expect("without waiting for the cooldown");
    world.reply(nonce, true);
    let write = world.begin(Intent::Suspend);
    world.written(Written::Done(write.epoch + 1));
    world.see_sandbox(|sandbox| (sandbox.mode, sandbox.epoch) = (Mode::Suspended, 2));
    world.pass(seconds(1));
    world.ask();
    assert!(world.writes().is_empty(), "the dead pod is still there");
    world.see(|view| view.pod = None);
    assert_eq!(world.begin(Intent::Restore).epoch, 2);
}

#[test]
fn another_scaler_that_heard_the_ask_leaves_the_sleep_to_the_leader_who_heard_of_parked_requests() {
    let mut world = ended();
    world.pass(seconds(1));
    world.active(0, 3);
    world.pass(seconds(1));
    assert_eq!(world.drain(), None, "they have not been answered yet");
    world.active(0, 0);
    let nonce = soon_drained(&mut world).unwrap();
    world.reply(nonce, true);
    let write = world.begin(Intent::Suspend);
    assert_eq!(write.cause, "pod-ended");
    world.written(Written::Done(2));
    let slept = |note: &&Note| {
        matches!(
            note,
            Note::Slept {
                reason: SleepReason::PodEnded,
                ..
            }
        )
    };
    assert!(world.notes().iter().any(slept));
}

#[test]
fn a_pod_that_ended_and_that_nobody_needs_is_kept_for_whoever_wants_to_look_until_the_cooldown() {
    let mut world = ended();
    world.pass(seconds(24));
    assert_eq!(world.drain(), None);
    world.pass(seconds(6));
    assert!(world.drain().is_some());
}

#[test]
fn without_a_policy_or_with_a_paused_one_it_is_refused_with_the_reason_and_left_alone() {
    let mut unmanaged = ended();
    unmanaged.see(|view| view.policy = None);
    let mut paused = ended();
    paused.see(|view| view.policy.as_mut().unwrap().paused = true);
    for mut world in [unmanaged, paused] {
        world.pass(seconds(1));
        world.ask();
        assert_eq!(failures(&mut world), ["PodFailed"]);
        world.pass(seconds(500));
        assert_eq!(world.drain(), None);
    }
}

#[test]
fn held_awake_it_gets_a_new_pod_once_somebody_asks_for_it() {
    let mut world = ended();
    world.see_sandbox(|sandbox| sandbox.hold = Some(Hold::Awake));
    assert_eq!(soon_drained(&mut world), None);
    world.ask();
    let nonce = soon_drained(&mut world).unwrap();
    world.reply(nonce, true);
    world.begin(Intent::Suspend);
    world.written(Written::Done(2));
    world.see(|view| {
        let sandbox = view.sandbox.as_mut().unwrap();
        (sandbox.mode, sandbox.epoch) = (Mode::Suspended, 2);
        view.pod = None;
    });
    world.pass(seconds(2));
    assert_eq!(world.begin(Intent::Restore).cause, "hold");
}

#[test]
fn a_dead_pod_that_is_never_removed_fails_the_wake_with_that_reason() {
    let mut world = World::asleep();
    end_pod(&mut world, "pod-1");
    world.ask();
    world.pass(seconds(61));
    let told = world.tells();
    let Some(Tell::Failed {
        reason, message, ..
    }) = told.last()
    else {
        panic!("{told:?}")
    };
    assert_eq!(&**reason, "WakeTimeout");
    assert!(message.contains("was not removed"), "{message}");
    assert!(world.writes().is_empty());
}

#[test]
fn an_error_that_its_controller_tries_again_is_waited_out_for_a_third_of_the_wakes_time() {
    for (reason, patience) in [("ReconcilerError", 20), ("MultiplePods", 2)] {
        let mut world = World::asleep();
        world.ask();
        world.begin(Intent::Restore);
        world.written(Written::Done(2));
        world.see_sandbox(|sandbox| {
            (sandbox.mode, sandbox.epoch) = (Mode::Running, 2);
            sandbox.fault = Some(Fault::new(reason, "the old pod is still there"));
        });
        world.pass(seconds(patience) - Duration::from_nanos(1));
        assert_eq!(failures(&mut world), Vec::<String>::new());
        world.pass(Duration::from_nanos(1));
        assert_eq!(failures(&mut world), [reason]);
    }
}
