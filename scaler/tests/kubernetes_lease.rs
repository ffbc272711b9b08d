//! The lease of the leader on a real API server.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails"
)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/cut.rs"]
mod cut;

use std::time::Duration;

use cluster::{Cluster, PATIENCE, client};
use cut::{Cut, Way};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use reveille_scaler::leader::{Leader, elected};
use reveille_scaler::lease::{Error, Settings, Timing, hold};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// An API server that shares its machine with much else may be silent for a second or two.
const TIMING: Timing = Timing {
    lease: Duration::from_secs(12),
    renew_deadline: Duration::from_secs(6),
    retry: Duration::from_millis(400),
};
const WRITE: Duration = Duration::from_secs(3);

struct Candidate {
    leader: Leader,
    shutdown: CancellationToken,
    holding: JoinHandle<Result<(), Error>>,
}

impl Candidate {
    fn start(client: kube::Client, cluster: &Cluster, identity: &str) -> Self {
        let (lead, leader) = elected();
        let shutdown = CancellationToken::new();
        let settings = Settings {
            namespace: cluster.namespace.clone(),
            name: "reveille-scaler".to_owned(),
            identity: identity.to_owned(),
            timing: TIMING,
            write_timeout: WRITE,
        };
        let holding = tokio::spawn(hold(client, settings, lead, shutdown.clone()));
        Self {
            leader,
            shutdown,
            holding,
        }
    }

    async fn until(&self, leads: bool) {
        let said = async {
            while self.leader.leads() != leads {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, said)
            .await
            .expect("leading never changed");
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.holding.await.unwrap().unwrap();
    }
}

async fn lease(cluster: &Cluster) -> Lease {
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    api.get("reveille-scaler").await.unwrap()
}

#[tokio::test]
async fn who_stops_gives_the_lease_up_and_another_takes_it_at_once() {
    let cluster = Cluster::new("handover").await;
    let one = Candidate::start(cluster.client.clone(), &cluster, "one");
    one.until(true).await;
    let two = Candidate::start(cluster.client.clone(), &cluster, "two");
    sleep(TIMING.lease).await;
    assert!(
        one.leader.leads() && !two.leader.leads(),
        "renewed for longer than a lease"
    );
    let before = lease(&cluster).await.spec.unwrap();
    let holder = before.holder_identity.unwrap();
    assert!(holder.starts_with("one_"), "{holder}");
    let begun = Instant::now();
    one.stop().await;
    two.until(true).await;
    assert!(begun.elapsed() < TIMING.lease, "{:?}", begun.elapsed());
    let after = lease(&cluster).await.spec.unwrap();
    assert!(after.lease_transitions > before.lease_transitions);
    assert_eq!(after.lease_duration_seconds, Some(12));
    assert!(after.acquire_time > before.acquire_time);
    two.stop().await;
    let holder = lease(&cluster).await.spec.unwrap().holder_identity;
    assert_eq!(holder.unwrap_or_default(), "");
}

/// The leader loses its way to the API server; another takes over, and the first follows once it is back.
async fn cut_off(way: Way) {
    let cluster = Cluster::new("cut-off").await;
    let cut = Cut::new(cluster.testbed).await;
    let through = client(cut.kubeconfig.clone()).await;
    let one = Candidate::start(through, &cluster, "one");
    one.until(true).await;
    let two = Candidate::start(cluster.client.clone(), &cluster, "two");
    cut.way.send_replace(way);
    let handed_over = async {
        while !two.leader.leads() {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(!one.leader.leads(), "two at a time");
    };
    timeout(PATIENCE, handed_over)
        .await
        .expect("nobody took the lease");
    cut.way.send_replace(Way::Open);
    sleep(TIMING.lease).await;
    assert!(two.leader.leads() && !one.leader.leads());
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn who_is_never_answered_leads_no_more_before_another_does() {
    cut_off(Way::Hanging).await;
}

#[tokio::test]
async fn who_is_turned_away_leads_no_more_before_another_does() {
    cut_off(Way::Closed).await;
}

#[tokio::test]
async fn intervals_that_cannot_keep_two_leaders_apart_are_refused() {
    let cluster = Cluster::new("unsafe").await;
    let settings = Settings {
        namespace: cluster.namespace.clone(),
        name: "reveille-scaler".to_owned(),
        identity: "one".to_owned(),
        timing: TIMING,
        write_timeout: TIMING.renew_deadline,
    };
    let (lead, _leader) = elected();
    let refused = hold(
        cluster.client.clone(),
        settings,
        lead,
        CancellationToken::new(),
    )
    .await;
    assert_eq!(refused, Err(Error::Unsafe));
}
