//! Without NATS: down from the beginning, or never spoken of.

use serde_json::json;

use crate::support::cluster::{Cluster, Setup};
use crate::support::manifests::{Agent, policy};
use crate::support::objects::Kind;

#[tokio::test]
async fn wakes_go_by_the_api_and_nobody_sleeps_until_nats_is_there() {
    let mut cluster = Setup::default().later_nats().start().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 1, "minimumUptime": 0})))
        .await;
    for name in ["alice", "bob"] {
        cluster.create(Agent::asleep(name).sandbox()).await;
    }
    cluster.get("alice", "/").await.ok();
    cluster.door(1).get("bob", "/").await.ok();
    nobody_sleeps(&cluster).await;
    cluster.nats.restart().await;
    for name in ["alice", "bob"] {
        cluster.await_mode(name, "Suspended").await;
        cluster.get(name, "/").await.ok();
    }
    cluster.nobody_panicked();
}

#[tokio::test]
async fn a_deployment_without_nats_wakes_and_never_puts_to_sleep() {
    let cluster = Setup::default().without_nats().start().await;
    cluster
        .create(policy(json!({"cooldownPeriod": 1, "minimumUptime": 0})))
        .await;
    for name in ["alice", "bob"] {
        cluster.create(Agent::asleep(name).sandbox()).await;
        cluster.get(name, "/").await.ok();
    }
    nobody_sleeps(&cluster).await;
    cluster.nobody_panicked();
}

/// The leader has had every reason to put alice and bob to sleep but one, and told so.
async fn nobody_sleeps(cluster: &Cluster) {
    for name in ["alice", "bob"] {
        let one = [name.to_owned()];
        cluster.await_word(&one, "ActivatorsUnheard").await;
        let sandbox = cluster.get_object(Kind::Sandbox, name).await;
        assert_eq!(sandbox["spec"]["operatingMode"], "Running");
    }
    assert_eq!(cluster.said("to sleep after"), 0);
}
