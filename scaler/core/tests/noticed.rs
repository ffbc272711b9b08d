//! What is noticed over several lives: flapping, a claim that somebody makes again, an early busy word.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/world.rs"]
mod world;

use reveille_scaler_core::act::{Intent, Note, Written};
use reveille_scaler_core::ledger::Report;
use reveille_scaler_core::view::{Mode, Policy, Strategy, View};
use world::{World, claim_view, pod, policy, sandbox_view, seconds};

impl World {
    /// Asleep: somebody asks, and it is up under a pod of that name.
    fn wake_up(&mut self, uid: &str) {
        self.ask();
        let write = self.begin(Intent::Restore);
        self.written(Written::Done(write.epoch + 1));
        self.see(|view| {
            view.pod = Some(pod(uid, true));
            let sandbox = view.sandbox.as_mut().unwrap();
            (sandbox.mode, sandbox.epoch) = (Mode::Running, write.epoch + 1);
        });
    }

    fn flaps(&self) -> Vec<Note> {
        let flapping = |note: &&&Note| matches!(note, Note::Flapping { .. });
        self.notes()
            .iter()
            .filter(flapping)
            .map(|note| (*note).clone())
            .collect()
    }
}

#[test]
fn what_is_woken_right_after_each_of_its_sleeps_is_flapping_and_who_does_it_is_told_once() {
    let mut world = World::awake();
    for life in 1..=5 {
        world.pass(seconds(30));
        world.fall_asleep();
        world.pass(seconds(2));
        world.wake_up(&format!("life-{life}"));
        let flaps = world.flaps();
        assert_eq!(flaps.len(), usize::from(life >= 3), "life {life}");
        assert_eq!(world.machine.flapping(world.now).is_some(), life >= 3);
    }
    let Note::Flapping {
        wakes: 3,
        by,
        cooldown,
    } = &world.flaps()[0]
    else {
        panic!("{:?}", world.flaps());
    };
    assert_eq!((&**by, *cooldown), ("GET /", seconds(30)));
    world.pass(seconds(30));
    world.fall_asleep();
    world.pass(seconds(600));
    assert!(world.machine.flapping(world.now).is_none(), "it holds");
    world.wake_up("later");
    assert!(world.machine.flapping(world.now).is_none());
}

/// A claim that sleeps by release, and has been released.
fn released() -> World {
    let mut world = World::of(View {
        sandbox: Some(sandbox_view(Mode::Running)),
        claim: Some(claim_view(false)),
        pod: Some(pod("pod-1", true)),
        policy: Some(Policy {
            strategy: Strategy::Bind,
            ..policy()
        }),
    });
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    let write = world.begin(Intent::Release);
    world.written(Written::Done(write.epoch + 1));
    world.see(|view| {
        (view.sandbox, view.pod) = (None, None);
        let claim = view.claim.as_mut().unwrap();
        (claim.released, claim.epoch) = (true, write.epoch + 1);
    });
    world
}

/// The claim lives again under this UID and epoch, bound to a Sandbox that is up.
fn bound(world: &mut World, uid: &str, epoch: u64) {
    world.see(|view| {
        let claim = view.claim.as_mut().unwrap();
        (claim.uid, claim.epoch, claim.released) = (uid.into(), epoch, false);
        let mut sandbox = sandbox_view(Mode::Running);
        sandbox.uid = format!("{uid}-sandbox").as_str().into();
        view.sandbox = Some(sandbox);
        view.pod = Some(pod(&format!("{uid}-pod"), true));
    });
}

#[test]
fn a_claim_that_somebody_makes_again_after_its_release_stays_bound_and_that_is_told_once() {
    let mut world = released();
    world.pass(seconds(180));
    bound(&mut world, "again", 0);
    let told = |world: &World| {
        let made = |note: &&&Note| matches!(note, Note::MadeAgain { .. });
        world.notes().iter().filter(made).count()
    };
    assert_eq!(told(&world), 1);
    assert!(world.machine.is_made_again());
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    world.begin(Intent::Suspend);
    assert_eq!(told(&world), 1);
}

#[test]
fn a_scaler_that_starts_later_knows_it_by_what_stands_on_the_claim() {
    let mut claim = claim_view(false);
    claim.stays_bound = true;
    let mut world = World::of(View {
        sandbox: Some(sandbox_view(Mode::Running)),
        claim: Some(claim),
        pod: Some(pod("pod-1", true)),
        policy: Some(Policy {
            strategy: Strategy::Bind,
            ..policy()
        }),
    });
    assert!(!world.machine.is_made_again(), "it is written");
    world.pass(seconds(30));
    let nonce = world.drain().unwrap();
    world.reply(nonce, true);
    world.begin(Intent::Suspend);
}

#[test]
fn our_own_binding_and_a_claim_made_anew_much_later_are_no_such_thing() {
    for (after, epoch) in [(5, 3), (3600, 0)] {
        let mut world = released();
        world.pass(seconds(after));
        bound(&mut world, "next", epoch);
        world.pass(seconds(30));
        let nonce = world.drain().unwrap();
        world.reply(nonce, true);
        world.begin(Intent::Release);
    }
}

#[test]
fn a_busy_word_that_comes_before_the_wake_is_seen_counts_when_it_is() {
    let mut world = World::asleep();
    world.report(Some(Report {
        busy: Some(("pod-1".into(), seconds(100))),
        ..Report::default()
    }));
    world.see(|view| {
        let sandbox = view.sandbox.as_mut().unwrap();
        (sandbox.mode, sandbox.epoch) = (Mode::Running, 2);
    });
    world.settle("pod-1");
    world.pass(seconds(90));
    assert_eq!(world.drain(), None);
    assert!(world.why().contains("it is busy"), "{}", world.why());
}
