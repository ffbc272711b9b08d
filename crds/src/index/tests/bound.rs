//! Claims, and the Sandboxes that come and go under them.

use super::*;

#[test]
fn a_claim_is_a_target_before_and_after_it_is_bound() {
    let mut told = Told::default();
    told.sandbox("pool-x", member("u1"));
    assert_eq!(told.claim("bob", claim("c1", None)), ["bob"]);
    assert_eq!(told.leads("bob"), Some(("bob".to_owned(), None)));
    assert_eq!(told.targets(), ["bob"]);
    // Assigned first, adopted after: only then is it the claim's.
    assert_eq!(told.claim("bob", claim("c1", Some("pool-x"))), ["bob"]);
    assert_eq!(told.leads("bob"), Some(("bob".to_owned(), None)));
    assert_eq!(told.sandbox("pool-x", of_claim("u1", "bob", "c1")), ["bob"]);
    assert_eq!(told.leads("bob"), to("bob", "pool-x"));
    assert_eq!(told.leads("pool-x"), to("bob", "pool-x"));
    assert_eq!(told.targets(), ["bob"]);
}

#[test]
fn a_pod_of_a_bound_sandbox_touches_the_claims_key() {
    let mut told = Told::default();
    told.claim("bob", claim("c1", Some("pool-x")));
    told.sandbox("pool-x", of_claim("u1", "bob", "c1"));
    assert_eq!(
        told.pod("pool-x", pod("p1", "pool-x", "u1", "10.0.0.1")),
        ["bob"]
    );
    assert_eq!(told.pod_of("bob").as_deref(), Some("p1"));
    assert_eq!(told.pod_of("pool-x").as_deref(), Some("p1"));
}

#[test]
fn a_cold_start_is_bound_by_its_name() {
    let mut told = Told::default();
    told.claim("bob", claim("c1", None));
    assert_eq!(told.sandbox("bob", of_claim("u1", "bob", "c1")), ["bob"]);
    assert_eq!(told.leads("bob"), to("bob", "bob"));
    assert_eq!(told.targets(), ["bob"]);
}

#[test]
fn a_claim_bound_anew_keeps_its_key() {
    let mut told = Told::default();
    told.claim("bob", claim("c1", Some("pool-x")));
    told.sandbox("pool-x", of_claim("u1", "bob", "c1"));
    told.pod("pool-x", pod("p1", "pool-x", "u1", "10.0.0.1"));
    told.sandbox("pool-y", of_claim("u2", "bob", "c1"));
    assert_eq!(told.claim("bob", claim("c1", Some("pool-y"))), ["bob"]);
    assert_eq!(told.leads("bob"), to("bob", "pool-y"));
    assert_eq!((told.pod_of("bob"), told.target("pool-x")), (None, None));
    // What the old one still does is nobody's business.
    assert_eq!(told.pod("pool-x", None), [""; 0]);
    assert_eq!(told.sandbox("pool-x", None), [""; 0]);
    assert_eq!(told.targets(), ["bob"]);
}

#[test]
fn a_sandbox_replaced_under_the_same_claim_and_name_is_noticed() {
    let mut told = Told::default();
    told.claim("bob", claim("c1", Some("bob")));
    told.sandbox("bob", of_claim("u1", "bob", "c1"));
    told.pod("bob", pod("p1", "bob", "u1", "10.0.0.1"));
    assert_eq!(told.sandbox("bob", of_claim("u2", "bob", "c1")), ["bob"]);
    assert_eq!(told.pod_of("bob"), None);
    assert_eq!(&*told.target("bob").unwrap().sandbox.unwrap().1.uid, "u2");
}

#[test]
fn of_two_sandboxes_of_a_claim_one_that_stays_is_bound() {
    let mut told = Told::default();
    told.claim("bob", claim("c1", Some("pool-x")));
    told.sandbox(
        "pool-x",
        SandboxFacts {
            deleting: true,
            ..of_claim("u1", "bob", "c1")
        },
    );
    assert_eq!(told.leads("bob"), to("bob", "pool-x"));
    assert_eq!(told.sandbox("bob", of_claim("u2", "bob", "c1")), ["bob"]);
    assert_eq!(told.leads("bob"), to("bob", "bob"));
    assert_eq!(told.target("pool-x"), None);
}

#[test]
fn a_claim_made_again_does_not_inherit() {
    let mut told = Told::default();
    told.claim("bob", claim("c1", Some("bob")));
    told.sandbox("bob", of_claim("u1", "bob", "c1"));
    told.pod("bob", pod("p1", "bob", "u1", "10.0.0.1"));
    assert_eq!(told.claim("bob", None), ["bob"]);
    assert_eq!(told.target("bob"), None);
    assert_eq!(told.claim("bob", claim("c2", None)), ["bob"]);
    assert_eq!(told.leads("bob"), Some(("bob".to_owned(), None)));
    assert_eq!(told.sandbox("bob", None), [""; 0]);
    assert_eq!(told.sandbox("bob", of_claim("u2", "bob", "c2")), ["bob"]);
    assert_eq!(told.leads("bob"), to("bob", "bob"));
}

#[test]
fn a_released_claim_is_a_target_without_a_sandbox() {
    let mut told = Told::default();
    told.claim("bob", claim("c1", Some("pool-x")));
    told.sandbox("pool-x", of_claim("u1", "bob", "c1"));
    let released = ClaimFacts {
        released: true,
        ..claim("c1", Some("pool-x"))
    };
    assert_eq!(told.claim("bob", released), ["bob"]);
    assert_eq!(told.leads("bob"), Some(("bob".to_owned(), None)));
    assert_eq!(told.target("pool-x"), None);
    assert_eq!(told.sandbox("pool-x", None), [""; 0]);
    assert_eq!(told.claim("bob", claim("c2", Some("pool-y"))), ["bob"]);
    assert_eq!(told.sandbox("pool-y", of_claim("u2", "bob", "c2")), ["bob"]);
    assert_eq!(told.leads("bob"), to("bob", "pool-y"));
}

#[test]
fn a_sandbox_never_goes_by_its_own_name_while_its_claim_is_unknown() {
    let mut told = Told::default();
    assert_eq!(told.sandbox("pool-x", of_claim("u1", "bob", "c1")), [""; 0]);
    assert_eq!(told.target("pool-x"), None);
    assert_eq!(told.claim("bob", claim("c1", Some("pool-x"))), ["bob"]);
    assert_eq!(told.leads("pool-x"), to("bob", "pool-x"));
    let dotted = of_claim("u2", "bob.b", "c2");
    assert_eq!(told.sandbox("pool-y", dotted), ["pool-y"]);
    assert_eq!(told.leads("pool-y"), to("pool-y", "pool-y"));
}

#[test]
fn a_claim_whose_name_another_sandbox_has_is_shadowed() {
    let mut told = Told::default();
    told.claim("bob", claim("c1", Some("pool-x")));
    told.sandbox("pool-x", of_claim("u1", "bob", "c1"));
    assert_eq!(told.sandbox("bob", lone("u9")), ["bob", "pool-x"]);
    assert_eq!(told.leads("bob"), to("bob", "bob"));
    assert_eq!(told.target("bob").unwrap().claim, None);
    assert_eq!(told.leads("pool-x"), to("pool-x", "pool-x"));
    assert_eq!(told.target("pool-x").unwrap().claim.unwrap().0, key("bob"));
    assert_eq!(told.targets(), ["bob", "pool-x"]);
    assert_eq!(
        told.pod("pool-x", pod("p1", "pool-x", "u1", "10.0.0.1")),
        ["pool-x"]
    );
    assert_eq!(told.sandbox("bob", None), ["bob", "pool-x"]);
    assert_eq!(told.leads("pool-x"), to("bob", "pool-x"));
}

#[test]
fn an_unbound_claim_that_is_shadowed_is_no_target() {
    let mut told = Told::default();
    told.sandbox("bob", lone("u9"));
    assert_eq!(told.claim("bob", claim("c1", None)), [""; 0]);
    assert_eq!(told.leads("bob"), to("bob", "bob"));
    assert_eq!(told.targets(), ["bob"]);
    assert_eq!(told.sandbox("bob", None), ["bob"]);
    assert_eq!(told.leads("bob"), Some(("bob".to_owned(), None)));
}

#[test]
fn a_sandbox_that_nobody_can_reach_shadows_nobody() {
    let mut told = Told::default();
    told.claim("bob", claim("c1", None));
    assert_eq!(told.sandbox("bob", member("u1")), [""; 0]);
    assert_eq!(told.leads("bob"), Some(("bob".to_owned(), None)));
    assert_eq!(told.sandbox("bob", of_claim("u1", "carol", "c9")), [""; 0]);
    assert_eq!(told.leads("bob"), Some(("bob".to_owned(), None)));
    // Adopted by another claim it can be reached, under that one's name.
    assert_eq!(
        told.claim("carol", claim("c9", Some("bob"))),
        ["bob", "carol"]
    );
    assert_eq!(told.leads("bob"), to("carol", "bob"));
    assert_eq!(told.targets(), ["carol"]);
}

#[test]
fn names_that_cross_resolve_to_one_target_each() {
    let mut told = Told::default();
    told.claim("a", claim("ca", Some("b")));
    told.claim("b", claim("cb", Some("a")));
    told.sandbox("a", of_claim("ua", "b", "cb"));
    told.sandbox("b", of_claim("ub", "a", "ca"));
    assert_eq!(told.leads("a"), to("a", "a"));
    assert_eq!(told.leads("b"), to("b", "b"));
    assert_eq!(told.targets(), ["a", "b"]);
}

#[test]
fn a_policy_that_names_a_shadowed_claim_governs_its_sandbox() {
    let mut told = Told::default();
    told.claim("bob", claim("c1", Some("pool-x")));
    told.sandbox("pool-x", of_claim("u1", "bob", "c1"));
    told.sandbox("bob", lone("u9"));
    let spec = named(TargetKind::SandboxClaim, "bob");
    assert_eq!(told.policy("own", policy(1, spec)), ["pool-x"]);
    assert_eq!(told.governs("pool-x").as_deref(), Some("own"));
    assert_eq!(told.governs("bob"), None);
}

#[test]
fn a_claim_that_goes_frees_the_name_it_held_from_another() {
    let mut told = Told::default();
    told.claim("carol", claim("cc", Some("bob")));
    told.sandbox("bob", of_claim("u1", "carol", "cc"));
    told.claim("bob", claim("cb", Some("dave")));
    told.sandbox("dave", of_claim("u2", "bob", "cb"));
    assert_eq!(told.leads("bob"), to("carol", "bob"));
    assert_eq!(told.leads("dave"), to("dave", "dave"));
    assert_eq!(told.claim("carol", None), ["bob", "carol", "dave"]);
    assert_eq!(told.leads("bob"), to("bob", "dave"));
    assert_eq!(told.leads("dave"), to("bob", "dave"));
}
