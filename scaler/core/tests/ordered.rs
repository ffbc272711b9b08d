//! A sleep that an operator orders, by a hold or by force: nobody is asked, and what is in flight has a grace.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use reveille_scaler_core::act::{Act, Intent, Written};
use reveille_scaler_core::command::{Answer, Command};
use reveille_scaler_core::view::{Hold, Mode};
use reveille_scaler_core::why::Why;
use world::{World, seconds};

const FORCE: Command = Command::Sleep { force: true };
const GRACE: Duration = Duration::from_secs(30);

impl World {
    fn order(&mut self, command: Command) -> Answer {
        let answer = self.machine.command(command, &self.roster, self.now);
        self.poll();
        answer
    }

    /// The orders told since the last look: their nonces.
    fn orders(&mut self) -> Vec<u64> {
        let acts = self.take();
        let nonce = |act: &Act| match act {
            Act::Drain { nonce, order, .. } => order.then_some(*nonce),
            _ => None,
        };
        acts.iter().filter_map(nonce).collect()
    }
}

#[test]
fn a_forced_sleep_closes_the_gates_at_once_and_gives_what_is_in_flight_a_grace() {
    let mut world = World::awake();
    world.see_sandbox(|sandbox| sandbox.busy_until = None);
    world.active(1, 0);
    let polite = Command::Sleep { force: false };
    assert_eq!(world.order(polite), Answer::Conflict(Why::InFlight(1)));
    assert_eq!(world.order(FORCE), Answer::Draining { grace: Some(GRACE) });
    let nonce = world.orders()[0];
    world.reply(nonce, false);
    assert!(world.writes().is_empty(), "something is in flight");
    world.pass(seconds(10));
    assert_eq!(
        world.order(FORCE),
        Answer::Draining {
            grace: Some(seconds(20))
        }
    );
    assert!(world.orders().len() >= 18, "it is told again and again");
    world.pass(seconds(20));
    world.begin(Intent::Suspend);
    world.written(Written::Done(2));
    assert_eq!(world.order(FORCE), Answer::Asleep);
}

#[test]
fn it_sleeps_as_soon_as_nothing_is_in_flight_any_more() {
    let mut world = World::awake();
    world.active(1, 0);
    world.order(FORCE);
    let nonce = world.orders()[0];
    world.reply(nonce, false);
    world.pass(seconds(3));
    let again = world.orders();
    assert!(again.iter().all(|each| *each == nonce));
    world.reply(nonce, true);
    world.begin(Intent::Suspend);
}

#[test]
fn a_forced_sleep_asks_no_lease_and_a_hold_asleep_neither() {
    for hold in [false, true] {
        let mut world = World::awake();
        let until = world.now + seconds(1000);
        world.see_sandbox(|sandbox| sandbox.busy_until = Some(until));
        if hold {
            world.see_sandbox(|sandbox| sandbox.hold = Some(Hold::Asleep));
        } else {
            world.order(FORCE);
        }
        let nonce = world.orders()[0];
        world.reply(nonce, true);
        world.begin(Intent::Suspend);
    }
}

#[test]
fn a_request_that_comes_meanwhile_waits_and_wakes_it_right_after() {
    let mut world = World::awake();
    world.active(1, 0);
    world.order(FORCE);
    let nonce = world.orders()[0];
    world.ask();
    assert!(!world.undrained(nonce));
    world.reply(nonce, true);
    let write = world.begin(Intent::Suspend);
    world.written(Written::Done(write.epoch + 1));
    world.see(|view| {
        view.pod = None;
        let sandbox = view.sandbox.as_mut().unwrap();
        (sandbox.mode, sandbox.epoch) = (Mode::Suspended, write.epoch + 1);
    });
    world.ask();
    world.begin(Intent::Restore);
}

#[test]
fn an_order_whose_write_got_no_answer_holds_the_gates_no_longer_than_any_sleep() {
    let mut world = World::awake();
    world.order(FORCE);
    let nonce = world.orders()[0];
    world.reply(nonce, true);
    world.begin(Intent::Suspend);
    world.pass(seconds(4));
    world.written(Written::Lost);
    let holds = |world: &mut World| -> Vec<Duration> {
        let acts = world.take();
        let hold = |act: &Act| match act {
            Act::Drain { hold, .. } => Some(*hold),
            _ => None,
        };
        acts.iter().filter_map(hold).collect()
    };
    assert_eq!(holds(&mut world), [seconds(6)], "until it is certain");
    world.ask();
    assert!(world.writes().is_empty(), "it may have been done");
    world.pass(seconds(1));
    assert!(
        holds(&mut world).contains(&seconds(5)),
        "who missed that is told again"
    );
    world.pass(seconds(5));
    assert!(!world.machine.is_draining());
    world.see_sandbox(|sandbox| (sandbox.mode, sandbox.epoch) = (Mode::Suspended, 2));
    world.ask();
    world.begin(Intent::Restore);
}

#[test]
fn a_polite_sleep_under_way_gives_way_to_an_order() {
    let mut world = World::awake();
    world.pass(seconds(30));
    let polite = world.drain().unwrap();
    world.order(FORCE);
    assert!(world.undrained(polite));
    let order = world.orders();
    assert_eq!(order.len(), 1);
    assert_ne!(order[0], polite);
}

#[test]
fn who_is_silent_keeps_nobody_from_obeying_but_another_leader_does() {
    let mut world = World::awake();
    world.pass_in_silence(seconds(10));
    assert_eq!(world.order(FORCE), Answer::Draining { grace: Some(GRACE) });
    let mut world = World::awake();
    world.roster.lead_until(None, world.now);
    assert!(matches!(world.order(FORCE), Answer::Unheard(_)));
}

#[test]
fn what_may_be_in_flight_where_nobody_is_heard_has_its_grace() {
    let mut world = World::awake();
    world.pass_in_silence(seconds(10));
    world.order(FORCE);
    let nonce = world.orders()[0];
    world.reply(nonce, true);
    world.pass_in_silence(GRACE - Duration::from_millis(1));
    assert!(
        world.writes().is_empty(),
        "one of them may not have heard it"
    );
    world.pass_in_silence(Duration::from_millis(1));
    world.begin(Intent::Suspend);
}

#[test]
fn an_activator_that_restarts_while_an_order_waits_for_its_turn_is_asked_first() {
    let mut world = World::awake();
    world.order(FORCE);
    let nonce = world.orders()[0];
    world.reply(nonce, true);
    let waiting = world.writes().pop().unwrap();
    world.restart_activator("another start");
    assert!(!world.begin_write(&waiting));
    world.pass(seconds(1));
    world.reply(nonce, true);
    world.begin(Intent::Suspend);
}

#[test]
fn an_order_that_is_taken_back_is_no_leave_for_a_sleep_that_nobody_was_asked_for() {
    let mut world = World::awake();
    world.pass(seconds(30));
    world.see_sandbox(|sandbox| sandbox.hold = Some(Hold::Asleep));
    let order = world.orders().pop().unwrap();
    world.reply(order, false);
    world.see_sandbox(|sandbox| sandbox.hold = None);
    assert!(world.undrained(order));
    assert!(world.writes().is_empty());
    world.poll();
    assert!(world.drain().is_some_and(|polite| polite != order));
}

#[test]
fn what_is_held_awake_is_not_forced() {
    let mut world = World::awake();
    world.see_sandbox(|sandbox| sandbox.hold = Some(Hold::Awake));
    assert_eq!(world.order(FORCE), Answer::Conflict(Why::HeldAwake));
}
