//! What an activator says of its activity, once a second.

use reveille_crds::message::{Activity, SandboxActivity};

use super::*;

impl World {
    async fn report(&mut self) -> Activity {
        let report = async {
            loop {
                if let ToScaler::Activity(report) = self.from_activator.recv().await.unwrap() {
                    return report;
                }
            }
        };
        tokio::time::timeout(PATIENCE, report)
            .await
            .expect("a report in time")
    }
}

fn said(report: &Activity) -> Vec<(&str, u32, u32, u64)> {
    let one = |one: &'_ SandboxActivity| (one.in_flight, one.parked, one.quiet_for_ms);
    report
        .sandboxes
        .iter()
        .map(|sandbox| {
            let (in_flight, parked, quiet) = one(sandbox);
            (sandbox.key.name(), in_flight, parked, quiet)
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_report_comes_every_second_even_with_nothing_to_say() {
    let mut world = World::asleep();
    let start = tokio::time::Instant::now();
    for sequence in 1..=5 {
        let report = world.report().await;
        assert_eq!((report.sequence, report.full), (sequence, sequence == 1));
        assert!(report.sandboxes.is_empty());
        assert_eq!(start.elapsed().as_secs(), sequence - 1);
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_changed_is_told_and_everything_when_asked() {
    let mut world = World::asleep();
    world.awake("bob", 1);
    world.report().await;
    let parked = world.client("alice");
    let busy = world.slot("bob").begin();
    let report = world.report().await;
    let mut told = said(&report);
    told.sort_unstable();
    assert_eq!(told, [("alice", 0, 1, 0), ("bob", 1, 0, 0)]);
    assert_eq!(said(&world.report().await), []);
    drop(busy);
    tokio::time::sleep(Duration::from_millis(400)).await;
    let told = world.report().await;
    assert!(
        matches!(said(&told)[..], [("bob", 0, 0, 400..=1000)]),
        "{told:?}"
    );
    world.to_activator.send(ToActivator::Sync).await.unwrap();
    let report = world.report().await;
    assert!(report.full);
    assert_eq!(report.sandboxes.len(), 2);
    parked.abort();
}

#[tokio::test(start_paused = true)]
async fn while_the_link_is_down_nothing_is_told_and_then_everything() {
    let mut world = World::new();
    world.awake("bob", 1);
    let before = world.report().await;
    world.link.send_replace(false);
    drop(world.slot("bob").begin());
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.link.send_replace(true);
    let after = world.report().await;
    assert_eq!((after.sequence, after.full), (before.sequence + 1, true));
    assert!(
        matches!(said(&after)[..], [("bob", 0, 0, 5000..)]),
        "{after:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn while_the_link_is_down_nothing_is_kept_of_sandboxes_that_are_gone() {
    let mut world = World::new();
    world.awake("bob", 1);
    world.report().await;
    world.link.send_replace(false);
    let slot = world.slot("bob");
    drop(slot.begin());
    let kept = Arc::downgrade(&slot);
    drop(slot);
    world.projector.apply(Change::Sandbox(key("bob"), None));
    world.no_pod("bob", 1);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(kept.strong_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_travels_with_the_pod_that_set_it() {
    let mut world = World::new();
    world.awake("bob", 1);
    world.report().await;
    world.slot("bob").busy(&"pod-bob-1".into(), 60);
    let report = world.report().await;
    let lease = report.sandboxes[0].busy.as_ref().unwrap();
    assert_eq!(&*lease.pod, "pod-bob-1");
    assert!((59_000..=60_000).contains(&lease.for_ms));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_active_sandboxes_fit_into_messages_that_a_carrier_takes() {
    let mut world = World::new();
    let names: Vec<String> = (0..10_000).map(|n| format!("{n:0>63}")).collect();
    let mut active = Vec::new();
    for name in &names {
        world.sandbox(name, 1, OperatingMode::Running);
        active.push(world.slot(name).begin());
    }
    let mut told = 0;
    for part in 0.. {
        let report = world.report().await;
        assert_eq!((report.sequence, report.full), (part + 1, part == 0));
        let (_, payload) = ToScaler::Activity(report.clone()).encode().unwrap();
        assert!(payload.len() < 1024 * 1024, "{} bytes", payload.len());
        told += report.sandboxes.len();
        if told == names.len() {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_looks_is_told_at_once_and_which_questions_that_answers() {
    let mut world = World::asleep();
    world.awake("bob", 1);
    world.report().await;
    let start = tokio::time::Instant::now();
    let busy = world.slot("bob").begin();
    world.to_activator.send(ToActivator::Look(7)).await.unwrap();
    let report = world.report().await;
    assert_eq!(
        (said(&report), &*report.answers),
        (vec![("bob", 1, 0, 0)], &[7][..])
    );
    drop(busy);
    world.to_activator.send(ToActivator::Look(8)).await.unwrap();
    world.to_activator.send(ToActivator::Look(9)).await.unwrap();
    let report = world.report().await;
    assert_eq!(said(&report), [("bob", 0, 0, 0)]);
    let mut answers = report.answers;
    while answers.len() < 2 {
        answers.extend(world.report().await.answers);
    }
    assert_eq!(answers, [8, 9]);
    assert!(start.elapsed().as_millis() < 1000, "no report was due");
}
