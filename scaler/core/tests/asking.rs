//! The question to the agent itself: when it is asked, and what its word counts for.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use reveille_scaler_core::act::{Act, Intent, Note, Written};
use reveille_scaler_core::ledger::Report;
use reveille_scaler_core::view::Policy;
use reveille_scaler_core::why::Why;
use world::{World, pod, policy, seconds};

const NS: Duration = Duration::from_nanos(1);
const PERIOD: Duration = Duration::from_secs(15);

/// Awake, under a policy that has the agent asked, and quiet until just before its question.
fn near_its_sleep() -> World {
    let mut world = World::awake();
    world.see(|view| {
        view.policy = Some(Policy {
            busy_period: Some(PERIOD),
            ..policy()
        })
    });
    world.pass(seconds(29) - NS);
    assert!(
        world.take().is_empty(),
        "not asked while it would not sleep anyway"
    );
    world
}

#[track_caller]
fn asked(world: &mut World) {
    let pod = "pod-1".into();
    assert_eq!(world.take(), [Act::AskBusy { pod }]);
}

fn answer(world: &mut World, answer: Option<Duration>) {
    world.machine.probed(&"pod-1".into(), answer, world.now);
    world.poll();
}

#[test]
fn the_agent_is_asked_near_its_sleep_and_again_in_each_period_of_its_lease() {
    let mut world = near_its_sleep();
    world.pass(NS);
    asked(&mut world);
    answer(&mut world, Some(seconds(600)));
    for _ in 0..3 {
        world.pass(PERIOD - NS);
        assert!(world.take().is_empty());
        assert!(world.why().contains("it is busy"), "{}", world.why());
        world.pass(NS);
        asked(&mut world);
        answer(&mut world, Some(seconds(600)));
    }
    world.pass(PERIOD);
    asked(&mut world);
    answer(&mut world, Some(Duration::ZERO));
    assert!(
        world.drain().is_some(),
        "the newer answer replaces the older"
    );
}

#[test]
fn a_lease_shorter_than_the_period_ends_by_itself() {
    let mut world = near_its_sleep();
    world.pass(NS);
    asked(&mut world);
    answer(&mut world, Some(seconds(5)));
    world.pass(seconds(14));
    assert!(world.take().is_empty());
    world.pass(seconds(1));
    asked(&mut world);
}

#[test]
fn the_agent_is_not_asked_while_another_lease_is_longer() {
    let mut world = near_its_sleep();
    world.pass(NS);
    asked(&mut world);
    answer(&mut world, Some(seconds(20)));
    world.report(Some(Report {
        busy: Some(("pod-1".into(), seconds(100))),
        ..Report::default()
    }));
    world.pass(seconds(100) - NS);
    assert!(world.take().is_empty());
    world.pass(NS);
    asked(&mut world);
}

#[test]
fn an_agent_that_says_no_more_keeps_the_lease_it_was_given() {
    let mut world = near_its_sleep();
    world.pass(NS);
    asked(&mut world);
    answer(&mut world, Some(seconds(100)));
    for _ in 0..3 {
        world.pass(PERIOD);
        asked(&mut world);
        answer(&mut world, None);
    }
    world.pass(seconds(55) - NS);
    assert_eq!(world.drain(), None);
}

#[test]
fn an_agent_without_a_usable_answer_is_not_idle_until_it_was_asked_as_often_as_its_policy_says() {
    let mut world = near_its_sleep();
    world.see(|view| view.policy.as_mut().unwrap().busy_failure_limit = 5);
    world.pass(NS);
    for asked_before in 0..5 {
        asked(&mut world);
        answer(&mut world, None);
        if asked_before < 4 {
            assert!(!world.machine.is_agent_silent());
            world.pass(PERIOD - NS);
            assert!(world.take().is_empty(), "awake for another period");
            assert_eq!(
                world.machine.explain(&world.roster, world.now).why,
                Why::BusyUnknown
            );
            world.pass(NS);
        }
    }
    assert!(world.machine.is_agent_silent());
    let given_up = |note: &&&Note| matches!(note, Note::AgentSilent { asked: 5 });
    assert_eq!(world.notes().iter().filter(given_up).count(), 1);
    world.pass(seconds(1));
    assert!(world.drain().is_some());
}

#[test]
fn one_answer_makes_up_for_all_questions_in_vain() {
    let mut world = near_its_sleep();
    world.see(|view| view.policy.as_mut().unwrap().busy_failure_limit = 2);
    world.pass(NS);
    for _ in 0..3 {
        asked(&mut world);
        answer(&mut world, None);
        world.pass(PERIOD);
        asked(&mut world);
        answer(&mut world, Some(seconds(20)));
        world.pass(PERIOD);
    }
    assert_eq!(world.drain(), None);
}

#[test]
fn an_answer_counts_though_the_pod_faltered_meanwhile() {
    let mut world = near_its_sleep();
    world.pass(NS);
    asked(&mut world);
    world.see(|view| view.pod = None);
    world.see(|view| view.pod = Some(pod("pod-1", true)));
    answer(&mut world, Some(seconds(600)));
    assert!(world.why().contains("it is busy"), "{}", world.why());
}

#[test]
fn another_pod_is_asked_anew_whatever_the_one_before_was_asked_or_said() {
    for answered in [false, true] {
        let mut world = near_its_sleep();
        world.pass(NS);
        asked(&mut world);
        if answered {
            answer(&mut world, Some(Duration::ZERO));
        }
        // The watch had a gap: one ready pod is replaced by another in one step.
        world.settle("pod-2");
        let pod = "pod-2".into();
        assert_eq!(world.take(), [Act::AskBusy { pod }]);
        world.machine.probed(&"pod-1".into(), None, world.now);
        world
            .machine
            .probed(&"pod-2".into(), Some(Duration::ZERO), world.now);
        world.pass(seconds(2));
        assert!(world.drain().is_some());
    }
}

#[test]
fn who_does_not_lead_asks_no_agent() {
    let mut world = near_its_sleep();
    world.roster.lead_until(None, world.now);
    world.pass(seconds(100));
    assert!(world.take().is_empty());
}

#[test]
fn an_agent_that_was_given_up_stays_so_over_its_sleep_until_it_answers() {
    let mut world = near_its_sleep();
    world.see(|view| view.policy.as_mut().unwrap().busy_failure_limit = 1);
    world.pass(NS);
    asked(&mut world);
    assert!(!world.machine.is_agent_given_up());
    answer(&mut world, None);
    assert!(world.machine.is_agent_given_up());
    world.pass(seconds(1));
    world.fall_asleep();
    assert!(world.machine.is_agent_given_up(), "asleep, and not mended");
    world.ask();
    world.begin(Intent::Restore);
    world.written(Written::Done(3));
    world.settle("pod-2");
    world.pass(seconds(29));
    world.take();
    assert!(world.machine.is_agent_given_up());
    world
        .machine
        .probed(&"pod-2".into(), Some(Duration::ZERO), world.now);
    assert!(!world.machine.is_agent_given_up());
}
