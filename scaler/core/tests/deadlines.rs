//! How long a wake may take, and what ends it before its time.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use reveille_scaler_core::act::{Intent, Note, SleepReason, Tell, Written};
use reveille_scaler_core::view::{Fault, Mode};
use world::{World, pod, seconds};

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_wake_that_does_not_come_up_fails_at_its_progress_deadline_and_is_put_back() {
    let mut world = World::asleep();
    world.ask();
    world.begin(Intent::Restore);
    world.written(Written::Done(2));
    world.see(|view| {
        (
            view.sandbox.as_mut().unwrap().mode,
            view.sandbox.as_mut().unwrap().epoch,
        ) = (Mode::Running, 2);
        view.pod = Some(pod("pod-1", false));
    });
    world.tells();
    world.pass(seconds(600) - MS);
    assert!(world.tells().is_empty() && world.drain().is_none());
    world.pass(MS);
    let tells = world.tells();
    let [
        Tell::Failed {
            reason, message, ..
        },
    ] = &tells[..]
    else {
        panic!("{tells:?}")
    };
    assert_eq!(
        (&**reason, &**message),
        (
            "WakeTimeout",
            "the sandbox was not up within 600 s: its pod had no address"
        )
    );
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    let write = world.begin(Intent::Suspend);
    assert_eq!(
        (write.epoch, write.cause),
        (2, SleepReason::WakeFailed.as_str())
    );
}

#[test]
fn a_late_start_is_not_taken_back() {
    let mut world = World::asleep();
    world.ask();
    world.begin(Intent::Restore);
    world.written(Written::Done(2));
    world.see_sandbox(|sandbox| (sandbox.mode, sandbox.epoch) = (Mode::Running, 2));
    world.pass(seconds(600));
    let nonce = world.drain().unwrap();
    world.settle("pod-1");
    assert!(world.undrained(nonce));
    world.reply(nonce, true);
    assert!(world.writes().is_empty());
}

#[test]
fn a_fault_of_the_pod_ends_the_wake_early_with_its_reason() {
    let mut world = World::asleep();
    world.ask();
    world.begin(Intent::Restore);
    world.written(Written::Done(2));
    world.see(|view| {
        (
            view.sandbox.as_mut().unwrap().mode,
            view.sandbox.as_mut().unwrap().epoch,
        ) = (Mode::Running, 2);
        let mut faulty = pod("pod-1", false);
        faulty.fault = Some(Fault::new("ImagePullBackOff", "no such image"));
        view.pod = Some(faulty);
    });
    let failed = |tell: &Tell| matches!(tell, Tell::Failed { reason, .. } if &**reason == "ImagePullBackOff");
    assert!(world.tells().iter().any(failed));
    assert!(world.drain().is_some(), "and it is put back");
}

#[test]
fn a_pod_without_a_place_yet_does_not_end_the_wake_before_its_time() {
    let mut world = World::asleep();
    world.ask();
    world.begin(Intent::Restore);
    world.written(Written::Done(2));
    world.see(|view| {
        let sandbox = view.sandbox.as_mut().unwrap();
        (sandbox.mode, sandbox.epoch) = (Mode::Running, 2);
        let mut pod = pod("pod-1", false);
        pod.fault = Some(Fault::new("Unschedulable", "0/1 nodes are available"));
        view.pod = Some(pod);
    });
    world.take();
    world.pass(seconds(600) - MS);
    assert!(world.tells().is_empty());
    world.pass(MS);
    let told = world.tells();
    assert!(
        matches!(&told[..], [Tell::Failed { reason, .. }] if &**reason == "Unschedulable"),
        "{told:?}"
    );
}

#[test]
fn a_slow_start_goes_on_when_everybody_who_waited_has_left_and_who_comes_later_joins() {
    let mut world = World::asleep();
    world.ask();
    world.begin(Intent::Restore);
    world.written(Written::Done(2));
    world.see(|view| {
        let sandbox = view.sandbox.as_mut().unwrap();
        (sandbox.mode, sandbox.epoch) = (Mode::Running, 2);
        view.pod = Some(pod("pod-1", false));
        view.pod.as_mut().unwrap().addressed = true;
    });
    world.take();
    world.pass(seconds(400));
    assert!(world.tells().is_empty() && world.writes().is_empty());
    assert_eq!(world.drain(), None, "no cooldown counts while it starts");
    world.ask();
    assert_eq!(world.tells(), [Tell::Waking { epoch: 2 }]);
    world.settle("pod-1");
    let woke = |note: &&Note| matches!(note, Note::Woke(woke) if woke.ready >= seconds(400));
    assert!(world.notes().iter().any(woke), "{:?}", world.acts);
}

#[test]
fn a_wake_that_cannot_even_be_written_fails_when_nobody_waits_for_it_any_more() {
    let mut world = World::asleep();
    world.ask();
    world.writes();
    world.pass(seconds(60));
    let told = world.tells();
    assert!(
        matches!(&told[..], [Tell::Failed { message, .. }] if message.contains("within 60 s")),
        "{told:?}"
    );
}
