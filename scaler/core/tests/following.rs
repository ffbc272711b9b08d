//! Wakes that another scaler has written, and that fail: whoever leads takes them back.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use reveille_scaler_core::act::{Act, Intent, Note, Tell, Written};
use reveille_scaler_core::view::{Fault, Mode, PodView, View};
use world::{World, claim_view, pod, policy, sandbox_view, seconds};

const MS: Duration = Duration::from_millis(1);

/// Asleep, and no policy governs it.
fn unmanaged() -> World {
    let mut world = World::asleep();
    world.see(|view| view.policy = None);
    world
}

fn broken() -> PodView {
    PodView {
        fault: Some(Fault::new("CreateContainerError", "no such file")),
        ..pod("pod-1", false)
    }
}

/// Another scaler wakes it.
fn woken(world: &mut World) {
    world.see_sandbox(|sandbox| {
        (sandbox.mode, sandbox.woken) = (Mode::Running, Some(Duration::ZERO));
        sandbox.epoch += 1;
    });
}

/// It is put to sleep as a wake that failed, without a word about the wake.
fn is_taken_back(world: &mut World) {
    let said = |act: &Act| matches!(act, Act::Tell(_) | Act::Note(Note::WakeFailed { .. }));
    assert!(!world.acts.iter().any(said), "{:?}", world.acts);
    let nonce = world.drain().expect("a drain is asked for");
    world.reply(nonce, true);
    let write = world.writes().pop().expect("a write is asked for");
    assert_eq!((write.what, write.cause), (Intent::Suspend, "wake-failed"));
}

fn stays(world: &mut World) {
    world.pass(seconds(600));
    assert_eq!(world.drain(), None);
}

#[test]
fn a_wake_of_another_scaler_whose_pod_cannot_come_up_is_taken_back() {
    let mut world = unmanaged();
    woken(&mut world);
    assert_eq!(world.drain(), None);
    world.see(|view| view.pod = Some(broken()));
    is_taken_back(&mut world);
}

#[test]
fn a_wake_of_another_scaler_that_is_late_is_taken_back_at_its_deadline() {
    let mut world = unmanaged();
    woken(&mut world);
    world.pass(seconds(600) - MS);
    assert_eq!(world.drain(), None);
    world.pass(MS);
    is_taken_back(&mut world);
}

/// Its sleep and the wake after it are seen at once.
fn woken_again(world: &mut World) {
    world.see_sandbox(|sandbox| {
        (sandbox.mode, sandbox.woken) = (Mode::Running, Some(Duration::ZERO));
        sandbox.epoch += 2;
    });
}

#[test]
fn a_wake_after_a_sleep_that_was_not_seen_has_all_its_time() {
    let mut world = unmanaged();
    woken(&mut world);
    world.pass(seconds(599));
    woken_again(&mut world);
    world.pass(seconds(600) - MS);
    assert_eq!(world.drain(), None);
    world.pass(MS);
    is_taken_back(&mut world);
}

#[test]
fn so_has_one_that_is_seen_when_the_wake_before_it_has_failed() {
    let mut world = unmanaged();
    woken(&mut world);
    world.pass(seconds(600));
    let nonce = world.drain().expect("a drain is asked for");
    woken_again(&mut world);
    assert!(world.undrained(nonce));
    world.pass(seconds(600) - MS);
    assert_eq!(world.drain(), None);
    world.pass(MS);
    world
        .acts
        .retain(|act| !matches!(act, Act::Note(Note::Drained { .. })));
    is_taken_back(&mut world);
}

#[test]
fn so_has_one_that_somebody_waits_for_since_before_it() {
    let mut world = unmanaged();
    woken(&mut world);
    world.ask();
    world.pass(seconds(599));
    world.take();
    woken_again(&mut world);
    world.pass(seconds(600) - MS);
    assert_eq!((world.drain(), world.tells().len()), (None, 0));
    world.pass(MS);
    assert!(matches!(world.tells()[..], [Tell::Failed { .. }]));
    world.acts.retain(|act| matches!(act, Act::Drain { .. }));
    is_taken_back(&mut world);
}

#[test]
fn so_has_a_claim_that_was_released_and_bound_again() {
    let mut world = World::of(View {
        claim: Some(claim_view(false)),
        policy: Some(policy()),
        ..View::default()
    });
    world.ask();
    world.pass(seconds(599));
    world.take();
    world.see(|view| {
        let claim = view.claim.as_mut().unwrap();
        (claim.uid, claim.epoch) = ("another".into(), 3);
    });
    world.pass(seconds(600) - MS);
    assert_eq!((world.drain(), world.tells().len()), (None, 0));
    world.pass(MS);
    assert!(matches!(world.tells()[..], [Tell::Failed { .. }]));
}

#[test]
fn but_no_claim_whose_epoch_alone_is_counted_on() {
    let mut world = World::of(View {
        claim: Some(claim_view(false)),
        policy: Some(policy()),
        ..View::default()
    });
    world.ask();
    world.pass(seconds(599));
    world.take();
    world.see(|view| view.claim.as_mut().unwrap().epoch += 1);
    world.pass(seconds(1));
    assert!(matches!(world.tells()[..], [Tell::Failed { .. }]));
}

#[test]
fn a_managed_sandbox_does_not_wait_out_its_cooldown_first() {
    let mut world = World::asleep();
    woken(&mut world);
    world.see(|view| view.pod = Some(broken()));
    is_taken_back(&mut world);
}

#[test]
fn once_it_was_up_a_wake_of_another_scaler_is_over() {
    let mut world = unmanaged();
    woken(&mut world);
    world.settle("pod-1");
    assert_eq!(world.next, None, "and nothing is waited for");
    world.see(|view| view.pod = Some(broken()));
    stays(&mut world);
}

#[test]
fn what_somebody_set_to_running_by_hand_is_left_alone() {
    let mut world = unmanaged();
    world.see_sandbox(|sandbox| sandbox.mode = Mode::Running);
    world.see(|view| view.pod = Some(broken()));
    stays(&mut world);
}

#[test]
fn nor_is_it_put_to_sleep_where_a_scaler_had_woken_it_a_moment_before() {
    let mut world = unmanaged();
    woken(&mut world);
    world.see_sandbox(|sandbox| sandbox.mode = Mode::Suspended);
    world.see_sandbox(|sandbox| sandbox.mode = Mode::Running);
    world.see(|view| view.pod = Some(broken()));
    stays(&mut world);
}

#[test]
fn a_request_that_joins_a_wake_of_another_scaler_does_not_keep_what_failed() {
    let mut world = unmanaged();
    woken(&mut world);
    world.ask();
    world.see(|view| view.pod = Some(broken()));
    assert!(matches!(world.tells()[..], [.., Tell::Failed { .. }]));
    world.acts.retain(|act| matches!(act, Act::Drain { .. }));
    is_taken_back(&mut world);
}

#[test]
fn a_request_after_the_failure_does_not_keep_it_either() {
    let mut world = unmanaged();
    world.ask();
    world.begin(Intent::Restore);
    world.written(Written::Done(2));
    woken(&mut world);
    world.see(|view| view.pod = Some(broken()));
    let nonce = world.drain().unwrap();
    world.pass(seconds(1));
    assert!(world.undrained(nonce), "nobody answered");
    world.ask();
    world.pass(500 * MS);
    world.acts.retain(|act| matches!(act, Act::Drain { .. }));
    is_taken_back(&mut world);
}

/// First seen Running with a broken pod, so long after a scaler has woken it.
fn found(ago: Duration) -> World {
    let mut sandbox = sandbox_view(Mode::Running);
    sandbox.woken = Some(ago);
    World::of(View {
        sandbox: Some(sandbox),
        pod: Some(broken()),
        ..View::default()
    })
}

#[test]
fn a_scaler_that_starts_under_a_wake_takes_it_back_too() {
    is_taken_back(&mut found(seconds(59)));
}

#[test]
fn but_not_what_may_have_been_up_since() {
    stays(&mut found(seconds(60)));
}

#[test]
fn a_scaler_that_follows_takes_it_back_as_soon_as_it_leads() {
    let mut world = unmanaged();
    world.roster.lead_until(None, world.now);
    woken(&mut world);
    world.see(|view| view.pod = Some(broken()));
    world.pass(seconds(30));
    assert_eq!(world.drain(), None);
    let until = world.now + seconds(100);
    world.roster.lead_until(Some(until), world.now);
    world.restart_activator("again");
    is_taken_back(&mut world);
}

#[test]
fn a_claim_that_another_scaler_bound_in_vain_is_given_back() {
    let mut world = World::of(View {
        claim: Some(claim_view(true)),
        policy: Some(policy()),
        ..View::default()
    });
    world.see(|view| {
        let mut claim = claim_view(false);
        (claim.uid, claim.epoch) = ("another".into(), 2);
        view.claim = Some(claim);
    });
    world.pass(seconds(600));
    let nonce = world.drain().expect("a drain is asked for");
    world.reply(nonce, true);
    assert_eq!(world.begin(Intent::Release).cause, "wake-failed");
}

#[test]
fn what_keeps_a_pod_from_coming_up_is_told() {
    let mut world = World::awake();
    world.see(|view| view.pod = Some(broken()));
    let told = "its pod will not come up: CreateContainerError";
    assert_eq!(world.why(), told);
    world.see(|view| view.policy = None);
    assert_eq!(world.why(), told);
    world.settle("pod-1");
    assert!(
        world.why().starts_with("no ScaledSandbox"),
        "{}",
        world.why()
    );
}
