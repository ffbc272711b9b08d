//! Slow starters: a wait ends long before the wake does.

use super::*;

fn go(entry: &mut Entry<u32>, now: Instant) -> Release {
    let Arrival::Go(release) = arrive(entry, 9, now) else {
        panic!("not sent")
    };
    entry.end(now);
    release
}

/// A policy whose requests wait for 2 s, and whose wakes may take 60.
fn hasty(state: State) -> View {
    let limits = Limits {
        wake_deadline: secs(2),
        progress_deadline: secs(60),
        ..Limits::default()
    };
    View {
        limits,
        ..view(2, state)
    }
}

/// Asleep under that policy, and asked for.
fn woken(now: Instant) -> Entry<u32> {
    let mut entry = Entry::new();
    let asleep = View {
        epoch: 1,
        ..hasty(State::Asleep)
    };
    entry.observe(asleep, now);
    park(&mut entry, 1, now);
    entry.poll(now);
    entry.observe(hasty(State::Waking), now);
    entry
}

#[test]
fn the_deadline_ends_the_wait_and_not_the_wake_and_who_comes_later_joins() {
    for pod in [pod(POD, false), unproven(POD)] {
        let now = start();
        let mut entry = woken(now);
        entry.observe(hasty(pod), now + secs(1));
        let step = entry.poll(now + secs(2));
        assert_eq!((ids(&step.expired), step.elapsed), (vec![1], secs(2)));
        assert!(entry.is_waking() && entry.probe(now + secs(30)).is_some());
        assert_eq!(entry.next(now + secs(30)), Some(now + secs(60)), "no ticks");
        let Arrival::Parked { ticket, role } = arrive(&mut entry, 2, now + secs(30)) else {
            panic!("not parked")
        };
        assert_eq!(role, Role::Joined);
        assert!(entry.poll(now + secs(30)).wake.is_some(), "heard at once");
        entry.opened(&POD.into());
        let step = entry.poll(now + secs(31));
        assert_eq!((ids(&step.released), step.took), (vec![2], Some(secs(31))));
        assert!(entry.abandon(ticket).is_none());
    }
}

#[test]
fn a_wake_that_has_had_its_time_is_over() {
    let now = start();
    let mut entry = woken(now);
    entry.poll(now + secs(2));
    entry.poll(now + secs(60));
    assert!(!entry.is_waking());
}

#[test]
fn a_wake_that_was_never_begun_is_not_watched_for_longer_than_one_waits() {
    let now = start();
    let mut entry = woken(now);
    entry.observe(hasty(State::Asleep), now + secs(1));
    entry.poll(now + secs(2));
    assert!(!entry.is_waking());
}

#[test]
fn who_comes_while_the_watch_shows_a_wake_joins_it_wherever_it_was_asked_for() {
    let now = start();
    let mut entry = entry(State::Waking, now);
    let joined = |entry: &mut Entry<u32>| {
        matches!(
            arrive(entry, 1, now),
            Arrival::Parked {
                role: Role::Joined,
                ..
            }
        )
    };
    assert!(joined(&mut entry));
    let mut entry = super::entry(State::Waking, now);
    entry.observe(view(1, unproven(POD)), now);
    assert!(joined(&mut entry));
}

#[test]
fn the_time_of_a_wake_is_known_only_where_all_of_it_was_seen() {
    let now = start();
    let mut entry = entry(State::Waking, now);
    park(&mut entry, 1, now);
    entry.observe(view(1, pod(POD, true)), now + secs(5));
    let step = entry.poll(now + secs(5));
    assert_eq!((ids(&step.released), step.took), (vec![1], None));
}

#[test]
fn whoever_waits_at_the_end_of_youth_is_told_and_later_ones_are_sent_on_ready_alone() {
    let now = start();
    let mut entry = entry(State::Waking, now);
    entry.observe(view(1, unproven(POD)), now);
    park(&mut entry, 1, now + secs(570));
    entry.poll(now + secs(570));
    assert!(entry.poll(now + secs(599)).released.is_empty());
    let next = entry.next(now + secs(599));
    assert!(next.is_some_and(|at| at <= now + secs(600)));
    let step = entry.poll(now + secs(600));
    assert_eq!((ids(&step.denied), step.released.len()), (vec![1], 0));
    assert_eq!(&*step.denial.unwrap().reason, "NotAnswering");
    let release = go(&mut entry, now + secs(600));
    assert_eq!(release.young_until, None);
}

#[test]
fn whoever_comes_right_before_the_end_of_youth_is_not_told_that_a_port_nobody_tried_does_not_answer()
 {
    let now = start();
    let mut entry = entry(State::Waking, now);
    entry.observe(view(1, unproven(POD)), now);
    park(&mut entry, 1, now + secs(599));
    assert!(entry.poll(now + secs(599)).released.is_empty());
    let step = entry.poll(now + secs(600));
    assert_eq!((ids(&step.released), step.denied.len()), (vec![1], 0));
    assert_eq!(step.release.unwrap().young_until, None);
}

#[test]
fn nor_is_who_was_kept_back_until_then() {
    let now = start();
    let mut entry = entry(State::Asleep, now);
    entry.observe(view(2, pod(POD, false)), now);
    assert_eq!(drain(&mut entry, 1, now + secs(595)), DrainAnswer::Drained);
    park(&mut entry, 1, now + secs(595));
    entry.poll(now + secs(595));
    entry.observe(view(2, unproven(POD)), now + secs(596));
    entry.poll(now + secs(596));
    entry.outcome(Outcome::Undrain { nonce: 1 }, now + secs(599));
    assert!(entry.poll(now + secs(599)).released.is_empty());
    let step = entry.poll(now + secs(600));
    assert_eq!((ids(&step.released), step.denied.len()), (vec![1], 0));
}

#[test]
fn a_pod_without_a_probe_is_not_drained_before_it_has_answered_while_its_wake_goes_on() {
    let now = start();
    let mut entry = woken(now);
    entry.observe(hasty(unproven(POD)), now + secs(1));
    assert_eq!(ids(&entry.poll(now + secs(2)).expired), [1]);
    entry.end(now + secs(2));
    assert_eq!(drain(&mut entry, 1, now + secs(40)), DrainAnswer::Busy);
    entry.poll(now + secs(61));
    assert_eq!(drain(&mut entry, 2, now + secs(61)), DrainAnswer::Drained);

    let mut entry = woken(now);
    entry.observe(hasty(unproven(POD)), now + secs(1));
    entry.poll(now + secs(2));
    entry.end(now + secs(2));
    entry.opened(&POD.into());
    entry.poll(now + secs(3));
    assert_eq!(drain(&mut entry, 1, now + secs(3)), DrainAnswer::Drained);
}

#[test]
fn a_pod_that_was_up_before_this_process_is_not_young() {
    let now = start();
    let mut entry = entry(pod(POD, true), now);
    assert_eq!(go(&mut entry, now).young_until, None);
}

#[test]
fn a_pod_that_was_started_a_moment_before_this_process_has_to_prove_that_it_answers() {
    let now = start();
    let State::Awake(recent) = unproven(POD) else {
        unreachable!()
    };
    let recent = Pod {
        is_recent: true,
        ..recent
    };
    let mut entry = entry(State::Awake(recent), now);
    park(&mut entry, 1, now);
    assert!(entry.poll(now).released.is_empty() && entry.probe(now).is_some());
    entry.opened(&POD.into());
    assert_eq!(ids(&entry.poll(now).released), [1]);
}

#[test]
fn a_pod_that_has_answered_is_young_for_as_long_as_one_waits_for_a_wake() {
    let now = start();
    let mut entry = entry(State::Asleep, now);
    entry.observe(view(2, pod(POD, true)), now);
    let release = go(&mut entry, now);
    assert_eq!(release.young_until, Some(now + secs(60)));
    assert_eq!(release.patience, secs(55));
    assert_eq!(go(&mut entry, now + secs(60)).young_until, None);
}
