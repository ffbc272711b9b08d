//! How a wake goes, and how waits end.

use super::*;

#[test]
fn a_request_to_a_sleeping_sandbox_parks_wakes_and_is_released_once_the_pod_answers() {
    let now = start();
    let mut entry = entry(State::Asleep, now);
    park(&mut entry, 1, now);
    let step = entry.poll(now);
    assert_eq!(
        step.wake,
        Some(Ask {
            waiting: 1,
            oldest: Duration::ZERO,
            heard: false
        })
    );
    assert_eq!(entry.next(now), Some(now + millis(250)));
    assert!(entry.probe(now).is_none());

    let now = now + millis(100);
    entry.observe(view(2, pod(POD, false)), now);
    assert_eq!(entry.probe(now).map(|pod| &*pod.uid), Some(POD));
    assert!(entry.poll(now).released.is_empty());

    let now = now + millis(10);
    assert!(entry.opened(&POD.into()));
    assert_eq!(entry.next(now), Some(now));
    let step = entry.poll(now);
    assert_eq!(step.opened.as_deref(), Some(POD));
    assert_eq!(ids(&step.released), [1]);
    let release = step.release.unwrap();
    assert_eq!((&*release.pod, release.opened_at), (POD, now));
    assert!(release.young_until.is_some_and(|until| until > now));
    assert!(!entry.is_waking());
    assert!(matches!(arrive(&mut entry, 2, now), Arrival::Go(_)));
}

#[test]
fn a_wake_repeats_while_anyone_waits_and_waiters_cost_no_more_of_them() {
    let start = start();
    let mut entry = entry(State::Asleep, start);
    (0..500).for_each(|id| {
        park(&mut entry, id, start);
    });
    let sent = (0..6_000)
        .filter(|at| entry.poll(start + millis(*at)).wake.is_some())
        .collect::<Vec<_>>();
    assert_eq!(sent, [0, 250, 750, 1750, 3750, 5750]);
}

#[test]
fn the_wake_goes_on_when_the_client_that_began_it_leaves() {
    let now = start();
    let mut entry = entry(State::Asleep, now);
    let ticket = park(&mut entry, 1, now);
    assert_eq!(
        entry.abandon(ticket).map(|ended| ended.ending),
        Some(Ending::Abandoned)
    );
    assert!(entry.abandon(ticket).is_none());
    assert!(
        entry.poll(now).wake.is_some(),
        "the first wake is sent all the same"
    );
    entry.observe(view(2, pod(POD, false)), now);
    assert!(entry.probe(now).is_some());
    entry.opened(&POD.into());
    assert_eq!(entry.poll(now).opened.as_deref(), Some(POD));
    assert!(!entry.is_waking());
}

#[test]
fn a_wake_nobody_waits_for_is_watched_until_its_deadline() {
    let now = start();
    let mut entry = entry(State::Asleep, now);
    let ticket = park(&mut entry, 1, now);
    entry.abandon(ticket);
    entry.poll(now);
    assert_eq!(entry.next(now), Some(now + secs(60)));
    entry.poll(now + secs(60));
    assert!(!entry.is_waking());
}

#[test]
fn a_ticket_expires_at_its_own_deadline_and_says_how_far_the_wake_got() {
    let now = start();
    let mut entry = entry(State::Asleep, now);
    entry.begin();
    drop(entry.arrive(Some(secs(3)), |_| Ok::<_, Infallible>(1), now));
    entry.begin();
    drop(entry.arrive(Some(secs(3600)), |_| Ok::<_, Infallible>(2), now));
    let step = entry.poll(now + secs(3));
    assert_eq!(
        (ids(&step.expired), step.stage),
        (vec![1], Stage::Unanswered)
    );
    entry.outcome(Outcome::Waking, now + secs(3));
    entry.observe(view(2, State::Waking), now + secs(4));
    let step = entry.poll(now + secs(55));
    assert_eq!(
        (ids(&step.expired), step.stage),
        (vec![2], Stage::NoPod),
        "never raised above maxWait"
    );
}

#[test]
fn who_leaves_a_wake_that_is_held_up_learns_by_what_until_the_watch_shows_it() {
    let now = start();
    let delay = Delay {
        reason: "ApiUnavailable".into(),
        message: "no answer".into(),
    };
    for (state, is_told) in [(State::Asleep, true), (State::Waking, false)] {
        let mut entry = entry(State::Asleep, now);
        entry.begin();
        drop(entry.arrive(Some(secs(3)), |_| Ok::<_, Infallible>(1), now));
        entry.outcome(Outcome::Delayed(delay.clone()), now + secs(1));
        assert!(entry.poll(now + secs(2)).denied.is_empty(), "it goes on");
        entry.observe(view(2, state), now + secs(2));
        let step = entry.poll(now + secs(3));
        assert_eq!(ids(&step.expired), vec![1]);
        assert_eq!(step.delay.is_some(), is_told);
    }
    let mut entry = entry(State::Asleep, now);
    park(&mut entry, 1, now);
    entry.outcome(Outcome::Delayed(delay), now);
    entry.outcome(Outcome::Waking, now + secs(1));
    assert_eq!(entry.poll(now + secs(55)).delay, None);
}

#[test]
fn a_failed_wake_tells_everybody_and_answers_new_arrivals_for_a_bounded_time() {
    let now = start();
    let mut entry = entry(State::Asleep, now);
    (0..3).for_each(|id| {
        park(&mut entry, id, now);
    });
    let failed = denial(DenialKind::Failed, Some(secs(5)));
    entry.outcome(Outcome::Denied(failed.clone()), now);
    let step = entry.poll(now);
    assert_eq!(ids(&step.denied), [0, 1, 2]);
    assert!(
        step.denied
            .iter()
            .all(|ended| ended.ending == Ending::Failed)
    );
    assert!(!entry.is_waking());
    let Arrival::Refused(told) = arrive(&mut entry, 4, now + secs(2)) else {
        panic!("not refused")
    };
    assert_eq!(
        (told.reason, told.retry_after),
        (failed.reason, Some(secs(3)))
    );
    assert!(matches!(
        arrive(&mut entry, 5, now + secs(5)),
        Arrival::Parked { .. }
    ));

    let long = denial(DenialKind::Failed, Some(secs(3600)));
    entry.outcome(Outcome::Denied(long), now + secs(5));
    entry.poll(now + secs(5));
    assert!(matches!(
        arrive(&mut entry, 6, now + secs(34)),
        Arrival::Refused(_)
    ));
    assert!(matches!(
        arrive(&mut entry, 7, now + secs(35)),
        Arrival::Parked { .. }
    ));
}

#[test]
fn a_back_off_ends_when_somebody_else_wakes_the_sandbox() {
    let now = start();
    let mut entry = entry(State::Asleep, now);
    park(&mut entry, 1, now);
    entry.outcome(
        Outcome::Denied(denial(DenialKind::Failed, Some(secs(20)))),
        now,
    );
    entry.poll(now);
    entry.observe(view(2, State::Asleep), now);
    assert!(matches!(arrive(&mut entry, 2, now), Arrival::Refused(_)));
    entry.observe(view(3, State::Waking), now);
    assert!(matches!(arrive(&mut entry, 3, now), Arrival::Parked { .. }));
}

#[test]
fn an_echo_of_an_old_failure_harms_nobody() {
    let now = start();
    let mut entry = entry(State::Asleep, now);
    let echo = || Outcome::Denied(denial(DenialKind::Failed, Some(secs(5))));
    entry.outcome(echo(), now);
    assert!(matches!(arrive(&mut entry, 1, now), Arrival::Parked { .. }));
    entry.observe(view(2, pod(POD, true)), now);
    entry.outcome(echo(), now);
    assert_eq!(ids(&entry.poll(now).released), [1]);
}

#[test]
fn a_blocked_sandbox_refuses_those_who_wait_and_those_who_come() {
    let now = start();
    let mut entry = entry(State::Asleep, now);
    park(&mut entry, 1, now);
    entry.observe(
        view(1, State::Blocked(denial(DenialKind::Refused, None))),
        now,
    );
    assert_eq!(entry.next(now), Some(now));
    assert_eq!(ids(&entry.poll(now).denied), [1]);
    assert!(matches!(arrive(&mut entry, 2, now), Arrival::Refused(_)));
    entry.observe(view(1, State::Asleep), now);
    assert!(matches!(arrive(&mut entry, 3, now), Arrival::Parked { .. }));
}

#[test]
fn a_full_lot_says_so_and_a_payload_that_is_not_given_parks_nobody() {
    let now = start();
    let mut entry = entry(State::Asleep, now);
    let limits = Limits {
        max_requests: 1,
        ..Limits::default()
    };
    entry.observe(
        View {
            limits,
            ..view(1, State::Asleep)
        },
        now,
    );
    entry.begin();
    assert!(matches!(
        entry.arrive(None, |_| Err("no place"), now),
        Arrival::Turned("no place")
    ));
    assert_eq!((entry.parked(), entry.is_waking()), (0, false));
    park(&mut entry, 1, now);
    assert!(matches!(arrive(&mut entry, 2, now), Arrival::Full));
}

#[test]
fn a_lot_empties_in_order_as_answers_come_and_newcomers_queue_behind_it() {
    let now = start();
    let limits = Limits {
        release_concurrency: 1,
        ..Limits::default()
    };
    let mut entry = entry(State::Asleep, now);
    entry.observe(
        View {
            limits,
            ..view(1, State::Asleep)
        },
        now,
    );
    (0..3).for_each(|id| {
        park(&mut entry, id, now);
    });
    entry.poll(now);
    entry.observe(
        View {
            limits,
            ..view(2, pod(POD, true))
        },
        now,
    );
    let mut order = Vec::new();
    let step = entry.poll(now);
    order.extend(ids(&step.released));
    let generation = step.release.unwrap().generation;
    park(&mut entry, 3, now);
    assert!(entry.poll(now).released.is_empty());
    entry.answered(generation.wrapping_sub(1), now);
    assert!(
        entry.poll(now).released.is_empty(),
        "the answer of another wake does not count"
    );
    while entry.is_waking() {
        entry.answered(generation, now);
        order.extend(ids(&entry.poll(now).released));
    }
    assert_eq!(order, [0, 1, 2, 3]);
}

#[test]
fn a_slow_agent_does_not_keep_the_lot_until_it_expires() {
    let now = start();
    let mut entry = entry(State::Asleep, now);
    (0..1000).for_each(|id| {
        park(&mut entry, id, now);
    });
    entry.poll(now);
    entry.observe(view(2, pod(POD, true)), now);
    assert_eq!(entry.poll(now).released.len(), FIRST_WINDOW as usize);
    let mut at = now;
    while entry.is_waking() {
        at = entry.next(at).unwrap().max(at);
        entry.poll(at);
    }
    assert!(at < now + secs(10));
}

#[test]
fn a_sandbox_that_falls_asleep_while_its_lot_empties_is_woken_again_at_once() {
    let now = start();
    let mut entry = entry(State::Asleep, now);
    (0..100).for_each(|id| {
        park(&mut entry, id, now);
    });
    entry.poll(now);
    entry.observe(view(2, pod(POD, true)), now);
    let first = entry.poll(now).release.unwrap().generation;
    entry.observe(view(3, State::Asleep), now + millis(1));
    let step = entry.poll(now + millis(1));
    assert!(step.released.is_empty() && step.wake.is_some());
    entry.observe(view(4, pod("pod-2", true)), now + millis(2));
    let step = entry.poll(now + millis(2));
    assert_eq!(step.released.len(), FIRST_WINDOW as usize);
    assert_ne!(step.release.unwrap().generation, first);
}
