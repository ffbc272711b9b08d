//! A busy lease that stands on the Sandbox: every replica sees it, and it ends with its epoch.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use reveille_scaler_core::act::{Intent, Note, Written};
use reveille_scaler_core::command::{Answer, Command};
use reveille_scaler_core::ledger::Report;
use reveille_scaler_core::view::Mode;
use reveille_scaler_core::why::Why;
use world::{World, pod, seconds};

const NS: Duration = Duration::from_nanos(1);

impl World {
    /// The watch shows a lease of so many seconds, or none.
    fn leased(&mut self, length: Option<u64>) {
        let until = length.map(|length| self.now + seconds(length));
        self.see_sandbox(|sandbox| sandbox.busy_until = until);
    }
}

#[test]
fn a_lease_that_is_seen_keeps_it_awake_and_it_sleeps_when_the_lease_runs_out() {
    let mut world = World::awake();
    world.leased(Some(100));
    let end = Some(world.now + seconds(100));
    assert_eq!(world.next, end, "nothing is due before");
    let told = world.machine.explain(&world.roster, world.now);
    assert_eq!(told.next_sleep, end);
    world.pass(seconds(100) - NS);
    assert_eq!(world.drain(), None);
    assert!(world.why().contains("busy-until"), "{}", world.why());
    let sleep = world
        .machine
        .command(Command::Sleep { force: false }, &world.roster, world.now);
    assert!(matches!(sleep, Answer::Conflict(Why::Busy(_))), "{sleep:?}");
    world.pass(NS);
    world.fall_asleep();
}

#[test]
fn a_lease_that_is_taken_away_or_shortened_counts_no_longer() {
    let mut world = World::awake();
    world.leased(Some(1000));
    world.pass(seconds(20));
    world.leased(Some(20));
    world.pass(seconds(20) - NS);
    assert_eq!(world.drain(), None);
    world.leased(None);
    assert!(world.drain().is_some(), "its cooldown has passed meanwhile");
}

#[test]
fn of_what_the_agent_says_and_what_stands_on_the_sandbox_the_longest_counts() {
    for (said, stands) in [(50, 100), (100, 50)] {
        let mut world = World::awake();
        world.leased(Some(stands));
        world.report(Some(Report {
            busy: Some(("pod-1".into(), seconds(said))),
            ..Report::default()
        }));
        world.pass(seconds(100) - NS);
        assert_eq!(world.drain(), None);
        world.pass(NS);
        assert!(world.drain().is_some());
    }
}

#[test]
fn a_lease_outlives_its_pod_but_not_its_epoch() {
    let mut world = World::awake();
    world.leased(Some(100));
    world.see(|view| view.pod = Some(pod("pod-2", true)));
    world.pass(seconds(99));
    assert_eq!(world.drain(), None);

    let mut world = World::asleep();
    world.leased(Some(1000));
    world.ask();
    world.begin(Intent::Restore);
    world.written(Written::Done(2));
    // The watch still shows what was before the wake.
    world.settle("pod-1");
    world.pass(seconds(3));
    let stands = world.machine.view().sandbox.as_ref();
    assert_eq!(stands.and_then(|sandbox| sandbox.busy_until), None);
    world.see_sandbox(|sandbox| {
        (sandbox.mode, sandbox.epoch, sandbox.busy_until) = (Mode::Running, 2, None);
    });
    world.pass(seconds(40));
    assert!(world.drain().is_some());
}

#[test]
fn a_lease_that_comes_before_the_sleep_is_written_calls_it_off() {
    let mut world = World::awake();
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    let write = world.writes().remove(0);
    world.leased(Some(100));
    assert!(!world.begin_write(&write));
    assert!(world.undrained(nonce));
}

#[test]
fn a_sleep_that_lost_against_a_lease_is_a_lost_race_and_no_refusal() {
    let mut world = World::awake();
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    world.begin(Intent::Suspend);
    world.written(Written::Conflict);
    assert!(world.undrained(nonce));
    let denied = |note: &&Note| matches!(note, Note::SleepDenied { .. });
    assert!(!world.notes().iter().any(denied), "{:?}", world.acts);
    world.leased(Some(100));
    world.pass(seconds(100) - NS);
    assert_eq!(world.drain(), None);
    world.pass(NS);
    assert!(world.drain().is_some());
}

#[test]
fn only_what_is_to_be_awake_may_be_leased() {
    let world = World::awake();
    assert_eq!(world.machine.may_lease(world.now), Ok(()));
    let mut world = World::asleep();
    assert_eq!(world.machine.may_lease(world.now), Err(Why::Asleep));
    world.ask();
    world.begin(Intent::Restore);
    assert!(world.machine.may_lease(world.now).is_err());
    world.written(Written::Done(2));
    assert_eq!(world.machine.may_lease(world.now), Ok(()));
}
