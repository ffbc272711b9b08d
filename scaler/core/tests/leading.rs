//! Leaders and members that come and go while sandboxes are being put to sleep.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/world.rs"]
mod world;

use std::sync::Arc;
use std::time::Duration;

use reveille_scaler_core::act::{Intent, Note};
use reveille_scaler_core::drain::Ending;
use reveille_scaler_core::roster::Silence;
use world::{World, seconds};

const MS: Duration = Duration::from_millis(1);

/// Leads until then, and its only sandbox is due to sleep.
fn leading(time: Duration) -> World {
    let mut world = World::awake();
    world.roster.lead_until(None, world.now);
    let until = world.now + time;
    world.roster.lead_until(Some(until), world.now);
    world.restart_activator("again");
    world.pass(seconds(30));
    world
}

fn endings(world: &World) -> Vec<Ending> {
    let ending = |note: &&Note| match note {
        Note::Drained { ending, .. } => Some(*ending),
        _ => None,
    };
    world.notes().iter().filter_map(ending).collect()
}

#[test]
fn a_sleep_is_not_begun_once_leading_has_run_out_though_nobody_said_so() {
    let mut world = leading(seconds(30) + 100 * MS);
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    let write = world.writes().pop().unwrap();
    world.now += 100 * MS;
    world.poll();
    assert!(!world.begin_write(&write), "its turn came too late");
    assert!(world.undrained(nonce), "and the gates are opened");
    assert_eq!(endings(&world), [Ending::Changed]);
}

#[test]
fn a_sleep_is_begun_up_to_the_last_moment_of_leading() {
    let mut world = leading(seconds(30) + 100 * MS);
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    world.now += 99 * MS;
    world.poll();
    world.begin(Intent::Suspend);
}

#[test]
fn a_renewal_keeps_the_drain_and_what_was_heard() {
    let mut world = leading(seconds(31));
    let nonce = world.drain().unwrap();
    let renewed = Some(world.now + seconds(10));
    world.roster.lead_until(renewed, world.now);
    world.reply(nonce, true);
    world.begin(Intent::Suspend);
}

#[test]
fn who_leads_again_after_a_gap_starts_from_nothing() {
    let mut world = leading(seconds(31));
    let nonce = world.drain().unwrap();
    world.pass(seconds(2));
    assert!(world.undrained(nonce));
    let again = Some(world.now + seconds(1000));
    world.roster.lead_until(again, world.now);
    assert_eq!(
        world.roster.silence(world.now),
        Some(Silence::Partial(Arc::clone(&world.a)))
    );
    world.restart_activator("in full");
    world.pass(seconds(29));
    assert_eq!(world.drain(), None, "a full cooldown first");
}

#[test]
fn a_member_that_appears_must_be_heard_before_anything_sleeps() {
    let mut world = leading(seconds(1000));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    let write = world.writes().pop().unwrap();
    let b: Arc<str> = "b".into();
    world.roster.set_members([&world.a, &b]);
    world.poll();
    assert!(!world.begin_write(&write), "it has no gate closed");
    assert!(world.undrained(nonce));
    world.pass(seconds(100));
    assert_eq!(world.drain(), None);
    assert_eq!(world.why(), "activator b has not been heard yet");
    world.roster.report(&b, "b's", (1, true), &[], world.now);
    world.poll();
    world.pass(seconds(1));
    assert!(world.drain().is_some());
}

#[test]
fn a_member_whose_pod_is_gone_stops_blocking_and_its_requests_end_with_it() {
    let mut world = World::awake();
    let b: Arc<str> = "b".into();
    world.roster.set_members([&world.a, &b]);
    world
        .roster
        .report(&b, "b's", (1, true), &[("t", true)], world.now);
    world.pass(seconds(60));
    assert_eq!(world.why(), "activator b is silent");
    world.roster.set_members([&world.a]);
    // Who had fallen silent is forgotten with the next report.
    world.report(None);
    let nonce = world.drain().expect("nobody else is to be asked");
    world.reply(nonce, true);
    world.begin(Intent::Suspend);
}

#[test]
fn nothing_sleeps_out_of_an_old_picture() {
    let mut world = leading(seconds(1000));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    let write = world.writes().pop().unwrap();
    world.roster.set_current(false);
    world.poll();
    assert!(!world.begin_write(&write));
    world.pass(seconds(100));
    assert_eq!(world.drain(), None);
    assert!(world.why().contains("may be old"), "{}", world.why());
    world.roster.set_current(true);
    world.pass(seconds(2));
    assert!(world.drain().is_some());
}

#[test]
fn what_was_parked_when_the_carrier_went_down_is_not_told_as_if_it_still_were() {
    let mut world = World::awake();
    world.active(0, 1);
    assert_eq!(world.why(), "1 request is parked");
    world.roster.set_linked(false, world.now);
    assert!(world.why().contains("carrier is down"), "{}", world.why());
}
