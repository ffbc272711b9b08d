//! The API server is killed and stays away for a while, or stands still.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method};
use http_body_util::Empty;
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

/// It takes connections and requests, and answers none: nobody is told by an error.
#[tokio::test]
async fn while_the_api_server_stands_still_who_waits_for_less_than_the_wake_takes_to_fail_learns_why()
 {
    let (testbed, plane) = Plane::own().await;
    let cluster = Setup::default().on(&plane).start().await;
    let limits = json!({"cooldownPeriod": 300, "park": {"maxWait": 3}});
    cluster.create(policy(limits)).await;
    for name in ["patient", "cold", "other"] {
        cluster.create(Agent::asleep(name).sandbox()).await;
    }
    cluster.get("patient", "/").await.ok();
    testbed.freeze(Part::ApiServer).await.unwrap();
    let by_policy = cluster.get("cold", "/").await;
    let door = cluster.door(1);
    let mut request = door.request(Method::GET, "other", "/", Empty::<Bytes>::new());
    let three = HeaderValue::from_static("3");
    request.headers_mut().insert("x-sandbox-timeout", three);
    let by_client = door.send(request).await.unwrap();
    testbed.thaw(Part::ApiServer).await.unwrap();
    for (refused, status) in [(by_policy, 503), (by_client, 504)] {
        let told = refused.json();
        assert_eq!(
            (refused.status.as_u16(), &told["reason"]),
            (status, &json!("ApiUnavailable")),
            "{told}"
        );
        let detail = told["detail"].as_str().unwrap();
        assert!(detail.contains("Kubernetes API does not answer"), "{told}");
        assert!(!refused.header("retry-after").is_empty(), "{told}");
        println!("a wake while the API server stands still: {status} {told}");
    }
    for name in ["cold", "other"] {
        until_for(THEIRS, "the wake", || async {
            Some(cluster.get(name, "/").await).filter(|reply| reply.status == 200)
        })
        .await;
    }
    cluster.nobody_panicked();
}
