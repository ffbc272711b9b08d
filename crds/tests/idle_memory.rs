//! What ten thousand idle sandboxes cost in an index, facts included. Alone in its file, so that no
//! other test shares the process whose memory is read.
#![allow(clippy::unwrap_used, reason = "a test says what broke by the line")]

use std::sync::Arc;

use reveille_crds::SandboxKey;
use reveille_crds::change::{Change, ClaimFacts, SandboxFacts};
use reveille_crds::claim::SandboxClaim;
use reveille_crds::index::Index;
use reveille_crds::sandbox::Sandbox;
use reveille_crds::scaled_sandbox::{PolicyFacts, ScaledSandboxSpec};
use serde_json::{Value, json};

/// Enough that pages and the allocator's own rounding do not show.
const SANDBOXES: u32 = 10_000;

/// Of the 1 KiB that an idle sandbox may cost in an activator, the share of the index, in bytes; the rest
/// is for the activator's own table.
const LONE: u64 = 512;
/// The same where a claim stands for it: two objects, four texts and two keys more.
const CLAIMED: u64 = 912;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

fn key(name: &str) -> SandboxKey {
    SandboxKey::new("agents", name).unwrap()
}

fn meta(name: &str, labels: &Value, owner: &Value) -> Value {
    json!({
        "name": name, "namespace": "agents", "uid": format!("8c6e9d7c-0000-4000-8000-{name:0>12}"),
        "creationTimestamp": "2026-01-02T03:04:05Z", "generation": 7, "labels": labels,
        "annotations": {"reveille.dev/epoch": "12", "reveille.dev/last-wake": "2026-01-02T03:04:05Z"},
        "ownerReferences": owner,
    })
}

/// A Sandbox as a cluster has it, with the labels that upstream puts on one.
fn sandbox(name: &str, owner: &Value) -> SandboxFacts {
    let labels = json!({
        "agents.x-k8s.io/claim-uid": owner[0]["uid"].as_str().unwrap_or_default(), "agents.x-k8s.io/launch-type": "warm",
        "agents.x-k8s.io/sandbox-template-ref-hash": "0a1b2c3d", "fleet": "research",
    });
    let object = json!({
        "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox", "metadata": meta(name, &labels, owner),
        "spec": {"podTemplate": {"spec": {"containers": []}}, "operatingMode": "Suspended"},
    });
    SandboxFacts::of(&serde_json::from_value::<Sandbox>(object).unwrap())
}

fn claim(name: &str, sandbox: &str) -> ClaimFacts {
    let object = json!({
        "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxClaim",
        "metadata": meta(name, &json!({"fleet": "research"}), &json!([])),
        "spec": {"warmPoolRef": {"name": "researchers"}}, "status": {"sandbox": {"name": sandbox}},
    });
    ClaimFacts::of(&serde_json::from_value::<SandboxClaim>(object).unwrap())
}

fn add_lone(index: &mut Index, n: u32) {
    let name = format!("assistant-{n:05}");
    index.apply(Change::Sandbox(
        key(&name),
        Some(Arc::new(sandbox(&name, &json!([])))),
    ));
}

fn add_claimed(index: &mut Index, n: u32) {
    let (name, bound) = (format!("researcher-{n:05}"), format!("researchers-{n:05x}"));
    let claim = claim(&name, &bound);
    let owner = json!([{
        "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxClaim", "name": name,
        "uid": &*claim.uid, "controller": true,
    }]);
    index.apply(Change::Claim(key(&name), Some(Arc::new(claim))));
    index.apply(Change::Sandbox(
        key(&bound),
        Some(Arc::new(sandbox(&bound, &owner))),
    ));
}

fn bytes_each(index: &mut Index, add: fn(&mut Index, u32)) -> u64 {
    // What the test itself needs is resident after the first hundred.
    (0..100).for_each(|n| add(index, n));
    let before = resident();
    (100..100 + SANDBOXES).for_each(|n| add(index, n));
    (resident() - before) / u64::from(SANDBOXES)
}

#[test]
fn an_idle_sandbox_stays_within_its_share_of_a_kibibyte() {
    let mut index = Index::default();
    let spec = ScaledSandboxSpec {
        selector: Some(Default::default()),
        ..Default::default()
    };
    let policy = PolicyFacts {
        spec,
        ..Default::default()
    };
    index.apply(Change::Policy(key("all"), Some(Arc::new(policy))));
    let lone = bytes_each(&mut index, add_lone);
    let claimed = bytes_each(&mut index, add_claimed);
    println!("{lone} bytes for an idle sandbox, {claimed} for one with its claim");
    assert!(
        lone <= LONE && claimed <= CLAIMED,
        "{lone} and {claimed} bytes"
    );
    assert_eq!(index.targets().count(), 2 * (SANDBOXES as usize + 100));
    assert!(
        index
            .target(&key("researcher-00007"))
            .unwrap()
            .policy
            .is_some()
    );
}
