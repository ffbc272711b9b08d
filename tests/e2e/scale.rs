//! What ten thousand sleeping sandboxes cost.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::sleep;

use crate::support::home::Home;
use crate::support::manifests::{Agent, Manifests};
use crate::support::process::{cpu_time, resident_kib};
use crate::support::reveille::Reveille;
use crate::support::{setting, until};

/// KiB per sandbox, for all of standalone: 1 in the activator, 4 in the scaler, and the object
/// itself with what the controller remembers of it.
const KIB_EACH: u64 = 16;
/// Time over which nothing should happen.
const IDLE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn ten_thousand_sleeping_sandboxes_cost_little_memory_and_no_work() {
    let size = setting("REVEILLE_TEST_SANDBOXES", 10_000);
    let (_home, small) = Reveille::of(&Manifests::one(Agent::asleep("alice"), 60)).await;
    let base = resident_kib(small.pid());
    small.stop().await;

    let home = Home::with(&Manifests::one(Agent::asleep("alice"), 60));
    std::fs::write(home.manifests().join("fleet.yaml"), fleet(size)).unwrap();
    let reveille = Reveille::start(&home).await;
    until("all sandboxes", || async {
        (reveille.sandboxes().await.len() as u64 == size + 1).then_some(())
    })
    .await;
    reveille.get("alice", "/").await.ok();
    reveille.put_to_sleep("alice").await;

    let (memory, before) = (resident_kib(reveille.pid()), cpu_time(reveille.pid()));
    sleep(IDLE).await;
    let worked = cpu_time(reveille.pid()) - before;
    let each = memory.saturating_sub(base) * 1024 / size;
    println!(
        "{size} asleep: {memory} KiB resident ({base} KiB with one), {each} bytes each; {worked:?} of CPU in {IDLE:?}"
    );
    assert!(
        memory - base <= size * KIB_EACH,
        "{memory} KiB, {base} KiB with one sandbox"
    );
    // Reports and heartbeats are per process, not per sandbox.
    assert!(worked < IDLE / 20, "{worked:?} of CPU in {IDLE:?}");
    reveille.stop().await;
}

/// As one writes it: block YAML, one document each.
fn fleet(size: u64) -> String {
    (0..size).fold(String::new(), |mut text, number| {
        let _ = write!(
            text,
            "---\napiVersion: agents.x-k8s.io/v1beta1\nkind: Sandbox\nmetadata:\n  name: idle-{number}\n  \
             namespace: agents\n  labels: {{fleet: tests}}\nspec:\n  operatingMode: Suspended\n  podTemplate:\n    \
             spec:\n      containers:\n        - name: agent\n          image: reveille:0.1.0\n          \
             command: [reveille, example-agent]\n          ports: [{{containerPort: 8888}}]\n"
        );
        text
    })
}
