//! What each ServiceAccount may do, and that it is no more.

use std::collections::BTreeSet;

use k8s_openapi::api::authorization::v1::{
    ResourceRule, SelfSubjectRulesReview, SelfSubjectRulesReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};
use reveille_testbed::Who;

use crate::support::{HOME, LOOK, PATIENCE, bed, built, client_of, namespace};

/// Rights as `verb group/resource`, with `#name` where they are for that object alone.
type Rights = BTreeSet<String>;

/// What everybody may ask about itself.
const OF_EVERYBODY: [&str; 2] = ["authorization.k8s.io", "authentication.k8s.io"];

/// Waits until the owner of this client may do just that in a namespace: the authorizer hears of roles by
/// a watch.
async fn may(client: &Client, namespace: &str, expected: &Rights) {
    let asked = async {
        while rights(client.clone(), namespace).await != *expected {
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(PATIENCE, asked).await.is_err() {
        let rights = rights(client.clone(), namespace).await;
        assert_eq!(rights, *expected, "{namespace}");
    }
}

/// What the API server says that the owner of this client may do in a namespace.
async fn rights(client: Client, namespace: &str) -> Rights {
    let review = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec {
            namespace: Some(namespace.to_owned()),
        },
        ..SelfSubjectRulesReview::default()
    };
    let reviews: Api<SelfSubjectRulesReview> = Api::all(client);
    let answer = reviews
        .create(&PostParams::default(), &review)
        .await
        .unwrap();
    let rules = answer.status.unwrap().resource_rules;
    rules.iter().flat_map(spelled).collect()
}

fn spelled(rule: &ResourceRule) -> Rights {
    let groups = rule.api_groups.iter().flatten();
    let mut all = Rights::new();
    for group in groups.filter(|group| !OF_EVERYBODY.contains(&group.as_str())) {
        for resource in rule.resources.iter().flatten() {
            for verb in &rule.verbs {
                let right = format!("{verb} {group}/{resource}");
                let names = rule.resource_names.as_deref().unwrap_or_default();
                if names.is_empty() {
                    all.insert(right);
                } else {
                    all.extend(names.iter().map(|name| format!("{right}#{name}")));
                }
            }
        }
    }
    all
}

/// `verbs resource` lines, spelled out.
fn list(lines: &[(&str, &str)]) -> Rights {
    let each = lines.iter().flat_map(|(verbs, resource)| {
        verbs
            .split(' ')
            .map(move |verb| format!("{verb} {resource}"))
    });
    each.collect()
}

const READ: [(&str, &str); 5] = [
    ("get list watch", "agents.x-k8s.io/sandboxes"),
    ("get list watch", "extensions.agents.x-k8s.io/sandboxclaims"),
    ("get list watch", "reveille.dev/scaledsandboxes"),
    ("get list watch", "reveille.dev/releasedclaims"),
    ("get list watch", "/pods"),
];
const WRITE: [(&str, &str); 5] = [
    ("patch", "agents.x-k8s.io/sandboxes"),
    (
        "create patch delete",
        "extensions.agents.x-k8s.io/sandboxclaims",
    ),
    ("create update delete", "reveille.dev/releasedclaims"),
    ("get patch", "reveille.dev/scaledsandboxes/status"),
    ("create", "events.k8s.io/events"),
];
const LEASE: [(&str, &str); 2] = [
    ("create", "coordination.k8s.io/leases"),
    ("get update", "coordination.k8s.io/leases#reveille-scaler"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_activator_may_read_what_it_routes_by_and_write_nothing() {
    let bed = bed().await;
    for namespace in ["default", HOME] {
        let client = client_of(bed, "reveille-activator").await;
        may(&client, namespace, &list(&READ)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scaler_may_write_intent_and_hold_its_lease() {
    let bed = bed().await;
    let anywhere = [READ, WRITE].concat();
    let client = client_of(bed, "reveille-scaler").await;
    may(&client, "default", &list(&anywhere)).await;
    let home = [&anywhere[..], &LEASE].concat();
    may(&client, HOME, &list(&home)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_namespaced_variant_gives_rights_in_its_tenants_namespace_alone() {
    let bed = bed().await;
    // Beside the cluster-wide one: other ServiceAccounts, another tenant.
    let text = built(bed, "namespaced")
        .replace(HOME, "elsewhere")
        .replace("namespace: agents", "namespace: tenant");
    for name in ["elsewhere", "tenant", "stranger"] {
        bed.apply(&namespace(name)).await.unwrap();
    }
    bed.apply(&text).await.unwrap();
    let client = async |name| {
        let namespace = "elsewhere";
        let who = Who::ServiceAccount { namespace, name };
        bed.client_of(who).await.unwrap()
    };
    for (name, tenant, home) in [
        ("reveille-activator", READ.to_vec(), Vec::new()),
        (
            "reveille-scaler",
            [READ, WRITE].concat(),
            [&LEASE[..], &[("get list watch", "/pods")]].concat(),
        ),
    ] {
        let client = client(name).await;
        may(&client, "tenant", &list(&tenant)).await;
        may(&client, "elsewhere", &list(&home)).await;
        assert_eq!(rights(client, "stranger").await, Rights::new(), "{name}");
    }
}
