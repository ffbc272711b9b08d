//! What 10,000 sandboxes cost that are defined and asleep. A process of its own, so that what is measured is ours.

use std::time::Duration;

use reveille_crds::change::Change;
use reveille_crds::scaled_sandbox::validate;
use reveille_lifecycle::local::{Config, Controller};
use reveille_lifecycle::manifest;
use tokio_util::sync::CancellationToken;

/// Of store and controller together, in an unoptimized build too: the scaler's whole budget per sandbox.
const MOST_PER_SANDBOX: u64 = 8 << 10;

const SANDBOXES: u64 = 10_000;

fn manifest_of(index: u64) -> String {
    format!(
        "---
apiVersion: agents.x-k8s.io/v1beta1
kind: Sandbox
metadata: {{name: agent-{index}, labels: {{fleet: research}}}}
spec:
  operatingMode: Suspended
  volumeClaimTemplates: [{{metadata: {{name: data}}, spec: {{}}}}]
  podTemplate:
    spec:
      containers:
      - {{name: a, command: [agent], ports: [{{containerPort: 8888}}], volumeMounts: [{{name: data, mountPath: /data}}]}}
"
    )
}

/// Numbers of `/proc/self/<file>`, after the process name where there is one.
fn numbers(file: &str) -> Vec<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/{file}")).expect("/proc is mounted");
    let after_name = text.rsplit(')').next().unwrap_or_default();
    after_name
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect()
}

fn resident() -> u64 {
    numbers("statm")[1] * 4096
}

/// User and system time so far, in hundredths of a second.
fn cpu_ticks() -> u64 {
    let fields = numbers("stat");
    fields[11] + fields[12]
}

/// Waits for a second that costs nothing: the controller has looked at everything.
async fn quiet() -> bool {
    for _ in 0..60 {
        let before = cpu_ticks();
        tokio::time::sleep(Duration::from_secs(1)).await;
        if cpu_ticks() - before <= 1 {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn ten_thousand_sleeping_sandboxes_cost_little_memory_and_no_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("fleet.yaml");
    let text: String = (0..SANDBOXES).map(manifest_of).collect();
    std::fs::write(&file, text).unwrap();
    let objects = manifest::load(&[file], validate).unwrap();
    let before = resident();
    let config = Config {
        state_dir: dir.path().join("state"),
        logs: false,
        env: [].into(),
        path_dirs: Vec::new(),
    };
    let controller = Controller::open(config, objects).await.unwrap();
    let store = controller.store();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(controller.run(shutdown.clone()));
    let mut watch = store.watch();
    while watch.next().await != Change::Synced {}
    assert!(quiet().await, "an idle second still costs more than 10 ms");
    let each = resident().saturating_sub(before) / SANDBOXES;
    println!(
        "{each} bytes more resident per sandbox, {} MiB in all",
        resident() >> 20
    );
    assert!(each < MOST_PER_SANDBOX, "{each} bytes");
    shutdown.cancel();
    task.await.unwrap().unwrap();
}
