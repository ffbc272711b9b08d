//! Nothing piles up: sandboxes and claims that come, are used and go leave nothing behind, in the processes nor in the
//! API.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::churn::Churn;
use crate::support::cluster::{Cluster, Setup};
use crate::support::counts::{Counts, back_to, calm};
use crate::support::manifests::{Agent, claim, policy, pool};
use crate::support::objects::Kind;
use crate::support::part::Part;
use crate::support::size;

/// Half a minute, and half an hour with `REVEILLE_LONG=1`.
#[tokio::test]
async fn sandboxes_and_claims_that_come_are_used_and_go_leave_nothing_behind() {
    let (rounds, each) = (size(2, 60), size(3, 6));
    let cluster = Setup::default().parts(1, 1).start().await;
    let spec = json!({
        "cooldownPeriod": 1, "minimumUptime": 0, "websocketIdle": 1,
        "wake": {"strategy": "Bind"},
    });
    cluster.create(policy(spec)).await;
    cluster.create_all(pool(&Agent::mould(), 2)).await;
    let members = |pool: &serde_json::Value| pool["status"]["readyReplicas"] == 2;
    let filled = cluster.await_object("filled", Kind::WarmPool, "pool", members);
    filled.await;

    // What is made once is made now.
    round(&cluster, "first", 1).await;
    let parts = [&cluster.activators[0], &cluster.scalers[0]];
    let before = join_all(parts.map(|part| calm(|| count(part)))).await;
    for number in 0..rounds {
        round(&cluster, &format!("round-{number}"), each).await;
    }
    let churned = usize::try_from(rounds * each * 2).unwrap();
    for (part, before) in parts.iter().zip(&before) {
        back_to(before, churned, || count(part)).await;
    }
    for kind in [Kind::Claim, Kind::Released] {
        assert!(cluster.list(kind).await.is_empty(), "{kind:?}");
    }
    cluster.nobody_panicked();
}

async fn count(part: &Part) -> Counts {
    let text = part.operator("/metrics").await.unwrap().ok();
    Counts::of(part.pid(), std::str::from_utf8(&text.body).unwrap())
}

/// The whole life of so many sandboxes and as many claims.
async fn round(cluster: &Cluster, name: &str, count: u64) {
    let lives = (0..count).map(|number| async move {
        let (sandbox, claim) = (format!("{name}-{number}"), format!("{name}-claim-{number}"));
        tokio::join!(live(cluster, &sandbox), live_claimed(cluster, &claim));
    });
    let never = format!("{name}-never");
    tokio::join!(join_all(lives), fail(cluster, &never));
}

fn clients(cluster: &Cluster, name: &str) -> Churn {
    Churn {
        address: cluster.activators[0].listen,
        host: format!("{name}.{}.sandbox.localhost", cluster.namespace),
    }
}

async fn live(cluster: &Cluster, name: &str) {
    cluster.create(Agent::asleep(name).sandbox()).await;
    for _ in 0..2 {
        let silent = clients(cluster, name).through().await;
        cluster.await_mode(name, "Suspended").await;
        drop(silent);
    }
    cluster.delete(Kind::Sandbox, name).await;
    cluster.await_gone(Kind::Sandbox, name).await;
}

/// Bound, released, bound again, released, and deleted while it is.
async fn live_claimed(cluster: &Cluster, name: &str) {
    cluster.create(claim(name, json!({}))).await;
    for _ in 0..2 {
        drop(clients(cluster, name).through().await);
        cluster.await_gone(Kind::Claim, name).await;
        cluster
            .await_object("released", Kind::Released, name, |_| true)
            .await;
    }
    cluster.delete(Kind::Released, name).await;
    cluster.await_gone(Kind::Released, name).await;
}

/// Deleted under the clients that wait for it.
async fn fail(cluster: &Cluster, name: &str) {
    let agent = Agent::asleep(name).flags(["--crash-on-start", "always"]);
    cluster.create(agent.sandbox()).await;
    let clients = clients(cluster, name);
    let delete = async {
        cluster.await_state(name, "waking").await;
        cluster.delete(Kind::Sandbox, name).await;
    };
    let (answered, ()) = tokio::join!(clients.to_its_end(), delete);
    assert_eq!(answered, 0);
}
