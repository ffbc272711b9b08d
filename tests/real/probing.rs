//! The activator's own probing against waiting for the kubelet's word: `readiness: Auto` and `PodReady`.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::stage;
use crate::support::cluster::Cluster;
use crate::support::manifests::{Agent, named_policy};
use crate::support::size;

/// Periods of the readiness probe, in seconds: a keen one, and what Kubernetes takes where none is given.
const PERIODS: [u32; 2] = [1, 10];
/// How a sandbox is found ready.
const READINESS: [&str; 2] = ["Auto", "PodReady"];

#[tokio::test]
async fn the_activators_own_probing_spares_the_wait_for_the_kubelets_probe() {
    let cycles = size(8, 40);
    let cluster = stage::cluster().await;
    for period in PERIODS {
        for readiness in READINESS {
            let name = name(readiness, period);
            cluster.create(sandbox(&name, period)).await;
            let spec = json!({
                "scaleTargetRef": {"kind": "Sandbox", "name": name},
                "cooldownPeriod": 3600,
                "wake": {"readiness": readiness},
            });
            cluster.create(named_policy(&name, spec)).await;
        }
    }
    println!("{cycles} wakes each, milliseconds from the request to the whole answer:");
    println!("  {:<28} {:>7} {:>7} {:>7}", "", "least", "median", "most");
    for period in PERIODS {
        // Taken in turns, so that whatever else the machine does hits both alike.
        let mut took = [Vec::new(), Vec::new()];
        for cycle in 0..cycles {
            for (readiness, took) in READINESS.iter().zip(&mut took) {
                let door = usize::try_from(cycle % 2).unwrap();
                took.push(wake(&cluster, door, &name(readiness, period)).await);
            }
        }
        for (readiness, took) in READINESS.iter().zip(&mut took) {
            took.sort_by(f64::total_cmp);
            let (least, median, most) = (took[0], took[took.len() / 2], took[took.len() - 1]);
            let what = format!("{readiness}, probe period {period} s");
            println!("  {what:<28} {least:>7.0} {median:>7.0} {most:>7.0}");
        }
    }
    cluster.nobody_panicked();
}

/// Wakes a sleeping sandbox by a request and puts it back to sleep; milliseconds to the answer.
async fn wake(cluster: &Cluster, door: usize, name: &str) -> f64 {
    cluster.await_mode(name, "Suspended").await;
    cluster.await_state(name, "asleep").await;
    let began = Instant::now();
    let reply = cluster.door(door).get(name, "/").await.ok();
    let took = began.elapsed().as_secs_f64() * 1e3;
    assert_eq!(reply.header("x-reveille-wake"), "started", "{reply:?}");
    cluster.set_mode(name, "Suspended").await;
    took
}

fn name(readiness: &str, period: u32) -> String {
    format!("{}-{period}", readiness.to_lowercase())
}

fn sandbox(name: &str, period: u32) -> Value {
    let mut sandbox = Agent::asleep(name).grace(1).sandbox();
    let container = &mut sandbox["spec"]["podTemplate"]["spec"]["containers"][0];
    container["readinessProbe"]["periodSeconds"] = period.into();
    sandbox
}
