//! What others write meanwhile, and answers that come after the watch has shown more.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use reveille_scaler_core::act::{Intent, Note, Tell, Write, Written};
use reveille_scaler_core::explain::State;
use reveille_scaler_core::view::{Desired, Mode, Policy, View};
use world::{World, claim_view, pod, policy, sandbox_view, seconds};

const NS: Duration = Duration::from_nanos(1);

/// All activators have stopped sending, and the sleep is on its way to the server.
fn sleeping(mut world: World) -> World {
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    world.begin(Intent::Suspend);
    world
}

fn set(world: &mut World, mode: Mode, epoch: u64) {
    world.see_sandbox(|sandbox| (sandbox.mode, sandbox.epoch) = (mode, epoch));
}

#[test]
fn a_sleep_answered_late_does_not_hide_that_somebody_woke_it_since() {
    let mut world = sleeping(World::awake());
    set(&mut world, Mode::Running, 3);
    world.written(Written::Done(2));
    assert_eq!(world.machine.view().desired(), Desired::Running);
    assert_eq!(world.machine.state(world.now), State::Awake);
    world.pass(seconds(30));
    let nonce = world.drain().expect("it sleeps again when it is quiet");
    world.reply(nonce, true);
    assert_eq!(world.begin(Intent::Suspend).epoch, 3);
}

#[test]
fn a_binding_answered_late_does_not_hide_what_was_bound() {
    for uid in ["claim", "the claim made again"] {
        let mut world = World::of(View {
            sandbox: None,
            claim: Some(claim_view(true)),
            pod: None,
            policy: Some(policy()),
        });
        world.ask();
        world.begin(Intent::Bind);
        world.see(|view| {
            let claim = view.claim.as_mut().unwrap();
            (claim.uid, claim.epoch, claim.released) = (uid.into(), 2, false);
            view.sandbox = Some(sandbox_view(Mode::Running));
            view.pod = Some(pod("pod-1", true));
        });
        world.written(Written::Done(2));
        assert_eq!(world.machine.state(world.now), State::Awake);
        let notes = world.notes();
        assert!(matches!(notes[..], [Note::Woke(_)]), "{notes:?}");
    }
}

#[test]
fn a_wake_answered_after_somebody_put_it_to_sleep_again_is_written_again() {
    let mut world = World::asleep();
    world.ask();
    world.begin(Intent::Restore);
    set(&mut world, Mode::Suspended, 3);
    world.written(Written::Done(2));
    assert_eq!(world.begin(Intent::Restore).epoch, 3);
}

#[test]
fn a_wake_that_came_too_late_is_not_taken_back_where_it_sleeps_again_already() {
    let mut world = World::asleep();
    world.see(|view| {
        view.policy = Some(Policy {
            wake_deadline: seconds(1),
            ..policy()
        })
    });
    world.ask();
    world.begin(Intent::Restore);
    world.pass(seconds(1));
    assert!(matches!(world.tells()[..], [.., Tell::Failed { .. }]));
    set(&mut world, Mode::Suspended, 3);
    world.written(Written::Done(2));
    set(&mut world, Mode::Running, 4);
    world.pass(seconds(1));
    assert_eq!(world.drain(), None, "this start is somebody else's");
}

#[test]
fn a_pod_that_outlived_a_sleep_counts_again_after_a_while_whoever_woke_it() {
    let mut world = sleeping(World::awake());
    world.written(Written::Done(2));
    set(&mut world, Mode::Running, 3);
    assert_eq!(world.machine.state(world.now), State::Waking);
    assert_eq!(
        world.next,
        Some(world.now + seconds(2)),
        "and it is looked at then"
    );
    world.pass_in_silence(seconds(2));
    assert_eq!(world.machine.state(world.now), State::Awake);
}

#[test]
fn a_pod_seen_while_it_sleeps_is_not_the_one_of_the_next_wake() {
    let mut world = World::asleep();
    world.settle("pod-1");
    set(&mut world, Mode::Running, 2);
    assert_eq!(world.machine.state(world.now), State::Waking);
    world.settle("pod-2");
    assert_eq!(world.machine.state(world.now), State::Awake);
}

#[test]
fn gates_closed_before_somebody_slept_and_woke_it_are_not_closed_any_more() {
    let mut world = World::awake();
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    set(&mut world, Mode::Running, 3);
    assert!(world.undrained(nonce));
    world.reply(nonce, true);
    assert!(world.writes().is_empty());
    assert_eq!(world.drain(), None, "a wake starts the cooldown anew");
}

#[test]
fn gates_closed_for_one_replica_say_nothing_of_the_next() {
    let mut world = World::of(View {
        sandbox: Some(sandbox_view(Mode::Running)),
        claim: Some(claim_view(false)),
        pod: Some(pod("pod-1", true)),
        policy: Some(policy()),
    });
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.see(|view| {
        view.sandbox.as_mut().unwrap().uid = "another".into();
        view.pod = Some(pod("pod-2", true));
    });
    assert!(world.undrained(nonce));
    world.reply(nonce, true);
    assert!(world.writes().is_empty());
}

#[test]
fn an_answer_to_the_write_of_an_earlier_object_of_the_name_is_not_taken() {
    let mut world = sleeping(World::awake());
    let stale = Write {
        what: Intent::Suspend,
        uid: "of-before".into(),
        epoch: 1,
        cause: "idle",
    };
    world.machine.written(&stale, &Written::Conflict, world.now);
    world.poll();
    assert_eq!(world.machine.state(world.now), State::Draining);
    world.written(Written::Done(2));
    assert_eq!(world.machine.view().desired(), Desired::Suspended);
}

#[test]
fn a_sleep_that_the_watch_shows_before_its_answer_comes_is_told_with_the_time_it_was_quiet() {
    let mut world = sleeping(World::awake());
    set(&mut world, Mode::Suspended, 2);
    world.written(Written::Done(2));
    let told = world.notes().into_iter().find_map(|note| match note {
        Note::Slept { quiet, awake, .. } => Some((*quiet, *awake)),
        _ => None,
    });
    assert_eq!(told, Some((seconds(30), Some(seconds(30)))));
}

#[test]
fn after_a_conflict_the_watch_is_waited_for_rather_than_the_write_repeated() {
    let mut world = World::asleep();
    world.ask();
    world.begin(Intent::Restore);
    world.written(Written::Conflict);
    world.pass(seconds(1) - NS);
    assert!(world.writes().is_empty());
    world.pass(NS);
    world.begin(Intent::Restore);
}

#[test]
fn a_wake_that_another_scaler_writes_while_ours_waits_for_its_turn_is_joined_and_not_written() {
    let mut world = World::asleep();
    world.ask();
    let waiting = world.writes().pop().unwrap();
    set(&mut world, Mode::Running, 2);
    assert!(world.tells().contains(&Tell::Waking { epoch: 2 }));
    assert!(!world.begin_write(&waiting));
    assert!(world.writes().is_empty());
    world.settle("pod-1");
    assert_eq!(world.machine.state(world.now), State::Awake);
}

#[test]
fn a_binding_that_another_scaler_wrote_while_ours_waited_is_not_written() {
    let mut world = World::of(View {
        sandbox: None,
        claim: Some(claim_view(true)),
        pod: None,
        policy: Some(policy()),
    });
    world.ask();
    let waiting = world.writes().pop().unwrap();
    world.see(|view| {
        let claim = view.claim.as_mut().unwrap();
        (claim.uid, claim.epoch, claim.released) = ("the claim made again".into(), 2, false);
    });
    assert!(!world.begin_write(&waiting));
    assert_eq!(world.machine.state(world.now), State::Waking);
}

#[test]
fn a_wake_whose_object_moved_on_and_sleeps_again_while_it_waited_is_asked_for_as_it_is_now() {
    let mut world = World::asleep();
    world.ask();
    let waiting = world.writes().pop().unwrap();
    set(&mut world, Mode::Suspended, 3);
    assert!(!world.begin_write(&waiting));
    assert_eq!(world.begin(Intent::Restore).epoch, 3);
}

#[test]
fn who_finds_that_another_woke_it_says_so_and_writes_no_more_however_late_the_watch() {
    let mut world = World::asleep();
    world.ask();
    world.begin(Intent::Restore);
    world.written(Written::Overtaken(2));
    assert!(world.tells().contains(&Tell::Waking { epoch: 2 }));
    for _ in 0..5 {
        for _ in 0..3 {
            world.ask();
            world.pass(seconds(1));
            world.see(|_| {});
            assert!(world.writes().is_empty(), "the old picture is no news");
        }
        // A watch that is later than any write may as well be right: it is tried anew.
        world.ask();
        world.pass(seconds(1));
        world.begin(Intent::Restore);
        world.written(Written::Overtaken(2));
    }
    world.see(|view| {
        let sandbox = view.sandbox.as_mut().unwrap();
        (sandbox.mode, sandbox.epoch) = (Mode::Running, 2);
        view.pod = Some(pod("pod-1", true));
    });
    assert_eq!(world.machine.state(world.now), State::Awake);
    assert!(world.notes().is_empty(), "the wake is the other's to tell");
}

/// Somebody suspends it by hand, which leaves its epoch, another scaler wakes it, and our watch shows only
/// what came of it, after our answer or before.
#[test]
fn a_wake_of_ours_that_another_wrote_once_more_unseen_is_the_others_to_tell() {
    for answered_late in [false, true] {
        let mut world = World::asleep();
        world.ask();
        world.begin(Intent::Restore);
        if answered_late {
            set(&mut world, Mode::Running, 3);
        }
        world.written(Written::Done(2));
        set(&mut world, Mode::Running, 3);
        world.settle("pod-1");
        assert_eq!(world.machine.state(world.now), State::Awake);
        assert!(world.notes().is_empty(), "{:?}", world.notes());
    }
}

#[test]
fn a_replica_of_our_binding_that_another_woke_since_is_the_others_to_tell() {
    for woken in [false, true] {
        let mut world = World::of(View {
            sandbox: None,
            claim: Some(claim_view(true)),
            pod: None,
            policy: Some(policy()),
        });
        world.ask();
        world.begin(Intent::Bind);
        world.written(Written::Done(2));
        world.see(|view| {
            let claim = view.claim.as_mut().unwrap();
            (claim.epoch, claim.released) = (2, false);
            let mut sandbox = sandbox_view(Mode::Running);
            sandbox.woken = woken.then_some(seconds(1));
            view.sandbox = Some(sandbox);
            view.pod = Some(pod("pod-1", true));
        });
        assert_eq!(world.machine.state(world.now), State::Awake);
        assert_eq!(world.notes().len(), usize::from(!woken));
    }
}

#[test]
fn a_wake_of_ours_that_was_put_to_sleep_and_woken_by_another_is_the_others_to_tell() {
    let mut world = World::asleep();
    world.ask();
    world.begin(Intent::Restore);
    world.written(Written::Done(2));
    set(&mut world, Mode::Running, 2);
    // Another leader puts it to sleep under the wake, and another scaler wakes it.
    set(&mut world, Mode::Suspended, 3);
    world.see(|view| {
        let sandbox = view.sandbox.as_mut().unwrap();
        (sandbox.mode, sandbox.epoch) = (Mode::Running, 4);
        view.pod = Some(pod("pod-1", true));
    });
    assert_eq!(world.machine.state(world.now), State::Awake);
    assert!(world.notes().is_empty(), "{:?}", world.notes());
}
