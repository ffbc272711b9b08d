//! From a parked request to its endpoint, or to a reason.

use tokio::time::Instant;

use super::*;
use crate::parking::WakeRole;

#[tokio::test(start_paused = true)]
async fn a_parked_request_goes_once_its_sandbox_is_awake() {
    let mut world = World::asleep();
    let first = world.client("alice");
    let wake = world.heard_wake().await;
    assert_eq!(
        (wake.key, wake.port, wake.waiting),
        (key("alice"), Some(PORT), 1)
    );
    let second = world.client("alice");
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.awake("alice", 2);

    let first = answer(first).await.unwrap();
    assert_eq!(first.endpoint.address, "10.0.0.1:8888".parse().unwrap());
    assert_eq!(&*first.endpoint.pod, "pod-alice-2");
    assert!(first.endpoint.young_until.is_some());
    let waited = first.waited.unwrap();
    assert_eq!(
        (waited.how, waited.parked),
        (WakeRole::Started, Duration::from_millis(100))
    );
    let waited = answer(second).await.unwrap().waited.unwrap();
    assert_eq!(waited.how, WakeRole::Joined);
    assert!(waited.wake <= waited.parked);
    let ToScaler::Ready(ready) = world.heard().await else {
        panic!("not ready")
    };
    assert_eq!((&*ready.pod, ready.released), ("pod-alice-2", 2));
    assert_eq!(world.activator.parking.parked(), 0);

    let third = answer(world.client("alice")).await.unwrap();
    assert!(third.waited.is_none() && third.pace.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_wake_is_repeated_while_anyone_waits() {
    let mut world = World::asleep();
    let _client = world.client("alice");
    let start = Instant::now();
    let mut sent = Vec::new();
    for _ in 0..4 {
        world.heard_wake().await;
        sent.push(start.elapsed().as_millis());
    }
    assert_eq!(sent, [0, 250, 750, 1750]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_gives_its_place_back_and_the_wake_goes_on() {
    let mut world = World::asleep();
    let client = world.client("alice");
    world.heard_wake().await;
    assert_eq!(world.activator.parking.parked(), 1);
    client.abort();
    assert!(client.await.is_err());
    assert_eq!(world.activator.parking.parked(), 0);
    world.awake("alice", 2);
    let ToScaler::Ready(ready) = world.heard().await else {
        panic!("not ready")
    };
    assert_eq!(ready.released, 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_its_deadline_with_the_stage_of_the_wake() {
    let mut world = World::asleep();
    world.sandbox("alice", 2, OperatingMode::Running);
    let (activator, slot) = (Arc::clone(&world.activator), world.slot("alice"));
    let activity = slot.begin();
    let start = Instant::now();
    let most = Some(Duration::from_secs(3));
    let Err(refusal) = activator.parking.endpoint(&activity, PORT, most).await else {
        panic!("it went")
    };
    assert_eq!(start.elapsed().as_secs(), 3);
    let waited = Duration::from_secs(3);
    assert_eq!(
        refusal,
        Refusal::Expired {
            waited,
            stage: "its pod has no address yet"
        }
    );
}

#[tokio::test(start_paused = true)]
async fn who_loses_patience_with_a_wake_that_is_held_up_is_told_by_what() {
    let mut world = World::asleep();
    let client = world.client("alice");
    world.heard_wake().await;
    let (reason, message) = ("ApiUnavailable".to_owned(), "no answer yet".to_owned());
    world.say(OutcomeKind::Delayed { reason, message }).await;
    let began = Instant::now();
    let (reason, message) = ("ApiUnavailable".into(), "no answer yet".into());
    assert_eq!(refusal(client).await, Refusal::Delayed { reason, message });
    assert!(
        began.elapsed() > Duration::from_secs(50),
        "it might have come"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_wake_and_a_failed_one_end_the_lot_with_their_reason() {
    let mut world = World::asleep();
    let client = world.client("alice");
    world.heard_wake().await;
    world
        .say(OutcomeKind::Refused {
            reason: "Quota".into(),
            message: "none left".into(),
        })
        .await;
    let (reason, message) = ("Quota".into(), "none left".into());
    assert_eq!(
        refusal(client).await,
        Refusal::Refused {
            reason,
            message,
            retry_after: None
        }
    );

    world.sandbox("alice", 3, OperatingMode::Suspended);
    let clients = [world.client("alice"), world.client("alice")];
    world.heard_wake().await;
    let (reason, message) = ("ImagePull".to_owned(), "no such image".to_owned());
    world
        .say(OutcomeKind::Failed {
            reason,
            message,
            retry_after_ms: 5000,
        })
        .await;
    for client in clients {
        let Refusal::Failed {
            reason,
            retry_after,
            ..
        } = refusal(client).await
        else {
            panic!("not failed")
        };
        assert_eq!(
            (&*reason, retry_after),
            ("ImagePull", Some(Duration::from_secs(5)))
        );
    }
    let late = refusal(world.client("alice")).await;
    assert!(
        matches!(late, Refusal::Failed { .. }),
        "told at once: {late:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn limits_hold_for_one_sandbox_and_for_all() {
    let mut config = Config {
        total_parked: 3,
        ..Config::default()
    };
    config.unmanaged.max_requests = 2;
    let mut world = World::with(config);
    for name in ["alice", "bob"] {
        world.sandbox(name, 1, OperatingMode::Suspended);
    }
    let _parked = [world.client("alice"), world.client("alice")];
    world.heard_wake().await;
    assert_eq!(refusal(world.client("alice")).await, Refusal::LotFull);
    let _parked = world.client("bob");
    world.heard_wake().await;
    assert_eq!(refusal(world.client("bob")).await, Refusal::TotalFull);
}

#[tokio::test(start_paused = true)]
async fn wakes_are_limited_per_sandbox_and_per_caller() {
    let limited = Config {
        wakes_per_sandbox: 1,
        wake_burst: 1,
        ..Config::default()
    };
    let mut world = World::with(limited);
    world.sandbox("alice", 1, OperatingMode::Suspended);
    let first = world.client("alice");
    world.heard_wake().await;
    world
        .say(OutcomeKind::Refused {
            reason: "No".into(),
            message: "no".into(),
        })
        .await;
    refusal(first).await;
    world.sandbox("alice", 2, OperatingMode::Suspended);
    assert!(matches!(
        refusal(world.client("alice")).await,
        Refusal::Throttled { .. }
    ));

    let limited = Config {
        wakes_per_caller: 1,
        wake_burst: 1,
        ..Config::default()
    };
    let mut world = World::with(limited);
    let caller = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let most = Some(Duration::from_millis(1));
    for (name, is_throttled) in [("alice", false), ("bob", true)] {
        world.sandbox(name, 1, OperatingMode::Suspended);
        let activity = world.slot(name).begin().by(caller);
        let Err(refusal) = world
            .activator
            .parking
            .endpoint(&activity, PORT, most)
            .await
        else {
            panic!("it went")
        };
        assert_eq!(
            matches!(refusal, Refusal::Throttled { .. }),
            is_throttled,
            "{refusal:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_herd_costs_one_wake_and_goes_in_order_as_answers_come() {
    let mut config = Config::default();
    config.unmanaged.release_concurrency = 1;
    config.unmanaged.max_requests = 500;
    let mut world = World::with(config);
    world.sandbox("alice", 1, OperatingMode::Suspended);
    let (done, mut order) = mpsc::channel(500);
    for id in 0..500 {
        let (activator, slot, done) = (
            Arc::clone(&world.activator),
            world.slot("alice"),
            done.clone(),
        );
        tokio::spawn(async move {
            let activity = slot.begin();
            let admission = activator.parking.endpoint(&activity, PORT, None).await;
            done.send((id, admission.is_ok())).await.unwrap();
        });
    }
    assert!(world.heard_wake().await.waiting >= 1);
    tokio::task::yield_now().await;
    world.awake("alice", 2);
    for id in 0..500 {
        assert_eq!(order.recv().await, Some((id, true)));
    }
    assert!(
        matches!(world.heard().await, ToScaler::Ready(_)),
        "one wake, then ready"
    );
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_is_deleted_ends_its_waiters_and_is_forgotten() {
    let mut world = World::asleep();
    let (client, slot) = (world.client("alice"), world.slot("alice"));
    world.heard_wake().await;
    world.projector.apply(Change::Sandbox(key("alice"), None));
    assert_eq!(refusal(client).await, Refusal::Gone);
    assert!(world.activator.directory.find(&key("alice")).is_none());
    let activity = slot.begin();
    let late = world
        .activator
        .parking
        .endpoint(&activity, PORT, None)
        .await;
    assert_eq!(
        late.err(),
        Some(Refusal::Gone),
        "whoever still holds the slot is told so"
    );
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_what_is_parked_and_parks_no_more() {
    let mut world = World::asleep();
    world.awake("bob", 1);
    let client = world.client("alice");
    world.heard_wake().await;
    world.closing.cancel();
    assert_eq!(refusal(client).await, Refusal::ShuttingDown);
    assert_eq!(refusal(world.client("alice")).await, Refusal::ShuttingDown);
    assert!(
        answer(world.client("bob")).await.is_ok(),
        "what is awake is served to the end"
    );
    tokio::time::timeout(PATIENCE, world.activator.parking.join())
        .await
        .expect("no task is left");
}

#[tokio::test(start_paused = true)]
async fn a_parked_request_is_small() {
    let world = World::asleep();
    let activity = world.slot("alice").begin();
    let future = world.activator.parking.endpoint(&activity, PORT, None);
    let size = size_of_val(&future);
    assert!(size <= 768, "{size} bytes beside its ticket");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_another_reason_costs_the_caller_no_token() {
    let limited = Config {
        wakes_per_sandbox: 1,
        wakes_per_caller: 2,
        wake_burst: 2,
        total_parked: 1,
        ..Config::default()
    };
    let mut world = World::with(limited);
    let caller = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let most = Some(Duration::from_millis(1));
    for name in ["alice", "bob", "carol"] {
        world.sandbox(name, 1, OperatingMode::Suspended);
    }
    // The process is full, and a stranger has used up what alice may be woken.
    let place = world.client("carol");
    world.heard_wake().await;
    for _ in 0..5 {
        let activity = world.slot("alice").begin().by(caller);
        let full = world
            .activator
            .parking
            .endpoint(&activity, PORT, most)
            .await;
        assert_eq!(full.err(), Some(Refusal::TotalFull));
    }
    place.abort();
    assert!(place.await.is_err());
    let begun = |world: &World, name: &str, caller: Option<IpAddr>| {
        let (activator, slot) = (Arc::clone(&world.activator), world.slot(name));
        async move {
            let activity = slot.begin();
            let activity = match caller {
                Some(caller) => activity.by(caller),
                None => activity,
            };
            let ended = activator.parking.endpoint(&activity, PORT, most).await;
            drop(slot.end_all());
            ended.err().unwrap()
        }
    };
    for _ in 0..2 {
        let refusal = begun(&world, "alice", None).await;
        assert!(!matches!(refusal, Refusal::Throttled { .. }), "{refusal:?}");
    }
    for _ in 0..5 {
        let refusal = begun(&world, "alice", Some(caller)).await;
        assert!(matches!(refusal, Refusal::Throttled { .. }), "{refusal:?}");
    }
    for _ in 0..2 {
        let refusal = begun(&world, "bob", Some(caller)).await;
        assert!(!matches!(refusal, Refusal::Throttled { .. }), "{refusal:?}");
    }
}
