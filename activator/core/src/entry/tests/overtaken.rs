//! Pods and Sandboxes are two watches: what a wake brings up may be shown before the wake is.

use super::*;

/// Asleep since long, and now its pod is shown before the wake is.
fn overtaken(seen: impl FnOnce(&mut Entry<u32>)) -> (Entry<u32>, Instant) {
    let now = start();
    let mut entry = entry(pod("pod-0", true), now);
    entry.observe(view(2, State::Asleep), now);
    let now = now + OLD_POD;
    seen(&mut entry);
    let ahead = View {
        pod: Some(POD.into()),
        ..view(2, State::Asleep)
    };
    park(&mut entry, 1, now);
    entry.observe(ahead, now);
    (entry, now)
}

#[test]
fn a_pod_that_appears_long_after_the_sleep_is_that_of_the_wake() {
    let (mut entry, now) = overtaken(|_| {});
    assert!(entry.poll(now).released.is_empty(), "the wake is not shown");
    entry.observe(view(3, pod(POD, true)), now);
    assert_eq!(ids(&entry.poll(now).released), [1]);
}

#[test]
fn right_after_a_gap_in_what_is_seen_it_may_be_of_before_the_sleep() {
    for sight in [Sight::Blind, Sight::Since(start() + millis(1))] {
        let (mut entry, now) = overtaken(|entry| entry.see(sight));
        entry.observe(view(3, pod(POD, true)), now);
        assert!(entry.poll(now).released.is_empty(), "{sight:?}");
    }
}

#[test]
fn if_another_sleep_has_gone_by_it_is_of_before_that() {
    let (mut entry, now) = overtaken(|_| {});
    entry.observe(view(5, pod(POD, true)), now);
    assert!(entry.poll(now).released.is_empty());
    assert_eq!(ids(&entry.poll(now + OLD_POD).released), [1]);
}
