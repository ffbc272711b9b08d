//! Slow starters: who waited is told when to ask again, and who asks again is served.

use tokio::time::Instant;

use super::*;
use crate::error::Error;
use crate::parking::WakeRole;

/// Requests of `agents/alice`, which sleeps, wait for 2 s.
fn hasty() -> World {
    let mut config = Config::default();
    config.unmanaged.wake_deadline = Duration::from_secs(2);
    let mut world = World::with(config);
    world.sandbox("alice", 1, OperatingMode::Suspended);
    world
}

fn told(refusal: Refusal) -> (u16, String, Duration) {
    let error = Error::Refused(key("alice"), refusal);
    let after = error.retry_after().expect("a retry helps");
    (error.status().as_u16(), error.reason().to_owned(), after)
}

#[tokio::test(start_paused = true)]
async fn who_waited_is_told_when_to_ask_again_and_who_asks_again_joins_until_it_is_up() {
    let mut world = hasty();
    let began = Instant::now();
    let first = world.client("alice");
    world.heard_wake().await;
    world.sandbox("alice", 2, OperatingMode::Running);
    world.pod("alice", 2, &pod("alice", 2));
    let (status, reason, after) = told(refusal(first).await);
    assert_eq!((status, &*reason), (503, "StillWaking"));
    assert_eq!(
        (began.elapsed().as_secs(), after),
        (2, Duration::from_secs(1))
    );
    let mut tries = 0;
    let admission = loop {
        tokio::time::sleep(Duration::from_secs(20)).await;
        tries += 1;
        if tries == 10 {
            world.awake("alice", 2);
        }
        match answer(world.client("alice")).await {
            Ok(admission) => break admission,
            Err(refusal) => assert_eq!(told(refusal).0, 503),
        }
    };
    assert_eq!(tries, 10);
    drop(admission);

    // The next wake is known to take its time.
    world.sandbox("alice", 3, OperatingMode::Suspended);
    world.no_pod("alice", 2);
    let client = world.client("alice");
    tokio::time::sleep(Duration::from_millis(1)).await;
    world.sandbox("alice", 4, OperatingMode::Running);
    let (_, _, after) = told(refusal(client).await);
    assert!((215..=220).contains(&after.as_secs()), "{after:?}");
    let joined = world.client("alice");
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.awake("alice", 4);
    let waited = answer(joined).await.unwrap().waited.unwrap();
    assert_eq!(waited.how, WakeRole::Joined);
}

#[tokio::test]
async fn without_a_probe_a_port_that_listens_late_is_no_bad_gateway() {
    let mut config = Config::default();
    config.unmanaged.wake_deadline = Duration::from_secs(3);
    let mut world = World::with(config);
    world.sandbox("alice", 1, OperatingMode::Suspended);
    let (socket, address) = silent();
    let first = world.client("alice");
    world.heard_wake().await;
    world.sandbox("alice", 2, OperatingMode::Running);
    let facts = PodFacts {
        ready: true,
        ..local_pod("alice", 2, address)
    };
    world.pod("alice", 2, &facts);
    let (status, reason, _) = told(refusal(first).await);
    assert_eq!((status, &*reason), (503, "NotAnswering"));
    let second = refusal(world.client("alice")).await;
    assert_eq!(told(second).0, 503, "and the next one waits as well");
    let _listening = socket.listen(8).unwrap();
    let third = answer(world.client("alice")).await;
    assert_eq!(third.unwrap().endpoint.address, address);
}

#[tokio::test(start_paused = true)]
async fn who_waits_reads_what_holds_the_pod_up() {
    let mut world = hasty();
    let client = world.client("alice");
    world.heard_wake().await;
    world.sandbox("alice", 2, OperatingMode::Running);
    let fault = reveille_crds::change::Fault {
        reason: "Unschedulable".into(),
        message: "0/3 nodes are available".into(),
    };
    let facts = PodFacts {
        fault: Some(fault),
        ..pod("alice", 2)
    };
    world.pod("alice", 2, &facts);
    let error = Error::Refused(key("alice"), refusal(client).await);
    let detail = error.detail();
    assert!(detail.contains("Unschedulable: "), "{detail}");
    assert!(
        !detail.contains("0/3 nodes"),
        "how many nodes there are is no client's business: {detail}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_asked_for_a_shorter_wait_gets_the_routers_504() {
    let world = hasty();
    let slot = world.slot("alice");
    let activity = slot.begin();
    let most = Some(Duration::from_millis(500));
    let waited = world
        .activator
        .parking
        .endpoint(&activity, PORT, most)
        .await;
    let error = Error::Refused(key("alice"), waited.err().unwrap());
    assert_eq!(error.status(), 504);
}
