//! Warm pools and claims.

use reveille_crds::claim::SandboxClaim;
use reveille_crds::names::label;
use reveille_crds::sandbox::OperatingMode::{Running, Suspended};
use reveille_crds::warm_pool::SandboxWarmPool;

use super::bench::{Bench, SLEEPER, condition, key, written};
use crate::store::{ClaimChange, ClaimObject, ModeChange, SandboxObject};

fn fleet(replicas: u32, script: &str, claims: &[&str]) -> String {
    let mut yaml = format!(
        "apiVersion: extensions.agents.x-k8s.io/v1beta1
kind: SandboxTemplate
metadata: {{name: mould, namespace: agents}}
spec:
  envVarsInjectionPolicy: Allowed
  volumeClaimTemplates: [{{metadata: {{name: data}}, spec: {{}}}}]
  podTemplate:
    metadata: {{labels: {{fleet: research}}}}
    spec:
      containers:
      - {{name: agent, command: [sh, -c, '{script}', /data], volumeMounts: [{{name: data, mountPath: /data}}]}}
---
apiVersion: extensions.agents.x-k8s.io/v1beta1
kind: SandboxWarmPool
metadata: {{name: pool, namespace: agents}}
spec: {{replicas: {replicas}, sandboxTemplateRef: {{name: mould}}}}
"
    );
    for claim in claims {
        yaml.push_str(&format!(
            "---
apiVersion: extensions.agents.x-k8s.io/v1beta1
kind: SandboxClaim
metadata: {{name: {claim}, namespace: agents}}
spec: {{warmPoolRef: {{name: pool}}}}
"
        ));
    }
    yaml
}

fn launch(sandbox: &SandboxObject) -> &str {
    &sandbox.sandbox.metadata.labels.as_ref().unwrap()[label::LAUNCH_TYPE]
}

async fn pool_ready(bench: &Bench, members: i32) {
    bench
        .until("a full pool", |store| {
            let status = store.get::<SandboxWarmPool>(&key("pool"))?.status.clone()?;
            (status.ready_replicas == members && status.replicas == members).then_some(())
        })
        .await;
}

/// Creates a claim while the controller runs.
fn claim(bench: &Bench, name: &str, spec: &str) {
    let text = format!(
        "{{apiVersion: extensions.agents.x-k8s.io/v1beta1, kind: SandboxClaim, metadata: {{name: {name}, namespace: agents}}, spec: {{warmPoolRef: {{name: pool}}{spec}}}}}"
    );
    let claim: SandboxClaim = serde_saphyr::from_str(&text).unwrap();
    bench
        .store
        .apply(crate::object::Object::Claim(Box::new(claim)))
        .unwrap();
}

#[tokio::test]
async fn a_claim_adopts_a_running_member_and_the_pool_refills() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::start(dir.path(), &fleet(2, SLEEPER, &[])).await;
    pool_ready(&bench, 2).await;
    claim(&bench, "alice", "");
    let (name, sandbox) = bench.bound("alice").await;
    assert!(name.name().starts_with("pool-") && name.name().len() == "pool-".len() + 5);
    let meta = &sandbox.sandbox.metadata;
    let labels = meta.labels.as_ref().unwrap();
    assert_eq!(launch(&sandbox), "warm");
    assert!(!labels.contains_key(label::WARM_POOL));
    let claim_uid = bench
        .store
        .get::<ClaimObject>(&key("alice"))
        .unwrap()
        .claim
        .metadata
        .uid
        .clone();
    assert_eq!(labels.get(label::CLAIM_UID), claim_uid.as_ref());
    assert_eq!(
        meta.owner_references.as_ref().unwrap()[0].kind,
        "SandboxClaim"
    );
    pool_ready(&bench, 2).await;
    bench.set(name.name(), Suspended);
    bench.asleep(name.name()).await;
    let claim = bench.until("a suspended claim", |store| {
        let status = store
            .get::<ClaimObject>(&key("alice"))?
            .claim
            .status
            .clone()?;
        status
            .conditions
            .iter()
            .any(|it| it.reason == "SandboxSuspended")
            .then_some(status)
    });
    assert_eq!(claim.await.sandbox.unwrap().name, name.name());
    bench.stop().await;
}

#[tokio::test]
async fn claims_beyond_the_pool_start_cold_under_their_own_name() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::start(dir.path(), &fleet(2, SLEEPER, &["a", "b", "c", "d", "e"])).await;
    let mut warm = 0;
    for name in ["a", "b", "c", "d", "e"] {
        let (sandbox, object) = bench.bound(name).await;
        match launch(&object) {
            "warm" => warm += 1,
            _ => assert_eq!(sandbox, key(name)),
        }
    }
    // Fewer where a member is not up within the grace that a claim gives its pool.
    assert!(warm <= 2, "{warm}");
    claim(&bench, "own", ", env: [{name: GREETING, value: hello}]");
    let (name, own) = bench.bound("own").await;
    assert_eq!((name.name(), launch(&own)), ("own", "cold"));
    bench.stop().await;
}

#[tokio::test]
async fn a_claim_whose_pool_is_slow_starts_cold_after_the_grace() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = fleet(1, "sleep 1000000", &[]).replace(
        "volumeMounts",
        "readinessProbe: {exec: {command: [\"false\"]}}, volumeMounts",
    );
    let bench = Bench::start(dir.path(), &yaml).await;
    claim(&bench, "alice", "");
    let launched = bench.until("a cold start", |store| {
        let sandbox = store.get::<SandboxObject>(&key("alice"))?;
        Some(launch(&sandbox).to_owned())
    });
    assert_eq!(launched.await, "cold");
    bench.stop().await;
}

#[tokio::test]
async fn a_claim_whose_sandbox_is_deleted_gets_another_with_an_empty_disk() {
    let dir = tempfile::tempdir().unwrap();
    let script = "date +%s%N >> $0/lives; exec sleep 100000";
    let bench = Bench::start(dir.path(), &fleet(0, script, &["alice"])).await;
    let (name, first) = bench.bound("alice").await;
    let lives = bench.dir.join("volumes/agents/data-alice/lives");
    written(&lives, "\n").await;
    let before = std::fs::read_to_string(&lives).unwrap();
    bench.store.delete::<SandboxObject>(&name);
    bench
        .until("another sandbox", |store| {
            let uid = store
                .get::<SandboxObject>(&key("alice"))?
                .sandbox
                .metadata
                .uid
                .clone();
            (uid != first.sandbox.metadata.uid).then_some(())
        })
        .await;
    bench.bound("alice").await;
    written(&lives, "\n").await;
    assert!(
        !std::fs::read_to_string(&lives)
            .unwrap()
            .contains(before.trim())
    );
    bench.stop().await;
}

#[tokio::test]
async fn a_released_claim_gives_its_sandbox_up_and_a_bind_brings_another() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::start(dir.path(), &fleet(1, SLEEPER, &[])).await;
    pool_ready(&bench, 1).await;
    claim(&bench, "alice", "");
    let (first, bound) = bench.bound("alice").await;
    let uid = bench
        .store
        .get::<ClaimObject>(&key("alice"))
        .unwrap()
        .claim
        .metadata
        .uid
        .clone()
        .unwrap();
    let mut change = ClaimChange {
        key: key("alice"),
        uid: uid.into(),
        epoch: 0,
        sandbox: bound.sandbox.metadata.uid.as_deref().map(|uid| ModeChange {
            key: first.clone(),
            uid: uid.into(),
            epoch: 0,
            busy_until: None,
            from: Running,
            to: Suspended,
            cause: "idle",
        }),
        cause: "idle",
    };
    change.epoch = bench.store.release_claim(&change).unwrap();
    bench
        .until("no first", |store| {
            store.get::<SandboxObject>(&first).is_none().then_some(())
        })
        .await;
    assert!(
        !bench
            .dir
            .join(format!("volumes/agents/data-{}", first.name()))
            .exists()
    );
    pool_ready(&bench, 1).await;
    bench.store.bind_claim(&change).unwrap();
    let (second, object) = bench.bound("alice").await;
    assert_eq!(launch(&object), "warm");
    assert_ne!(first, second);
    bench.stop().await;
}

#[tokio::test]
async fn a_claim_without_pool_or_with_what_the_template_forbids_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::start(dir.path(), &fleet(0, SLEEPER, &[])).await;
    claim(
        &bench,
        "volumes",
        ", volumeClaimTemplates: [{metadata: {name: x}, spec: {}}]",
    );
    let reason = |name: &'static str| {
        bench.until("a reason", move |store| {
            let status = store.get::<ClaimObject>(&key(name))?.claim.status.clone()?;
            Some(status.conditions.first()?.reason.clone())
        })
    };
    assert_eq!(reason("volumes").await, "VolumeClaimTemplatesError");
    bench.store.remove::<SandboxWarmPool>(&key("pool"));
    claim(&bench, "poolless", "");
    assert_eq!(reason("poolless").await, "WarmPoolNotFound");
    assert!(condition(&bench.store, "poolless", "Ready").is_none());
    bench.stop().await;
}

#[tokio::test]
async fn bindings_survive_a_restart_and_unclaimed_members_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = fleet(2, "echo x >> $0/lives; exec sleep 100000", &["alice"]);
    let bench = Bench::start(dir.path(), &yaml).await;
    let (name, object) = bench.bound("alice").await;
    pool_ready(&bench, 2).await;
    bench.set(name.name(), Suspended);
    bench.asleep(name.name()).await;
    bench.stop().await;
    let volumes = std::fs::read_dir(dir.path().join("volumes/agents"))
        .unwrap()
        .count();
    assert_eq!(volumes, 3);
    let bench = Bench::start(dir.path(), &yaml).await;
    bench.asleep(name.name()).await;
    let again = bench.store.get::<SandboxObject>(&name).unwrap();
    assert_eq!(again.sandbox.metadata.uid, object.sandbox.metadata.uid);
    let claim = bench.store.get::<ClaimObject>(&key("alice")).unwrap();
    assert_eq!(
        claim
            .claim
            .status
            .as_ref()
            .unwrap()
            .sandbox
            .as_ref()
            .unwrap()
            .name,
        name.name()
    );
    pool_ready(&bench, 2).await;
    let lives = bench
        .dir
        .join(format!("volumes/agents/data-{}/lives", name.name()));
    assert_eq!(std::fs::read_to_string(lives).unwrap(), "x\n");
    bench.stop().await;
    let volumes = std::fs::read_dir(dir.path().join("volumes/agents"))
        .unwrap()
        .count();
    assert_eq!(volumes, 3, "two members' folders went, two came");
}
