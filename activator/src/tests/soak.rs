//! Nothing piles up: sandboxes that come, are used and go leave nothing behind.

use prometheus_client::encoding::text::encode;

use super::*;

#[tokio::test(start_paused = true)]
async fn thousands_of_sandboxes_that_come_and_go_leave_no_slot_task_ticket_or_series() {
    let mut world = World::asleep();
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    world.projector = Projector::new(
        Arc::clone(&world.activator.directory),
        Arc::clone(&world.activator.upstream),
        &world.activator.config,
        metrics.clone(),
    );
    let lines = |registry: &Registry| {
        let mut text = String::new();
        encode(&mut text, registry).unwrap();
        text.lines().count()
    };
    let slots = world.activator.directory.slots().len();
    let before = lines(&registry);
    for run in 0..3000 {
        let key = SandboxKey::new(&format!("run-{run}"), "agent").unwrap();
        let facts = sandbox("agent", 1, OperatingMode::Suspended);
        world
            .projector
            .apply(Change::Sandbox(key.clone(), Some(Arc::new(facts))));
        let slot = world.activator.directory.target(&key).unwrap();
        let activator = Arc::clone(&world.activator);
        let client = tokio::spawn(async move {
            let activity = slot.begin();
            activator.parking.endpoint(&activity, PORT, None).await
        });
        tokio::task::yield_now().await;
        let labels = crate::metrics::NamespaceLabels {
            sandbox_namespace: key.namespace().to_owned(),
        };
        metrics.cache_invalidations.get_or_create(&labels).inc();
        world.projector.apply(Change::Sandbox(key, None));
        assert_eq!(refusal(client).await, Refusal::Gone);
        // As the report does.
        world.activator.directory.take_dirty();
    }
    assert_eq!(world.activator.directory.slots().len(), slots);
    assert_eq!(world.activator.parking.parked(), 0);
    assert_eq!(metrics.targets.get(), 0);
    assert_eq!(lines(&registry), before);
    world.closing.cancel();
    tokio::time::timeout(PATIENCE, world.activator.parking.join())
        .await
        .expect("no task is left");
}
