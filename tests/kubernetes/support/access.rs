//! Who may do what: a namespace, the ServiceAccounts of activator and scaler with what deploy/ gives
//! them, and kubeconfigs that speak for these.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::plane::Plane;
use crate::support::until;

/// Who.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    Activator,
    Scaler,
}

impl Account {
    /// As the command calls it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Activator => "activator",
            Self::Scaler => "scaler",
        }
    }

    /// As Kubernetes calls it, and its roles.
    pub(crate) fn service_account(self) -> String {
        format!("reveille-{}", self.word())
    }
}

/// Somebody may do this: verb, group and resource.
type Right = (Account, [&'static str; 3]);

/// One for each binding.
const RIGHTS: [Right; 4] = [
    (Account::Activator, ["list", "agents.x-k8s.io", "sandboxes"]),
    WRITES,
    (
        Account::Scaler,
        ["create", "extensions.agents.x-k8s.io", "sandboxclaims"],
    ),
    (Account::Scaler, ["create", "coordination.k8s.io", "leases"]),
];
/// What [`Access::deny_writes`] takes.
const WRITES: Right = (Account::Scaler, ["patch", "agents.x-k8s.io", "sandboxes"]);

/// A namespace and who may do what in it; dropped, the namespace is deleted.
pub(crate) struct Access {
    /// The namespace.
    pub(crate) namespace: String,
    /// The administrator's client, of this test's runtime.
    pub(crate) client: kube::Client,
    admin: Kubeconfig,
    folder: TempDir,
}

impl Access {
    /// Makes a namespace with everything in it, which is a tenant's and Reveille's own at once.
    pub(crate) async fn to_new_namespace(plane: &Plane) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let admin = Kubeconfig::read_from(&plane.kubeconfig).unwrap();
        let access = Self {
            namespace: format!("test-{}-{number}", std::process::id()),
            client: client(&admin).await,
            admin,
            folder: tempfile::tempdir().unwrap(),
        };
        access.create_namespace().await;
        // Cluster-wide are the roles and the fence; the role for the lease is the namespace's.
        for part in ["roles.yaml", "fence.yaml", "service-accounts.yaml"] {
            access.apply(part).await;
        }
        for account in [Account::Activator, Account::Scaler] {
            access.bind(account, account).await;
            access.admit(account).await;
        }
        let name = Account::Scaler.service_account();
        for (binding, kind, role) in [
            (
                "reveille-scaler-bind",
                "ClusterRole",
                "reveille-scaler-bind",
            ),
            ("reveille-scaler-home", "Role", "reveille-scaler"),
        ] {
            let binding = access.binding(binding, kind, role, &name);
            access.create::<RoleBinding>(&binding).await;
        }
        for right in RIGHTS {
            access.await_right(right, true).await;
        }
        access
    }

    /// The kubeconfig of an account, as a flag's value.
    pub(crate) fn kubeconfig(&self, account: Account) -> String {
        self.path(account.word()).display().to_string()
    }

    /// A client that is this account.
    pub(crate) async fn client_of(&self, account: Account) -> kube::Client {
        client(&Kubeconfig::read_from(self.path(account.word())).unwrap()).await
    }

    /// From now on, when this returns, the scaler may do what the activator may: read.
    pub(crate) async fn deny_writes(&self) {
        self.unbind(Account::Scaler).await;
        self.bind(Account::Scaler, Account::Activator).await;
        self.await_right(WRITES, false).await;
    }

    /// Gives back what [`deny_writes`](Self::deny_writes) took.
    pub(crate) async fn allow_writes(&self) {
        self.unbind(Account::Scaler).await;
        self.bind(Account::Scaler, Account::Scaler).await;
        self.await_right(WRITES, true).await;
    }

    /// Waits until the API server, which follows its own roles with a delay, allows or denies this.
    async fn await_right(&self, (account, [verb, group, resource]): Right, allowed: bool) {
        let review: SelfSubjectAccessReview = serde_json::from_value(json!({"spec": {
            "resourceAttributes": {
                "namespace": self.namespace, "verb": verb, "group": group, "resource": resource,
            },
        }}))
        .unwrap();
        let reviews = Api::all(self.client_of(account).await);
        let params = PostParams::default();
        let what = format!("{account:?} allowed to {verb} {resource}: {allowed}");
        until(&what, || async {
            let told = reviews.create(&params, &review).await.ok()?;
            (told.status?.allowed == allowed).then_some(())
        })
        .await;
    }

    async fn create_namespace(&self) {
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"name": self.namespace}})).unwrap();
        let namespaces = Api::all(self.client.clone());
        namespaces
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
        // Without it no pod is admitted.
        let accounts: Api<ServiceAccount> = self.api();
        until("the default ServiceAccount", || async {
            accounts.get_opt("default").await.unwrap()
        })
        .await;
    }

    async fn apply(&self, part: &str) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("deploy/base")
            .join(part);
        let yaml = std::fs::read_to_string(path).unwrap();
        reveille_testbed::apply::apply(&self.client, &self.namespace, &yaml)
            .await
            .unwrap();
    }

    /// Gives an account the rights of a ClusterRole in this namespace.
    async fn bind(&self, account: Account, like: Account) {
        let name = account.service_account();
        let binding = self.binding(&name, "ClusterRole", &like.service_account(), &name);
        self.create::<RoleBinding>(&binding).await;
    }

    async fn unbind(&self, account: Account) {
        let bindings: Api<RoleBinding> = self.api();
        bindings
            .delete(&account.service_account(), &DeleteParams::default())
            .await
            .unwrap();
    }

    fn binding(&self, name: &str, kind: &str, role: &str, account: &str) -> Value {
        json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": self.namespace}],
        })
    }

    /// Writes the kubeconfig of an account.
    async fn admit(&self, account: Account) {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(24 * 3600),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = self.api();
        let name = account.service_account();
        let answer = accounts
            .create_token_request(&name, &PostParams::default(), &request)
            .await;
        let token = answer.unwrap().status.unwrap().token;
        let mut whole = serde_json::to_value(&self.admin).unwrap();
        whole["users"] = json!([{"name": "account", "user": {"token": token}}]);
        for context in whole["contexts"].as_array_mut().unwrap() {
            context["context"]["user"] = "account".into();
            context["context"]["namespace"] = self.namespace.as_str().into();
        }
        std::fs::write(self.path(account.word()), whole.to_string()).unwrap();
    }

    fn path(&self, word: &str) -> PathBuf {
        self.folder.path().join(format!("{word}.kubeconfig"))
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn create<K>(&self, manifest: &Value)
    where
        K: kube::Resource<DynamicType = ()>,
    {
        let kind = ApiResource::erase::<K>(&());
        let object: DynamicObject = serde_json::from_value(manifest.clone()).unwrap();
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &kind);
        api.create(&PostParams::default(), &object).await.unwrap();
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let (admin, namespace) = (self.admin.clone(), self.namespace.clone());
        // A test's runtime may be ending; this one lives for one call. Pods end with the namespace.
        let call = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let namespaces: Api<Namespace> = Api::all(client(&admin).await);
                let _ = namespaces
                    .delete(&namespace, &DeleteParams::default())
                    .await;
            });
        });
        let _ = call.join();
    }
}

async fn client(kubeconfig: &Kubeconfig) -> kube::Client {
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig.clone(), &options).await;
    kube::Client::try_from(config.unwrap()).unwrap()
}
