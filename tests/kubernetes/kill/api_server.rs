//! The API server is killed and stays away for a while.

use std::time::Duration;

use reveille_testbed::Part;
use serde_json::json;
use tokio::time::sleep;

use crate::support::cluster::Setup;
use crate::support::load::Load;
use crate::support::manifests::{Agent, policy};
use crate::support::plane::Plane;
use crate::support::{size, until_for};

/// Upstream's controller looks for the API server at growing intervals, up to a minute.
const THEIRS: Duration = Duration::from_secs(180);

#[tokio::test]
async fn without_the_api_server_what_is_warm_is_served_and_a_wake_is_told_why_not() {
    let away = Duration::from_secs(size(20, 30));
    let (testbed, plane) = Plane::own().await;
    let cluster = Setup::default().on(&plane).start().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 5, "minimumUptime": 0})))
        .await;
    for name in ["warm", "cold"] {
        cluster.create(Agent::asleep(name).sandbox()).await;
        cluster.get(name, "/").await.ok();
    }
    cluster.await_mode("cold", "Suspended").await;
    let names = ["warm".to_owned()];
    let load = Load::on(&cluster, &names, Duration::from_millis(100));
    load.answers(20).await;

    testbed.kill(Part::ApiServer).await.unwrap();
    let refused = cluster.get("cold", "/").await;
    assert_eq!(refused.status, 503, "{refused:?}");
    let told = refused.json();
    assert!(!told["reason"].as_str().unwrap().is_empty(), "{told}");
    assert!(
        told["detail"]
            .as_str()
            .unwrap()
            .to_lowercase()
            .contains("api"),
        "{told}"
    );
    println!("a wake without the API server: {told}");
    sleep(away).await;
    load.answers(20).await;
    let sleeps = cluster.said("to sleep after");

    testbed.start_part(Part::ApiServer).await.unwrap();
    until_for(THEIRS, "the wake", || async {
        Some(cluster.door(1).get("cold", "/").await).filter(|reply| reply.status == 200)
    })
    .await;
    load.answers(20).await;
    let tally = load.end().await;
    assert!(
        tally.refusals.is_empty() && tally.failures.is_empty(),
        "{tally:?}"
    );
    tally.agrees_with(&cluster).await;
    cluster.leader().await;
    for name in ["warm", "cold"] {
        cluster.await_mode(name, "Suspended").await;
    }
    assert!(cluster.said("to sleep after") > sleeps);
    cluster.nobody_panicked();
}
