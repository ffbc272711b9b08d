//! The handshake before a sleep.

use reveille_crds::message::{Drain, DrainReply};

use super::*;

async fn ask(world: &mut World, nonce: u64, epoch: u64) -> DrainReply {
    let drain = Drain {
        key: key("alice"),
        epoch,
        uid: None,
        nonce,
        hold_ms: 10_000,
        order: false,
    };
    world
        .to_activator
        .send(ToActivator::Drain(drain))
        .await
        .unwrap();
    match world.heard().await {
        ToScaler::Drained(reply) => reply,
        other => panic!("not a reply: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_sandbox_drains_and_its_next_request_parks_and_asks_for_a_wake() {
    let mut world = World::new();
    world.awake("alice", 1);
    let reply = ask(&mut world, 7, 1).await;
    assert_eq!(
        (reply.nonce, reply.drained, &*reply.activator),
        (7, true, "standalone")
    );
    let client = world.client("alice");
    assert_eq!(world.heard_wake().await.waiting, 1);
    world.say(OutcomeKind::Undrain { nonce: 7 }).await;
    let admission = answer(client).await.unwrap();
    assert_eq!(&*admission.endpoint.pod, "pod-alice-1");
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_in_use_answers_busy_until_its_last_request_ends() {
    let mut world = World::new();
    world.awake("alice", 1);
    let activity = world.slot("alice").begin();
    assert!(!ask(&mut world, 1, 1).await.drained);
    activity.pulse().quiet(0);
    assert!(
        ask(&mut world, 2, 1).await.drained,
        "a silent upgraded connection does not count"
    );
    world.say(OutcomeKind::Undrain { nonce: 2 }).await;
    activity.pulse().beat();
    activity.pulse().beat();
    assert!(!ask(&mut world, 3, 1).await.drained);
    drop(activity);
    assert!(ask(&mut world, 4, 1).await.drained);
}

#[tokio::test(start_paused = true)]
async fn a_busy_lease_speaks_against_a_sleep_until_it_ends() {
    let mut world = World::new();
    world.awake("alice", 1);
    let slot = world.slot("alice");
    slot.busy(&"pod-alice-1".into(), 30);
    assert!(!ask(&mut world, 1, 1).await.drained);
    slot.busy(&"pod-alice-1".into(), 0);
    assert!(ask(&mut world, 2, 1).await.drained);
}

#[tokio::test(start_paused = true)]
async fn a_gate_opens_by_itself_if_no_sleep_follows() {
    let mut world = World::new();
    world.awake("alice", 1);
    assert!(ask(&mut world, 1, 1).await.drained);
    let start = tokio::time::Instant::now();
    assert!(answer(world.client("alice")).await.is_ok());
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_meets_the_sleep_is_delivered_after_the_next_wake() {
    let mut world = World::new();
    world.awake("alice", 1);
    assert!(ask(&mut world, 1, 1).await.drained);
    let client = world.client("alice");
    world.heard_wake().await;
    world.sandbox("alice", 2, OperatingMode::Suspended);
    world.no_pod("alice", 1);
    world.heard_wake().await;
    world.awake("alice", 3);
    assert_eq!(&*answer(client).await.unwrap().endpoint.pod, "pod-alice-3");
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_the_watch_does_not_show_yet_is_not_called_drained() {
    let mut world = World::new();
    assert!(!ask(&mut world, 1, 1).await.drained);
}

#[tokio::test(start_paused = true)]
async fn nothing_drains_while_the_watch_does_not_run() {
    let mut world = World::new();
    world.awake("alice", 1);
    for (nonce, runs) in [(1, false), (2, true)] {
        world.current.send_replace(runs);
        tokio::task::yield_now().await;
        assert_eq!(ask(&mut world, nonce, 1).await.drained, runs);
        world.say(OutcomeKind::Undrain { nonce }).await;
    }
}
