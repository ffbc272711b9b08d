//! What an account may see.

use reveille_crds::index::Index;
use reveille_kubernetes::watch::Scope;
use reveille_testbed::Who;

use crate::bench::{Bench, shared};

const RULES: &str = r#"
rules:
- {apiGroups: [""], resources: [pods], verbs: [get, list, watch]}
- {apiGroups: [agents.x-k8s.io], resources: [sandboxes], verbs: [get, list, watch]}
- {apiGroups: [extensions.agents.x-k8s.io], resources: [sandboxclaims], verbs: [get, list, watch]}
- {apiGroups: [reveille.dev], resources: [scaledsandboxes, releasedclaims], verbs: [get, list, watch]}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_rights_is_told_which_and_begins_once_it_has_them() {
    let testbed = shared().await;
    let namespace = testbed.namespace("rights").await.unwrap();
    let account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: watcher}}";
    testbed.apply_in(&namespace, account).await.unwrap();
    let who = Who::ServiceAccount {
        namespace: &namespace,
        name: "watcher",
    };
    let kubeconfig = testbed.kubeconfig(who).await.unwrap();

    let mut everywhere = Bench::on(&kubeconfig, Scope::default()).await;
    let mut here = Bench::on(
        &kubeconfig,
        Scope {
            namespaces: vec![namespace.clone()],
            ..Scope::default()
        },
    )
    .await;
    for bench in [&mut everywhere, &mut here] {
        bench
            .until_healthy("all refusals", |health| {
                let named = health.failing.iter().filter(|(what, failing)| {
                    let plural = what.split(['.', ' ']).next().unwrap();
                    let named = format!("cannot list resource \"{plural}\"");
                    failing.why.contains(&named)
                });
                named.count() == 5
            })
            .await;
    }

    // A role of the namespace is enough for whoever stays in it.
    grant(&namespace, "Role").await;
    here.until("everything", Index::synced).await;
    assert_eq!(everywhere.health.borrow().failing.len(), 5);
    grant(&namespace, "ClusterRole").await;
    everywhere.until("everything", Index::synced).await;
    everywhere
        .until_healthy("all well", |health| health.failing.is_empty())
        .await;
}

async fn grant(namespace: &str, kind: &str) {
    let name = format!("watcher-{namespace}");
    let head = |kind: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\n"
        )
    };
    let binding = format!(
        "{}roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {name}}}\n\
         subjects: [{{kind: ServiceAccount, name: watcher, namespace: {namespace}}}]\n",
        head(&format!("{kind}Binding"))
    );
    let yaml = format!("{}{}---\n{binding}", head(kind), RULES.trim_start());
    shared().await.apply_in(namespace, &yaml).await.unwrap();
}
