//! What a wake does, joins, refuses and gives up.
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
use reveille_scaler_core::view::{Fault, Hold, Mode, Policy, View};
use reveille_scaler_core::wake::{Cause, Refusal};
use world::{World, claim_view, pod, policy, sandbox_view, seconds};

const MS: Duration = Duration::from_millis(1);

#[test]
fn many_asks_cost_one_write_and_one_wake() {
    let mut world = World::asleep();
    for _ in 0..100 {
        world.ask();
    }
    let write = world.begin(Intent::Restore);
    assert_eq!((write.epoch, write.cause), (1, "http"));
    world.ask();
    world.now += MS;
    world.written(Written::Done(2));
    assert!(world.tells().contains(&Tell::Waking { epoch: 2 }));
    world.ask();
    world.now += 190 * MS;
    world.see(|view| {
        let sandbox = view.sandbox.as_mut().unwrap();
        (sandbox.mode, sandbox.epoch) = (Mode::Running, 2);
        view.pod = Some(pod("pod-1", false));
        view.pod.as_mut().unwrap().addressed = true;
    });
    world.now += 21 * MS;
    world.machine.ready(&"pod-1".into(), world.now);
    world.poll();
    let notes = world.notes();
    let [Note::Woke(woke)] = notes[..] else {
        panic!("{notes:?}")
    };
    assert_eq!(
        (woke.cause, woke.decide, woke.start, woke.ready),
        (Cause::Http, MS, 190 * MS, 21 * MS)
    );
    assert!(world.writes().is_empty());
}

#[test]
fn our_own_write_is_known_before_the_watch_shows_it() {
    let mut world = World::asleep();
    world.ask();
    world.begin(Intent::Restore);
    world.written(Written::Done(2));
    world.see(|_| {});
    world.ask();
    assert!(
        world.writes().is_empty(),
        "the old picture must not start a second wake"
    );
}

#[test]
fn a_conflict_is_looked_at_again_and_retried() {
    let mut world = World::asleep();
    world.ask();
    world.begin(Intent::Restore);
    world.written(Written::Conflict);
    assert!(world.writes().is_empty());
    world.see_sandbox(|sandbox| sandbox.epoch = 5);
    assert_eq!(world.begin(Intent::Restore).epoch, 5);
}

#[test]
fn a_denied_wake_fails_at_once_and_is_backed_off_but_not_for_an_operator() {
    let mut world = World::asleep();
    world.ask();
    world.begin(Intent::Restore);
    let denial = r#"sandboxes "alice" is forbidden: User "system:serviceaccount:reveille:scaler" cannot patch"#;
    world.written(Written::Denied(denial.into()));
    let quotes =
        |note: &&Note| matches!(note, Note::WakeFailed { message, .. } if **message == *denial);
    let noted = world.notes().into_iter().any(|note| quotes(&note));
    assert!(noted, "the operator reads the server's own words");
    let failed = world.tells().pop().unwrap();
    let Tell::Failed {
        reason,
        message,
        retry_after,
    } = failed
    else {
        panic!("{failed:?}")
    };
    assert_eq!((&*reason, retry_after), ("WakeDenied", seconds(1)));
    let ours = |message: &str| !message.contains("forbidden") && message.contains("operator");
    assert!(ours(&message), "what a stranger reads: {message}");
    world.ask();
    assert!(world.writes().is_empty(), "backed off");
    let told = world.tells();
    assert!(
        matches!(&told[..], [Tell::Failed { message, .. }] if ours(message)),
        "and told so: {told:?}"
    );
    let mut command = |cause| {
        let wake = Command::Wake { cause, waiting: 1 };
        world.machine.command(wake, &world.roster, world.now)
    };
    let Answer::BackedOff {
        reason,
        message,
        retry_after,
    } = command(Cause::Http)
    else {
        panic!("a request does not end the back-off")
    };
    assert!(ours(&message), "by the API as well: {message}");
    assert_eq!((&*reason, retry_after), ("WakeDenied", seconds(1)));
    assert_eq!(command(Cause::Api), Answer::Waking, "an operator does");
    world.poll();
    world.begin(Intent::Restore);
}

#[test]
fn the_pod_of_before_the_sleep_is_not_taken_for_the_new_one() {
    let mut world = World::awake();
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    world.begin(Intent::Suspend);
    world.ask();
    world.written(Written::Done(2));
    world.begin(Intent::Restore);
    world.written(Written::Done(3));
    world.see_sandbox(|sandbox| (sandbox.mode, sandbox.epoch) = (Mode::Running, 3));
    assert!(
        !world
            .notes()
            .iter()
            .any(|note| matches!(note, Note::Woke(_))),
        "{:?}",
        world.acts
    );
    world.settle("pod-2");
    assert!(
        world
            .notes()
            .iter()
            .any(|note| matches!(note, Note::Woke(_)))
    );
}

#[test]
fn a_pod_that_the_controller_kept_counts_after_a_while() {
    let mut world = World::awake();
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    world.begin(Intent::Suspend);
    world.ask();
    world.written(Written::Done(2));
    world.begin(Intent::Restore);
    world.written(Written::Done(3));
    world.see_sandbox(|sandbox| (sandbox.mode, sandbox.epoch) = (Mode::Running, 3));
    world.pass(seconds(2));
    assert!(
        world
            .notes()
            .iter()
            .any(|note| matches!(note, Note::Woke(_)))
    );
}

#[test]
fn whatever_must_not_be_woken_is_refused_with_its_reason() {
    type Change = fn(&mut View);
    let cases: [(Refusal, Change); 6] = [
        (Refusal::Deleting, |view| {
            view.sandbox.as_mut().unwrap().deleting = true
        }),
        (Refusal::PoolOwned, |view| {
            view.sandbox.as_mut().unwrap().pool_member = true
        }),
        (Refusal::Expired, |view| {
            view.sandbox.as_mut().unwrap().fault = Some(Fault::new("SandboxExpired", "expired"))
        }),
        (Refusal::HeldAsleep, |view| {
            view.sandbox.as_mut().unwrap().hold = Some(Hold::Asleep)
        }),
        (Refusal::Paused, |view| {
            view.policy = Some(Policy {
                paused: true,
                ..policy()
            })
        }),
        (Refusal::NotTriggered, |view| {
            view.policy = Some(Policy {
                http: false,
                ..policy()
            })
        }),
    ];
    for (refusal, change) in cases {
        let mut world = World::asleep();
        world.see(change);
        world.ask();
        world.ask();
        assert_eq!(
            world.tells(),
            [Tell::Refused(refusal), Tell::Refused(refusal)]
        );
        assert_eq!(world.notes().len(), 1, "noted once");
        assert!(world.writes().is_empty(), "{refusal:?}");
    }
}

#[test]
fn a_hold_while_it_is_waking_refuses_who_waits() {
    let mut world = World::asleep();
    world.ask();
    let write = world.writes().remove(0);
    world.see_sandbox(|sandbox| sandbox.hold = Some(Hold::Asleep));
    assert_eq!(world.tells(), [Tell::Refused(Refusal::HeldAsleep)]);
    assert!(!world.begin_write(&write));
}

#[test]
fn a_sandbox_held_awake_is_woken_by_itself() {
    let mut world = World::asleep();
    world.see_sandbox(|sandbox| sandbox.hold = Some(Hold::Awake));
    assert_eq!(world.begin(Intent::Restore).cause, "hold");
}

#[test]
fn a_released_claim_is_bound_again_and_a_failed_binding_given_back() {
    let claim = Some(claim_view(true));
    let mut world = World::of(View {
        sandbox: None,
        claim,
        pod: None,
        policy: Some(policy()),
    });
    world.ask();
    world.begin(Intent::Bind);
    world.written(Written::Done(2));
    world.see(|view| {
        let claim = view.claim.as_mut().unwrap();
        (claim.epoch, claim.released) = (2, false);
    });
    world.pass(seconds(600));
    assert!(matches!(world.tells()[..], [.., Tell::Failed { .. }]));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    assert_eq!(world.begin(Intent::Release).epoch, 2);
}

#[test]
fn an_unbound_claim_is_waited_for_and_never_given_back() {
    let claim = Some(claim_view(false));
    let mut world = World::of(View {
        sandbox: None,
        claim,
        pod: None,
        policy: Some(policy()),
    });
    world.ask();
    assert_eq!(world.tells(), [Tell::Waking { epoch: 1 }]);
    world.pass(seconds(600));
    assert!(matches!(world.tells()[..], [Tell::Failed { .. }]));
    assert!(world.writes().is_empty());
    assert_eq!(world.drain(), None);
    world.see(|view| {
        view.sandbox = Some(sandbox_view(Mode::Running));
        view.pod = Some(pod("pod-1", true));
    });
    world.ask();
    assert_eq!(world.tells(), [Tell::Waking { epoch: 1 }]);
}

#[test]
fn a_sleep_written_by_somebody_else_under_a_wake_is_undone() {
    let mut world = World::asleep();
    world.ask();
    world.begin(Intent::Restore);
    world.written(Written::Done(2));
    world.see_sandbox(|sandbox| (sandbox.mode, sandbox.epoch) = (Mode::Suspended, 3));
    assert_eq!(world.begin(Intent::Restore).epoch, 3);
}

#[test]
fn a_recreated_sandbox_starts_clean() {
    let mut world = World::awake();
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.see_sandbox(|sandbox| (sandbox.uid, sandbox.epoch) = ("other".into(), 0));
    world.reply(nonce, true);
    let suspends_other = world.writes().iter().any(|write| &*write.uid != "other");
    assert!(!suspends_other);
}
