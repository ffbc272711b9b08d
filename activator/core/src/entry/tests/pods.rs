//! Draining, and what becomes of a pod.

use super::*;

#[test]
fn a_drain_is_refused_while_anything_goes_on_and_closes_the_gate_otherwise() {
    let now = start();
    let mut entry = entry(pod(POD, true), now);
    entry.begin();
    assert_eq!(drain(&mut entry, 1, now), DrainAnswer::Busy);
    entry.end(now);
    entry.busy(&POD.into(), secs(5), now);
    assert_eq!(drain(&mut entry, 2, now), DrainAnswer::Busy);
    let now = now + secs(5);
    entry.busy(&"pod-0".into(), secs(5), now);
    assert_eq!(
        drain(&mut entry, 3, now),
        DrainAnswer::Drained,
        "another pod's lease does not count"
    );
    assert!(matches!(
        arrive(&mut entry, 1, now),
        Arrival::Parked {
            role: Role::Started,
            ..
        }
    ));
    assert_eq!(
        entry.poll(now).wake.map(|ask| ask.waiting),
        Some(1),
        "a wake is due at once"
    );
    assert!(entry.probe(now).is_none());
}

#[test]
fn the_next_pod_does_not_inherit_a_lease() {
    let now = start();
    let mut entry = entry(pod(POD, true), now);
    entry.busy(&POD.into(), secs(3600), now);
    assert_eq!(drain(&mut entry, 1, now), DrainAnswer::Busy);
    entry.observe(view(3, pod("pod-2", true)), now);
    assert_eq!(drain(&mut entry, 2, now), DrainAnswer::Drained);
}

#[test]
fn an_undrain_lets_those_behind_the_gate_go_to_the_pod_that_was_there() {
    let now = start();
    let mut entry = entry(pod(POD, true), now);
    assert!(matches!(arrive(&mut entry, 0, now), Arrival::Go(_)));
    entry.end(now);
    assert_eq!(drain(&mut entry, 1, now), DrainAnswer::Drained);
    park(&mut entry, 1, now);
    assert!(entry.poll(now).released.is_empty());
    entry.outcome(Outcome::Undrain { nonce: 1 }, now);
    let step = entry.poll(now);
    assert_eq!(ids(&step.released), [1]);
    assert_eq!(step.opened, None, "its pod is no news");
}

#[test]
fn a_gate_that_nobody_opens_fails_awake() {
    let now = start();
    let mut entry = entry(pod(POD, true), now);
    drain(&mut entry, 1, now);
    park(&mut entry, 1, now + secs(9));
    assert!(entry.poll(now + secs(9)).released.is_empty());
    assert!(
        entry
            .next(now + secs(9))
            .is_some_and(|at| at <= now + secs(10))
    );
    assert_eq!(ids(&entry.poll(now + secs(10)).released), [1]);
}

#[test]
fn a_request_behind_the_gate_wakes_the_sandbox_right_after_it_slept() {
    let now = start();
    let mut entry = entry(pod(POD, true), now);
    drain(&mut entry, 1, now);
    park(&mut entry, 1, now);
    entry.poll(now);
    entry.observe(view(2, State::Asleep), now + millis(5));
    assert!(entry.poll(now + millis(250)).wake.is_some());
    entry.observe(view(3, pod("pod-2", true)), now + millis(900));
    let step = entry.poll(now + millis(900));
    assert_eq!(
        (ids(&step.released), step.opened.as_deref()),
        (vec![1], Some("pod-2"))
    );
}

#[test]
fn a_forgotten_pod_is_ignored_until_the_watch_says_something_newer() {
    let now = start();
    let mut entry = entry(pod(POD, true), now);
    assert!(matches!(arrive(&mut entry, 1, now), Arrival::Go(_)));
    entry.forget(&"pod-0".into(), now);
    assert!(
        matches!(arrive(&mut entry, 1, now), Arrival::Go(_)),
        "another pod was meant"
    );
    entry.forget(&POD.into(), now);
    park(&mut entry, 2, now);
    entry.observe(view(1, pod(POD, true)), now);
    let step = entry.poll(now);
    assert!(step.released.is_empty() && step.wake.is_some() && step.stage == Stage::Unreachable);
    assert!(entry.probe(now).is_none());
    entry.observe(view(1, pod(POD, false)), now);
    assert!(entry.probe(now).is_some());
    entry.observe(view(1, pod(POD, true)), now);
    assert_eq!(ids(&entry.poll(now).released), [2]);
}

#[test]
fn a_pod_forgotten_for_a_passing_fault_is_tried_again() {
    let now = start();
    let mut entry = entry(pod(POD, true), now);
    entry.forget(&POD.into(), now);
    park(&mut entry, 1, now);
    entry.poll(now);
    assert!(entry.poll(now + FORGET_FOR - millis(1)).released.is_empty());
    assert_eq!(ids(&entry.poll(now + FORGET_FOR).released), [1]);
}

#[test]
fn ready_alone_is_no_proof_for_a_pod_that_comes_up_without_a_probe() {
    let now = start();
    let mut entry = entry(State::Asleep, now);
    park(&mut entry, 1, now);
    entry.poll(now);
    entry.observe(view(2, unproven(POD)), now);
    let step = entry.poll(now);
    assert!(step.released.is_empty() && step.stage == Stage::NotAnswering);
    assert!(entry.probe(now).is_some());
    let later = now + secs(50);
    assert!(entry.poll(later).released.is_empty(), "it listens late");
    entry.opened(&POD.into());
    assert_eq!(ids(&entry.poll(later).released), [1]);
}

#[test]
fn a_request_that_finds_a_young_pod_unproven_waits_for_its_port_before_it_asks_for_a_wake() {
    let now = start();
    let mut entry = entry(State::Waking, now);
    entry.observe(view(1, unproven(POD)), now);
    park(&mut entry, 1, now);
    assert!(entry.poll(now).wake.is_none() && entry.probe(now).is_some());
    assert_eq!(entry.next(now), Some(now + millis(250)));
    assert!(entry.poll(now + millis(250)).wake.is_some());
    entry.opened(&POD.into());
    assert_eq!(ids(&entry.poll(now).released), [1]);
}

#[test]
fn the_pod_of_before_a_sleep_is_not_taken_for_the_new_one() {
    let now = start();
    let mut entry = entry(pod(POD, true), now);
    drain(&mut entry, 1, now);
    park(&mut entry, 1, now);
    let asleep = View {
        pod: Some(POD.into()),
        ..view(2, State::Asleep)
    };
    entry.observe(asleep, now);
    let now = now + secs(100);
    park(&mut entry, 2, now);
    entry.observe(view(3, pod(POD, true)), now);
    let step = entry.poll(now);
    assert!(step.released.is_empty() && step.stage == Stage::OldPod);
    assert!(entry.probe(now).is_none());
    assert!(!entry.opened(&POD.into()), "an old probe came back");
    entry.observe(view(3, State::Waking), now);
    entry.observe(view(3, pod("pod-2", true)), now);
    assert_eq!(ids(&entry.poll(now).released), [2]);
}

#[test]
fn a_sleep_that_went_by_between_two_views_makes_a_pod_old_too() {
    let now = start();
    let mut entry = entry(pod(POD, true), now);
    entry.observe(view(3, pod(POD, true)), now);
    park(&mut entry, 1, now);
    assert!(entry.poll(now).released.is_empty());
    assert!(entry.next(now).is_some_and(|at| at <= now + OLD_POD));
    assert_eq!(
        ids(&entry.poll(now + OLD_POD).released),
        [1],
        "no controller saw the sleep: it is the pod"
    );
}

#[test]
fn the_pod_of_before_a_sleep_stays_old_while_nothing_is_seen() {
    let now = start();
    let mut entry = entry(pod(POD, true), now);
    entry.observe(view(3, pod(POD, true)), now);
    entry.see(Sight::Blind);
    let ticket = park(&mut entry, 1, now);
    let later = now + secs(50);
    let step = entry.poll(later);
    assert!(step.released.is_empty() && step.stage == Stage::OldPod);
    assert!(
        entry.next(later).is_some_and(|at| at > later),
        "no busy loop"
    );
    entry.see(Sight::Since(later));
    assert!(
        entry.poll(later).released.is_empty(),
        "the news is on its way"
    );
    assert_eq!(ids(&entry.poll(later + OLD_POD).released), [1]);
    assert!(entry.abandon(ticket).is_none());
}

#[test]
fn a_gate_whose_hold_runs_out_stays_closed_while_nothing_is_seen() {
    let now = start();
    let mut entry = entry(pod(POD, true), now);
    assert_eq!(drain(&mut entry, 1, now), DrainAnswer::Drained);
    entry.see(Sight::Blind);
    let later = now + secs(11);
    park(&mut entry, 1, later);
    let step = entry.poll(later);
    assert!(step.released.is_empty() && step.stage == Stage::Draining);
    assert!(step.wake.is_some(), "a scaler is asked instead");
    assert!(
        entry.next(later).is_some_and(|at| at > later),
        "no busy loop"
    );
    entry.see(Sight::Since(later));
    assert!(entry.poll(later).released.is_empty());
    entry.observe(view(2, State::Asleep), later);
    assert!(entry.poll(later + OLD_POD).released.is_empty(), "it slept");

    let mut entry = super::entry(pod(POD, true), now);
    drain(&mut entry, 1, now);
    entry.see(Sight::Blind);
    park(&mut entry, 1, later);
    entry.outcome(Outcome::Undrain { nonce: 1 }, later);
    assert_eq!(ids(&entry.poll(later).released), [1], "the sleep is off");
}

#[test]
fn a_gap_that_nobody_asked_in_counts_too() {
    let now = start();
    let mut entry = entry(pod(POD, true), now);
    drain(&mut entry, 1, now);
    let back = now + secs(30);
    entry.see(Sight::Since(back));
    park(&mut entry, 1, back + millis(1));
    assert!(
        entry.poll(back + millis(1)).released.is_empty(),
        "its sleep may be about to be told"
    );
    assert_eq!(ids(&entry.poll(back + OLD_POD).released), [1]);
    entry.see(Sight::Since(back));
    let later = back + secs(100);
    assert!(
        matches!(arrive(&mut entry, 2, later), Arrival::Go(_)),
        "a gap of long ago holds nobody up"
    );
}

#[test]
fn what_is_awake_is_served_while_nothing_is_seen() {
    let now = start();
    let mut entry = entry(pod(POD, true), now);
    entry.see(Sight::Blind);
    assert!(matches!(
        arrive(&mut entry, 1, now + secs(3600)),
        Arrival::Go(_)
    ));
}

#[test]
fn a_pod_without_an_address_before_its_sleep_is_old_too() {
    let now = start();
    let starting = View {
        pod: Some(POD.into()),
        ..view(1, State::Waking)
    };
    let mut entry = Entry::new();
    entry.observe(starting, now);
    entry.observe(view(3, pod(POD, true)), now);
    park(&mut entry, 1, now);
    assert!(entry.poll(now).released.is_empty());
}

#[test]
fn a_pod_that_is_shown_only_after_its_sleep_is_old_all_the_same() {
    let now = start();
    let mut entry = entry(State::Waking, now);
    entry.observe(view(2, State::Asleep), now);
    let asleep = View {
        pod: Some(POD.into()),
        ..view(2, State::Asleep)
    };
    entry.observe(asleep, now);
    entry.observe(view(3, pod(POD, true)), now);
    park(&mut entry, 1, now);
    assert!(entry.poll(now).released.is_empty());
    entry.observe(view(3, pod("pod-2", true)), now);
    assert_eq!(ids(&entry.poll(now).released), [1]);
}

#[test]
fn an_idle_entry_is_small() {
    let size = size_of::<Entry<[u8; 16]>>();
    assert!(size <= 400, "{size} bytes");
}
