//! When a sandbox may sleep, and what stops it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use reveille_scaler_core::act::{Intent, Note, SleepReason, Written};
use reveille_scaler_core::command::{Answer, Command};
use reveille_scaler_core::ledger::Report;
use reveille_scaler_core::view::{Hold, Mode, Policy, Strategy, View};
use reveille_scaler_core::why::Why;
use world::{World, claim_view, pod, policy, sandbox_view, seconds};

const NS: Duration = Duration::from_nanos(1);

#[test]
fn a_quiet_sandbox_is_drained_exactly_at_its_cooldown_and_sleeps_when_drained() {
    let mut world = World::awake();
    world.pass(seconds(30) - NS);
    assert_eq!(world.drain(), None);
    world.pass(NS);
    let nonce = world.drain().unwrap();
    assert!(
        world.writes().is_empty(),
        "not before everyone stopped sending"
    );
    world.reply(nonce, true);
    let write = world.begin(Intent::Suspend);
    assert_eq!((&*write.uid, write.epoch, write.cause), ("uid", 1, "idle"));
    world.written(Written::Done(2));
    let slept = Note::Slept {
        reason: SleepReason::Idle,
        quiet: seconds(30),
        awake: Some(seconds(30)),
    };
    assert!(world.notes().contains(&&slept), "{:?}", world.acts);
    assert!(!world.undrained(nonce));
    world.see(|view| {
        view.pod = None;
        let sandbox = view.sandbox.as_mut().unwrap();
        (sandbox.mode, sandbox.epoch) = (Mode::Suspended, 2);
    });
    assert_eq!(world.next, None, "an idle sandbox has no timer");
}

#[test]
fn activity_of_any_kind_starts_the_cooldown_anew() {
    for report in [
        Report {
            in_flight: 1,
            ..Report::default()
        },
        Report {
            parked: 1,
            ..Report::default()
        },
    ] {
        let mut world = World::awake();
        world.pass(seconds(20));
        world.report(Some(report));
        world.pass(seconds(500));
        assert_eq!(world.drain(), None);
        world.report(Some(Report::default()));
        world.pass(seconds(30) - NS);
        assert_eq!(world.drain(), None);
        world.pass(NS);
        assert!(world.drain().is_some());
    }
}

#[test]
fn a_report_says_how_long_it_has_been_quiet() {
    let mut world = World::awake();
    world.pass(seconds(20));
    world.report(Some(Report {
        quiet_for: seconds(5),
        ..Report::default()
    }));
    world.pass(seconds(25) - NS);
    assert_eq!(world.drain(), None);
    world.pass(NS);
    assert!(world.drain().is_some());
}

#[test]
fn a_busy_lease_keeps_it_awake_until_it_ends() {
    let mut world = World::awake();
    world.report(Some(Report {
        busy: Some(("pod-1".into(), seconds(100))),
        ..Report::default()
    }));
    world.pass(seconds(100) - NS);
    assert_eq!(world.drain(), None);
    assert!(world.why().contains("busy"), "{}", world.why());
    world.pass(NS);
    assert!(world.drain().is_some());
}

#[test]
fn a_lease_of_another_pod_keeps_nothing_awake() {
    let mut world = World::awake();
    world.report(Some(Report {
        busy: Some(("pod-0".into(), seconds(100))),
        ..Report::default()
    }));
    world.pass(seconds(30));
    assert!(world.drain().is_some());
}

#[test]
fn a_silent_activator_blocks_every_sleep() {
    let mut world = World::awake();
    world.pass_in_silence(seconds(1000));
    assert_eq!(world.drain(), None);
    assert_eq!(world.why(), "activator a is silent");
    world.report(None);
    world.pass_in_silence(seconds(1));
    assert!(world.drain().is_some());
}

#[test]
fn a_new_leader_counts_everything_as_active_for_one_full_cooldown() {
    let mut world = World::awake();
    world.pass(seconds(29));
    world.roster.lead_until(None, world.now);
    world.pass(seconds(100));
    assert_eq!(world.drain(), None);
    world
        .roster
        .lead_until(Some(world.now + seconds(3600)), world.now);
    world.restart_activator("full again");
    world.pass(seconds(30) - NS);
    assert_eq!(world.drain(), None);
    world.pass(NS);
    assert!(world.drain().is_some());
}

#[test]
fn minimum_uptime_and_initial_cooldown_pass_first() {
    let both = [
        Policy {
            minimum_uptime: seconds(200),
            ..policy()
        },
        Policy {
            initial_cooldown: seconds(200),
            ..policy()
        },
    ];
    for policy in both {
        let mut world = World::awake();
        world.see(|view| view.policy = Some(policy));
        world.pass(seconds(200) - NS);
        assert_eq!(world.drain(), None, "{policy:?}");
        world.pass(NS);
        assert!(world.drain().is_some(), "{policy:?}");
    }
}

#[test]
fn what_is_not_ours_or_is_pinned_never_sleeps() {
    type Change = fn(&mut View);
    let cases: [(&str, Change); 7] = [
        ("unmanaged", |view| view.policy = None),
        ("paused", |view| {
            view.policy = Some(Policy {
                paused: true,
                ..policy()
            })
        }),
        ("held awake", |view| {
            view.sandbox.as_mut().unwrap().hold = Some(Hold::Awake)
        }),
        ("deleting", |view| {
            view.sandbox.as_mut().unwrap().deleting = true
        }),
        ("pool", |view| {
            view.sandbox.as_mut().unwrap().pool_member = true
        }),
        ("claim deleting", |view| {
            let mut claim = claim_view(false);
            claim.deleting = true;
            view.claim = Some(claim);
        }),
        ("starting", |view| view.pod = None),
    ];
    for (name, change) in cases {
        let mut world = World::awake();
        world.see(change);
        world.pass(if name == "starting" {
            seconds(59)
        } else {
            seconds(1000)
        });
        assert_eq!(world.drain(), None, "{name}");
        assert!(world.writes().is_empty(), "{name}");
    }
}

#[test]
fn an_expired_sandbox_is_left_to_its_controller() {
    let mut world = World::awake();
    let expires = world.now + seconds(10);
    world.see_sandbox(|sandbox| sandbox.expires = Some(expires));
    world.pass(seconds(1000));
    assert_eq!(world.drain(), None);
}

#[test]
fn a_sandbox_held_asleep_sleeps_as_soon_as_nothing_is_in_flight() {
    let mut world = World::awake();
    world.active(1, 0);
    world.see_sandbox(|sandbox| sandbox.hold = Some(Hold::Asleep));
    let nonce = world.drain().expect("new requests park from now on");
    world.reply(nonce, false);
    world.pass(seconds(5));
    assert!(world.writes().is_empty(), "something is in flight");
    world.report(Some(Report::default()));
    world.fall_asleep();
    assert!(world.notes().iter().any(|note| matches!(
        note,
        Note::Slept {
            reason: SleepReason::Held,
            ..
        }
    )));
    world.ask();
    assert!(world.writes().is_empty(), "held asleep beats traffic");
}

#[test]
fn an_operator_puts_an_idle_sandbox_to_sleep_at_once_but_not_a_needed_one() {
    let mut world = World::awake();
    world.active(1, 0);
    let answer = world
        .machine
        .command(Command::Sleep { force: false }, &world.roster, world.now);
    assert_eq!(answer, Answer::Conflict(Why::InFlight(1)));
    world.report(Some(Report::default()));
    let answer = world
        .machine
        .command(Command::Sleep { force: false }, &world.roster, world.now);
    assert_eq!(answer, Answer::Draining { grace: None });
    world.poll();
    world.fall_asleep();
    let answer = world
        .machine
        .command(Command::Sleep { force: false }, &world.roster, world.now);
    assert_eq!(answer, Answer::Asleep);
}

#[test]
fn a_claim_sleeps_by_release_only_where_its_policy_says_bind() {
    let bind = Policy {
        strategy: Strategy::Bind,
        ..policy()
    };
    for (policy, expected) in [(policy(), Intent::Suspend), (bind, Intent::Release)] {
        let mut world = World::of(View {
            sandbox: Some(sandbox_view(Mode::Running)),
            claim: Some(claim_view(false)),
            pod: Some(pod("pod-1", true)),
            policy: Some(policy),
        });
        world.pass(seconds(30));
        let nonce = world.drain().unwrap();
        world.reply(nonce, true);
        assert_eq!(world.begin(expected).what, expected);
    }
}

fn bound_claim() -> World {
    World::of(View {
        sandbox: Some(sandbox_view(Mode::Running)),
        claim: Some(claim_view(false)),
        pod: Some(pod("pod-1", true)),
        policy: Some(Policy {
            strategy: Strategy::Bind,
            ..policy()
        }),
    })
}

#[test]
fn a_claim_held_asleep_keeps_the_sandbox_that_bears_the_hold() {
    let mut world = bound_claim();
    world.see_sandbox(|sandbox| sandbox.hold = Some(Hold::Asleep));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    world.begin(Intent::Suspend);
}

#[test]
fn a_hold_that_comes_while_the_release_waits_for_its_turn_keeps_the_sandbox() {
    let mut world = bound_claim();
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    let release = world.writes().remove(0);
    assert_eq!(release.what, Intent::Release);
    world.see_sandbox(|sandbox| sandbox.hold = Some(Hold::Asleep));
    assert!(!world.begin_write(&release));
    world.begin(Intent::Suspend);
}
