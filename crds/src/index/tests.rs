//! Scenarios of a watch, told with one-line objects; each says which targets were touched.

mod bound;
mod governed;
mod model;

use std::net::IpAddr;

use jiff::Timestamp;

use super::*;
use crate::sandbox::OperatingMode;
use crate::scaled_sandbox::{PolicyFacts, ScaleTargetRef, ScaledSandboxSpec, TargetKind};

fn key(name: &str) -> SandboxKey {
    SandboxKey::new("agents", name).unwrap()
}

/// A Sandbox of nobody.
fn lone(uid: &str) -> SandboxFacts {
    SandboxFacts {
        uid: uid.into(),
        ..Default::default()
    }
}

/// A Sandbox that the claim of that name and UID controls.
fn of_claim(uid: &str, claim: &str, claim_uid: &str) -> SandboxFacts {
    SandboxFacts {
        claim: Some(claim.into()),
        claim_uid: Some(claim_uid.into()),
        ..lone(uid)
    }
}

fn member(uid: &str) -> SandboxFacts {
    SandboxFacts {
        pool_member: true,
        ..lone(uid)
    }
}

fn claim(uid: &str, sandbox: Option<&str>) -> ClaimFacts {
    ClaimFacts {
        uid: uid.into(),
        sandbox: sandbox.map(Arc::from),
        ..Default::default()
    }
}

fn pod(uid: &str, sandbox: &str, sandbox_uid: &str, ip: &str) -> PodFacts {
    let ip: Option<IpAddr> = ip.parse().ok();
    PodFacts {
        uid: uid.into(),
        sandbox: sandbox.into(),
        sandbox_uid: sandbox_uid.into(),
        ip,
        ..Default::default()
    }
}

fn policy(second: i64, spec: ScaledSandboxSpec) -> PolicyFacts {
    PolicyFacts {
        created: Timestamp::from_second(second).ok(),
        spec,
        ..Default::default()
    }
}

fn everybody() -> ScaledSandboxSpec {
    ScaledSandboxSpec {
        selector: Some(Default::default()),
        ..Default::default()
    }
}

fn named(kind: TargetKind, name: &str) -> ScaledSandboxSpec {
    let target = ScaleTargetRef {
        kind,
        name: name.into(),
    };
    ScaledSandboxSpec {
        scale_target_ref: Some(target),
        ..Default::default()
    }
}

/// An index with names of namespace `agents`, and touched keys as plain names.
#[derive(Default)]
struct Told(Index);

impl Told {
    fn sandbox(&mut self, name: &str, facts: impl Into<Option<SandboxFacts>>) -> Vec<String> {
        self.told(Change::Sandbox(key(name), facts.into().map(Arc::new)))
    }

    fn claim(&mut self, name: &str, facts: impl Into<Option<ClaimFacts>>) -> Vec<String> {
        self.told(Change::Claim(key(name), facts.into().map(Arc::new)))
    }

    fn pod(&mut self, name: &str, facts: impl Into<Option<PodFacts>>) -> Vec<String> {
        self.told(Change::Pod(key(name), facts.into().map(Arc::new)))
    }

    fn policy(&mut self, name: &str, facts: impl Into<Option<PolicyFacts>>) -> Vec<String> {
        self.told(Change::Policy(key(name), facts.into().map(Arc::new)))
    }

    fn told(&mut self, change: Change) -> Vec<String> {
        self.0
            .apply(change)
            .iter()
            .map(|key| key.name().to_owned())
            .collect()
    }

    fn target(&self, name: &str) -> Option<Target> {
        self.0.target(&key(name))
    }

    /// The key that a name leads to, and the Sandbox behind it.
    fn leads(&self, name: &str) -> Option<(String, Option<String>)> {
        let target = self.target(name)?;
        Some((
            target.key.name().to_owned(),
            target.sandbox.map(|(key, _)| key.name().to_owned()),
        ))
    }

    fn pod_of(&self, name: &str) -> Option<String> {
        Some(self.target(name)?.pod?.uid.to_string())
    }

    fn governs(&self, name: &str) -> Option<String> {
        Some(self.target(name)?.policy?.0.name().to_owned())
    }

    fn targets(&self) -> Vec<String> {
        self.0.targets().map(|key| key.name().to_owned()).collect()
    }
}

fn to(key: &str, sandbox: &str) -> Option<(String, Option<String>)> {
    Some((key.to_owned(), Some(sandbox.to_owned())))
}

#[test]
fn a_sandbox_of_nobody_is_a_target_by_its_own_name() {
    let mut told = Told::default();
    assert_eq!(told.sandbox("alice", lone("u1")), ["alice"]);
    assert_eq!(told.leads("alice"), to("alice", "alice"));
    assert_eq!(told.targets(), ["alice"]);
    assert_eq!(told.sandbox("alice", None), ["alice"]);
    assert_eq!(told.target("alice"), None);
    assert!(!told.0.synced());
    assert!(told.told(Change::Synced).is_empty() && told.0.synced());
}

#[test]
fn the_same_news_twice_touches_nothing() {
    let mut told = Told::default();
    assert_eq!(told.sandbox("alice", None), [""; 0]);
    told.sandbox("alice", lone("u1"));
    assert_eq!(told.sandbox("alice", lone("u1")), [""; 0]);
    told.pod("alice", pod("p1", "alice", "u1", ""));
    assert_eq!(told.pod("alice", pod("p1", "alice", "u1", "")), [""; 0]);
    told.policy("all", policy(1, everybody()));
    assert_eq!(told.policy("all", policy(1, everybody())), [""; 0]);
    assert_eq!(told.pod("other", None), [""; 0]);
    assert_eq!(told.claim("other", None), [""; 0]);
}

#[test]
fn a_member_of_a_pool_is_no_target() {
    let mut told = Told::default();
    assert_eq!(told.sandbox("pool-x", member("u1")), [""; 0]);
    assert_eq!(told.target("pool-x"), None);
    assert_eq!(told.targets(), [""; 0]);
    assert_eq!(
        told.pod("pool-x", pod("p1", "pool-x", "u1", "10.0.0.1")),
        [""; 0]
    );
}

#[test]
fn a_pod_joins_by_uid_and_not_by_name() {
    let mut told = Told::default();
    told.sandbox("alice", lone("u2"));
    assert_eq!(
        told.pod("alice", pod("p1", "alice", "u1", "10.0.0.1")),
        [""; 0]
    );
    assert_eq!(told.pod_of("alice"), None);
    assert_eq!(
        told.pod("any-name", pod("p2", "alice", "u2", "10.0.0.2")),
        ["alice"]
    );
    assert_eq!(told.pod_of("alice").as_deref(), Some("p2"));
    // The same UID under another name or in another namespace is somebody's forgery.
    told.sandbox("mallory", lone("u3"));
    assert_eq!(
        told.pod("forged", pod("p3", "mallory", "u2", "10.0.0.3")),
        [""; 0]
    );
    let foreign = SandboxKey::new("elsewhere", "alice").unwrap();
    let forged = Change::Pod(
        foreign,
        Some(Arc::new(pod("p4", "alice", "u2", "10.0.0.4"))),
    );
    assert_eq!(told.told(forged), [""; 0]);
    assert_eq!(told.pod_of("alice").as_deref(), Some("p2"));
}

#[test]
fn a_pod_told_before_its_sandbox_is_found_when_that_comes() {
    let mut told = Told::default();
    assert_eq!(
        told.pod("alice", pod("p1", "alice", "u1", "10.0.0.1")),
        [""; 0]
    );
    told.sandbox("alice", lone("u1"));
    assert_eq!(told.pod_of("alice").as_deref(), Some("p1"));
}

#[test]
fn a_terminating_pod_is_never_the_pod() {
    let mut told = Told::default();
    told.sandbox("alice", lone("u1"));
    told.pod("alice", pod("p1", "alice", "u1", "10.0.0.1"));
    let leaving = PodFacts {
        terminating: true,
        ..pod("p1", "alice", "u1", "10.0.0.1")
    };
    assert_eq!(told.pod("alice", leaving), ["alice"]);
    let target = told.target("alice").unwrap();
    assert!(target.pod.is_none() && target.terminating);
    assert_eq!(told.pod("alice", None), ["alice"]);
    assert!(!told.target("alice").unwrap().terminating);
    // The next one has the same name and another UID.
    assert_eq!(
        told.pod("alice", pod("p2", "alice", "u1", "10.0.0.1")),
        ["alice"]
    );
    assert_eq!(told.pod_of("alice").as_deref(), Some("p2"));
}

#[test]
fn of_two_live_pods_none_is_picked() {
    let mut told = Told::default();
    told.sandbox("alice", lone("u1"));
    told.pod("a", pod("p1", "alice", "u1", "10.0.0.1"));
    assert_eq!(
        told.pod("b", pod("p2", "alice", "u1", "10.0.0.2")),
        ["alice"]
    );
    assert_eq!(told.pod_of("alice"), None);
    let leaving = PodFacts {
        terminating: true,
        ..pod("p1", "alice", "u1", "10.0.0.1")
    };
    told.pod("a", leaving);
    assert_eq!(told.pod_of("alice").as_deref(), Some("p2"));
    assert!(told.target("alice").unwrap().terminating);
}

#[test]
fn an_ip_that_moves_to_another_pod_moves_alone() {
    let mut told = Told::default();
    told.sandbox("alice", lone("u1"));
    told.sandbox("bob", lone("u2"));
    told.pod("alice", pod("p1", "alice", "u1", "10.0.0.1"));
    assert_eq!(told.pod("alice", None), ["alice"]);
    assert_eq!(told.pod("bob", pod("p2", "bob", "u2", "10.0.0.1")), ["bob"]);
    assert_eq!(told.pod_of("alice"), None);
    assert_eq!(
        told.target("bob").unwrap().pod.unwrap().ip,
        "10.0.0.1".parse().ok()
    );
}

#[test]
fn a_pod_name_taken_over_by_another_sandbox_leaves_the_first() {
    let mut told = Told::default();
    told.sandbox("alice", lone("u1"));
    told.sandbox("bob", lone("u2"));
    told.pod("shared", pod("p1", "alice", "u1", "10.0.0.1"));
    assert_eq!(
        told.pod("shared", pod("p2", "bob", "u2", "10.0.0.2")),
        ["alice", "bob"]
    );
    assert_eq!(
        (told.pod_of("alice"), told.pod_of("bob").as_deref()),
        (None, Some("p2"))
    );
}

#[test]
fn a_sandbox_made_again_under_its_name_has_no_pod_of_the_old_one() {
    let mut told = Told::default();
    told.sandbox("alice", lone("u1"));
    told.pod("alice", pod("p1", "alice", "u1", "10.0.0.1"));
    assert_eq!(told.sandbox("alice", lone("u2")), ["alice"]);
    assert_eq!(told.pod_of("alice"), None);
    assert_eq!(&*told.target("alice").unwrap().sandbox.unwrap().1.uid, "u2");
}

#[test]
fn a_mode_change_touches_its_target_alone() {
    let mut told = Told::default();
    told.sandbox("alice", lone("u1"));
    told.sandbox("bob", lone("u2"));
    let asleep = SandboxFacts {
        mode: OperatingMode::Suspended,
        ..lone("u1")
    };
    assert_eq!(told.sandbox("alice", asleep), ["alice"]);
}
