//! Claims and pools: C15 to C19.

use serde_json::{Value, json};

use crate::support::cluster::{Cluster, Setup};
use crate::support::manifests::{Agent, claim, pool};
use crate::support::objects::{Kind, condition, name_of, uid_of};
use crate::support::until;

/// Present on members of a pool that nobody has claimed.
const UNCLAIMED: &str = "agents.x-k8s.io/warm-pool-sandbox";

/// A pool of so many members, all ready.
async fn with_pool(members: u32) -> Cluster {
    let cluster = Setup::default().parts(0, 0).without_nats().start().await;
    cluster.create_all(pool(&Agent::mould(), members)).await;
    await_members(&cluster, members).await;
    cluster
}

async fn await_members(cluster: &Cluster, members: u32) {
    cluster
        .await_object("filled", Kind::WarmPool, "pool", |pool| {
            pool["status"]["readyReplicas"] == members
        })
        .await;
}

fn unclaimed(sandbox: &Value) -> bool {
    sandbox["metadata"]["labels"][UNCLAIMED].is_string()
}

/// Names of the claims whose controller a Sandbox has.
fn owners(sandbox: &Value) -> Vec<(&str, &str)> {
    let owners = sandbox["metadata"]["ownerReferences"].as_array().unwrap();
    owners
        .iter()
        .map(|owner| {
            (
                owner["kind"].as_str().unwrap(),
                owner["name"].as_str().unwrap(),
            )
        })
        .collect()
}

/// C15
#[tokio::test]
async fn a_claim_takes_a_member_of_the_pool_which_keeps_its_name() {
    let cluster = with_pool(2).await;
    let members = cluster.list(Kind::Sandbox).await;
    assert!(members.iter().all(unclaimed), "{members:#?}");
    cluster.create(claim("alice", json!({}))).await;
    let sandbox = cluster.bound("alice").await;
    assert!(
        name_of(&sandbox).starts_with("pool-"),
        "{}",
        name_of(&sandbox)
    );
    assert!(
        members
            .iter()
            .any(|member| uid_of(member) == uid_of(&sandbox))
    );
    assert_eq!(owners(&sandbox), [("SandboxClaim", "alice")]);
    assert!(!unclaimed(&sandbox));
    let alice = cluster
        .await_object("addressed", Kind::Claim, "alice", |claim| {
            claim["status"]["sandbox"]["podIPs"]
                .as_array()
                .is_some_and(|ips| !ips.is_empty())
        })
        .await;
    let named = &alice["metadata"]["annotations"]["agents.x-k8s.io/sandbox-name"];
    assert_eq!(*named, sandbox["metadata"]["name"]);
    await_members(&cluster, 2).await;
}

/// C16
#[tokio::test]
async fn a_claimed_sandbox_that_sleeps_stays_its_claims_and_nobody_elses() {
    let cluster = with_pool(1).await;
    cluster.create(claim("alice", json!({}))).await;
    let sandbox = cluster.bound("alice").await;
    let name = name_of(&sandbox);
    cluster.set_mode(&name, "Suspended").await;
    cluster.await_mode(&name, "Suspended").await;
    let asleep = |claim: &Value| {
        let ready = claim["status"]["conditions"]
            .as_array()
            .and_then(|all| all.iter().find(|c| c["type"] == "Ready"));
        ready.is_some_and(|ready| {
            ready["status"] == "False" && ready["reason"] == "SandboxSuspended"
        })
    };
    let alice = cluster
        .await_object("asleep", Kind::Claim, "alice", asleep)
        .await;
    assert_eq!(alice["status"]["sandbox"]["name"], name.as_str());
    await_members(&cluster, 1).await;
    cluster.create(claim("bob", json!({}))).await;
    assert_ne!(name_of(&cluster.bound("bob").await), name);
    let sandbox = cluster.get_object(Kind::Sandbox, &name).await;
    assert_eq!(owners(&sandbox), [("SandboxClaim", "alice")]);
    assert_eq!(sandbox["spec"]["operatingMode"], "Suspended");
}

/// C17
#[tokio::test]
async fn a_member_of_the_pool_that_is_put_to_sleep_is_replaced() {
    let cluster = with_pool(1).await;
    let [member] = cluster.list(Kind::Sandbox).await.try_into().unwrap();
    cluster.set_mode(&name_of(&member), "Suspended").await;
    until("another member", || async {
        let members = cluster.list(Kind::Sandbox).await;
        let other = |sandbox: &Value| uid_of(sandbox) != uid_of(&member);
        members
            .iter()
            .any(|sandbox| other(sandbox) && condition(sandbox, "Ready").0 == "True")
            .then_some(())
    })
    .await;
}

/// C18
#[tokio::test]
async fn a_claim_whose_sandbox_is_deleted_gets_another() {
    let cluster = with_pool(1).await;
    cluster.create(claim("alice", json!({}))).await;
    let first = cluster.bound("alice").await;
    cluster.delete(Kind::Sandbox, &name_of(&first)).await;
    until("another Sandbox", || async {
        let claim = cluster.get_object(Kind::Claim, "alice").await;
        let name = claim["status"]["sandbox"]["name"].as_str()?.to_owned();
        let sandbox = cluster.find(Kind::Sandbox, &name).await?;
        (uid_of(&sandbox) != uid_of(&first) && condition(&sandbox, "Ready").0 == "True")
            .then_some(())
    })
    .await;
}

/// C19
#[tokio::test]
async fn a_claim_that_wants_an_environment_starts_cold_under_its_own_name() {
    let cluster = Setup::default().parts(0, 0).without_nats().start().await;
    let [mut template, warm] = pool(&Agent::mould(), 1);
    template["spec"]["envVarsInjectionPolicy"] = "Allowed".into();
    cluster.create_all([template, warm]).await;
    await_members(&cluster, 1).await;
    let env = json!({"env": [{"name": "GREETING", "value": "hello"}]});
    cluster.create(claim("alice", env)).await;
    assert_eq!(name_of(&cluster.bound("alice").await), "alice");
}
