//! Names, and what the watch makes of them.

use reveille_crds::change::{ClaimFacts, Fault, Hold};

use tokio::time::Instant;

use super::*;
use crate::proxy::find;
use crate::route::{By, Target};

fn claim(sandbox: Option<&str>, released: bool) -> Option<Arc<ClaimFacts>> {
    Some(Arc::new(ClaimFacts {
        uid: "uid-claim".into(),
        sandbox: sandbox.map(Into::into),
        pool: "pool".into(),
        released,
        epoch: 1,
        ..ClaimFacts::default()
    }))
}

fn claimed(name: &str) -> SandboxFacts {
    SandboxFacts {
        claim: Some("carol".into()),
        claim_uid: Some("uid-claim".into()),
        ..sandbox(name, 0, OperatingMode::Running)
    }
}

#[tokio::test(start_paused = true)]
async fn a_claimed_sandbox_goes_by_the_claims_name_and_by_its_own() {
    let mut world = World::new();
    for replica in ["warm-1", "warm-2"] {
        world.projector.apply(Change::Sandbox(
            key(replica),
            Some(Arc::new(claimed(replica))),
        ));
        world
            .projector
            .apply(Change::Claim(key("carol"), claim(Some(replica), false)));
        let slot = world.slot("carol");
        assert!(Arc::ptr_eq(&slot, &world.slot(replica)));
        assert_eq!(slot.key(), &key("carol"));
        assert_eq!(
            slot.sandbox_uid().as_deref(),
            Some(&*format!("uid-{replica}"))
        );
        world
            .projector
            .apply(Change::Claim(key("carol"), claim(None, true)));
        world.projector.apply(Change::Sandbox(key(replica), None));
        assert!(world.activator.directory.find(&key(replica)).is_none());
        assert!(
            Arc::ptr_eq(&slot, &world.slot("carol")),
            "the target outlives its replicas"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_its_client_knows_before_the_watch_shows_it_is_found() {
    let mut world = World::new();
    let directory = Arc::clone(&world.activator.directory);
    let target = |name: &str, wait| Target {
        key: key(name),
        port: PORT,
        uid: None,
        wait,
        by: By::Headers,
        contradicts_host: false,
    };
    for (wait, gone_after) in [(None, 500), (Some(30), 30)] {
        let begun = Instant::now();
        let nobody = target("nobody", wait.map(Duration::from_millis));
        assert!(find(&directory, &nobody).await.is_err());
        assert_eq!(begun.elapsed(), Duration::from_millis(gone_after));
    }
    let alice = target("alice", None);
    let client = tokio::spawn(async move { find(&directory, &alice).await.map(|(slot, _)| slot) });
    tokio::time::advance(Duration::from_millis(100)).await;
    assert!(!client.is_finished());
    world.sandbox("alice", 1, OperatingMode::Suspended);
    let slot = answer(client).await.expect("it is known by now");
    assert_eq!(slot.key(), &key("alice"));
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_moves_to_another_claim_in_one_change_keeps_its_own_name() {
    let mut world = World::new();
    for name in ["carol", "dora"] {
        world
            .projector
            .apply(Change::Claim(key(name), claim(Some("warm-1"), false)));
    }
    for name in ["dora", "carol", "dora"] {
        let facts = SandboxFacts {
            claim: Some(name.into()),
            ..claimed("warm-1")
        };
        world
            .projector
            .apply(Change::Sandbox(key("warm-1"), Some(Arc::new(facts))));
        assert_eq!(world.slot("warm-1").key(), &key(name));
    }
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_made_again_under_its_name_goes_on_with_the_count_of_its_predecessor() {
    let mut world = World::asleep();
    let old = world.slot("alice");
    let activity = old.begin();
    world.projector.apply(Change::Sandbox(key("alice"), None));
    assert!(world.activator.directory.find(&key("alice")).is_none());
    world.sandbox("alice", 1, OperatingMode::Suspended);
    let new = world.slot("alice");
    assert!(Arc::ptr_eq(&old, &new));
    assert_eq!(new.report().map(|seen| seen.in_flight), Some(1));
    drop((activity, old, new));
    world.projector.apply(Change::Sandbox(key("alice"), None));
    world.activator.directory.take_dirty();
    world.sandbox("alice", 1, OperatingMode::Suspended);
    assert!(
        world.slot("alice").report().is_none(),
        "nobody held the slot"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_for_a_released_claim_waits_for_its_next_replica() {
    let mut world = World::new();
    world
        .projector
        .apply(Change::Claim(key("carol"), claim(None, true)));
    let client = world.client("carol");
    assert_eq!(world.heard_wake().await.key, key("carol"));
    world
        .projector
        .apply(Change::Claim(key("carol"), claim(Some("warm-3"), false)));
    world.projector.apply(Change::Sandbox(
        key("warm-3"),
        Some(Arc::new(claimed("warm-3"))),
    ));
    let ip = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    world.pod(
        "warm-3",
        0,
        &PodFacts {
            ip,
            ready: true,
            ..pod("warm-3", 0)
        },
    );
    assert_eq!(&*answer(client).await.unwrap().endpoint.pod, "pod-warm-3-0");
}

#[tokio::test(start_paused = true)]
async fn an_unclaimed_pool_member_is_not_routable() {
    let mut world = World::new();
    let member = SandboxFacts {
        pool_member: true,
        ..sandbox("warm-1", 0, OperatingMode::Running)
    };
    world
        .projector
        .apply(Change::Sandbox(key("warm-1"), Some(Arc::new(member))));
    assert!(world.activator.directory.find(&key("warm-1")).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_no_wake_can_change_is_told_at_once() {
    let asleep = || sandbox("alice", 1, OperatingMode::Suspended);
    let fault = Fault {
        reason: "SandboxExpired".into(),
        message: "the API server said so to system:serviceaccount".into(),
    };
    for (facts, expected) in [
        (
            SandboxFacts {
                hold: Some(Hold::Asleep),
                ..asleep()
            },
            "HeldAsleep",
        ),
        (
            SandboxFacts {
                fault: Some(fault),
                ..asleep()
            },
            "SandboxExpired",
        ),
        (
            SandboxFacts {
                deleting: true,
                ..asleep()
            },
            "Deleting",
        ),
    ] {
        let mut world = World::new();
        world
            .projector
            .apply(Change::Sandbox(key("alice"), Some(Arc::new(facts))));
        let Refusal::Blocked { reason, message } = refusal(world.client("alice")).await else {
            panic!("not blocked")
        };
        assert_eq!(&*reason, expected);
        assert!(!message.contains("serviceaccount"), "{message}");
    }
    let mut world = World::with(Config {
        wake_unmanaged: false,
        ..Config::default()
    });
    world.sandbox("alice", 1, OperatingMode::Suspended);
    let Refusal::Blocked { reason, .. } = refusal(world.client("alice")).await else {
        panic!("not blocked")
    };
    assert_eq!(&*reason, "Unmanaged");
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_wanted_asleep_is_not_sent_to_though_its_pod_still_lives() {
    let mut world = World::new();
    world.awake("alice", 1);
    world.sandbox("alice", 2, OperatingMode::Suspended);
    let client = world.client("alice");
    world.heard_wake().await;
    assert!(!client.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_moment_is_waited_out() {
    let mut world = World::new();
    let facts = SandboxFacts {
        fault: Some(Fault {
            reason: "ReconcilerError".into(),
            message: "its pod is owned by another".into(),
        }),
        ..sandbox("alice", 1, OperatingMode::Running)
    };
    world
        .projector
        .apply(Change::Sandbox(key("alice"), Some(Arc::new(facts))));
    let client = world.client("alice");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!client.is_finished());
    world.awake("alice", 1);
    assert!(answer(client).await.is_ok());
}

/// Whether a request for `alice` is sent to a pod at once.
async fn is_sent(world: &World) -> bool {
    let client = world.client("alice");
    tokio::time::sleep(Duration::from_millis(10)).await;
    let is_sent = client.is_finished();
    client.abort();
    is_sent
}

fn ready(name: &str, epoch: u64) -> PodFacts {
    PodFacts {
        ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ready: true,
        ..pod(name, epoch)
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_being_deleted_is_not_sent_to() {
    let mut world = World::new();
    world.awake("alice", 1);
    assert!(is_sent(&world).await);
    let leaving = PodFacts {
        terminating: true,
        ..ready("alice", 1)
    };
    world.pod("alice", 1, &leaving);
    assert!(!is_sent(&world).await, "ready, wanted, and on its way out");
    world.pod("alice", 2, &ready("alice", 2));
    assert!(
        is_sent(&world).await,
        "its successor is there before it is gone"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_another_sandbox_is_not_sent_to() {
    let mut world = World::new();
    world.sandbox("alice", 1, OperatingMode::Running);
    let foreign = PodFacts {
        sandbox_uid: "uid-alice-before".into(),
        ..ready("alice", 1)
    };
    world.pod("alice", 1, &foreign);
    assert!(
        !is_sent(&world).await,
        "of a Sandbox that had the name before"
    );
    let collision = PodFacts {
        sandbox: "mallory".into(),
        sandbox_uid: "uid-mallory".into(),
        ..ready("alice", 1)
    };
    world.pod("alice", 1, &collision);
    assert!(!is_sent(&world).await, "its name hash may be the same");
    world.pod("alice", 1, &ready("alice", 1));
    assert!(is_sent(&world).await);
}

#[tokio::test(start_paused = true)]
async fn the_pod_of_before_a_sleep_is_not_sent_to_though_it_still_looks_alive() {
    let mut world = World::new();
    world.awake("alice", 1);
    world.sandbox("alice", 2, OperatingMode::Suspended);
    world.sandbox("alice", 3, OperatingMode::Running);
    assert!(!is_sent(&world).await, "its deletion has not been seen yet");
    world.pod("alice", 1, &ready("alice", 1));
    assert!(!is_sent(&world).await, "said again");
    let leaving = PodFacts {
        terminating: true,
        ..ready("alice", 1)
    };
    world.pod("alice", 1, &leaving);
    assert!(!is_sent(&world).await);
    world.no_pod("alice", 1);
    world.pod("alice", 2, &ready("alice", 2));
    assert!(is_sent(&world).await);
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_before_a_sleep_is_not_believed_while_the_watch_does_not_run() {
    let mut world = World::new();
    world.awake("alice", 1);
    world.sandbox("alice", 3, OperatingMode::Running);
    world.current.send_replace(false);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!is_sent(&world).await);
    world.current.send_replace(true);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(!is_sent(&world).await, "what happened is being told");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(is_sent(&world).await, "nothing was told: it never went");
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_which_nobody_asked_holds_back_all_the_same() {
    let mut world = World::new();
    world.awake("alice", 1);
    world.sandbox("alice", 3, OperatingMode::Running);
    world.current.send_replace(false);
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.current.send_replace(true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!is_sent(&world).await, "the first who asks, after the gap");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(is_sent(&world).await);
}

#[tokio::test(start_paused = true)]
async fn names_of_strangers_leave_nothing_behind() {
    let mut world = World::asleep();
    world.projector.apply(Change::Synced);
    world.activator.directory.synced().await;
    for n in 0..100_000 {
        assert!(
            world
                .activator
                .directory
                .find(&key(&format!("stranger-{n}")))
                .is_none()
        );
    }
    assert_eq!(world.activator.directory.slots().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_known_is_served_after_the_watch_ends() {
    let (changes, rx) = mpsc::channel(8);
    let world = World::new();
    let metrics = world.activator.metrics.clone();
    let directory = Arc::clone(&world.activator.directory);
    let upstream = Arc::clone(&world.activator.upstream);
    let projector = Projector::new(directory, upstream, &world.activator.config, metrics);
    let facts = Arc::new(sandbox("alice", 1, OperatingMode::Suspended));
    changes
        .send(Change::Sandbox(key("alice"), Some(facts)))
        .await
        .unwrap();
    drop(changes);
    let (changes, current) = (rx, watch::channel(true).1);
    projector.follow(Watch { changes, current }).await;
    assert_eq!(world.slot("alice").key(), &key("alice"));
}

#[test]
fn an_idle_slot_is_small() {
    let size = size_of::<Slot>() + size_of::<crate::slot::Facts>();
    assert!(size <= 768, "{size} bytes");
}
