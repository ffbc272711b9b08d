//! How each part is started.

use std::path::{Path, PathBuf};

use crate::bed::ports::Ports;
use crate::bed::process::Recipe;
use crate::part::Part;
use crate::programs::Programs;

/// What each part needs to know of the others.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) dir: PathBuf,
    pub(crate) ports: Ports,
    pub(crate) programs: Programs,
    pub(crate) audit: bool,
    pub(crate) conversion: bool,
    pub(crate) launcher: PathBuf,
    pub(crate) env: Vec<(String, String)>,
    /// Of upstream's controller: its own ServiceAccount's.
    pub(crate) controller_kubeconfig: PathBuf,
    pub(crate) admin_kubeconfig: PathBuf,
}

/// Kept for the API server: the policy of its audit log. Health checks and what the server does for
/// itself tell nothing about anybody.
pub(crate) const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
  "rules": [
    {"level": "None", "users": ["system:apiserver"]},
    {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/version", "/openapi/*"]},
    {"level": "Metadata"}
  ]
}"#;

impl Plan {
    /// Of one part, with the ports as they are now.
    pub(crate) fn recipe(&self, part: Part) -> Recipe {
        let args = match part {
            Part::Etcd => self.etcd(),
            Part::ApiServer => self.api_server(),
            Part::ControllerManager => self.controller_manager(),
            Part::Scheduler => self.scheduler(),
            Part::SandboxController => self.sandbox_controller(),
            Part::Nats => self.nats(),
        };
        Recipe {
            part,
            program: self.programs.of(part).to_owned(),
            args,
            log: self.dir.join("log").join(format!("{part}.log")),
            dir: self.dir.clone(),
            launcher: self.launcher.clone(),
            env: self.env.clone(),
        }
    }

    pub(crate) fn tokens(&self) -> PathBuf {
        self.dir.join("tokens.csv")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.dir.join("service-accounts.key")
    }

    pub(crate) fn public_key(&self) -> PathBuf {
        self.dir.join("service-accounts.pub")
    }

    pub(crate) fn audit_policy(&self) -> PathBuf {
        self.dir.join("audit-policy.json")
    }

    /// Made by the API server, which writes the key beside it last.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.join("certificates/apiserver.crt")
    }

    fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.etcd.number())
    }

    fn etcd(&self) -> Vec<String> {
        let url = self.etcd_url();
        let peer = format!("http://127.0.0.1:{}", self.ports.etcd_peer.number());
        vec![
            flag("data-dir", self.dir.join("etcd").display()),
            // A machine that crashes takes the testbed with it anyway.
            "--unsafe-no-fsync".to_owned(),
            flag("log-level", "warn"),
            flag("listen-client-urls", &url),
            flag("advertise-client-urls", &url),
            flag("listen-peer-urls", &peer),
            flag("initial-advertise-peer-urls", &peer),
            flag("initial-cluster", format!("default={peer}")),
        ]
    }

    fn api_server(&self) -> Vec<String> {
        let mut args = vec![
            flag("etcd-servers", self.etcd_url()),
            flag("bind-address", "127.0.0.1"),
            flag("advertise-address", "127.0.0.1"),
            flag("secure-port", self.ports.api.number()),
            flag("cert-dir", self.dir.join("certificates").display()),
            flag("service-cluster-ip-range", "10.96.0.0/16"),
            flag(
                "service-account-issuer",
                "https://kubernetes.default.svc.cluster.local",
            ),
            flag("service-account-key-file", self.public_key().display()),
            flag("service-account-signing-key-file", self.key().display()),
            flag("token-auth-file", self.tokens().display()),
            flag("authorization-mode", "Node,RBAC"),
            flag("endpoint-reconciler-type", "none"),
            // Else logs and exec look the node's name up in the DNS.
            flag("kubelet-preferred-address-types", "InternalIP"),
            flag("allow-privileged", "true"),
            flag("profiling", "false"),
        ];
        if self.audit {
            args.extend([
                flag("audit-policy-file", self.audit_policy().display()),
                flag("audit-log-path", self.dir.join("audit.log").display()),
                // MiB; whoever reads the log wants it in one piece.
                flag("audit-log-maxsize", 100_000),
            ]);
        }
        args
    }

    fn controller_manager(&self) -> Vec<String> {
        let mut args = self.client_of_api(&self.admin_kubeconfig);
        args.extend([
            flag("leader-elect", "false"),
            flag("secure-port", 0),
            flag("service-account-private-key-file", self.key().display()),
            flag("root-ca-file", self.certificate().display()),
            flag("use-service-account-credentials", "false"),
            flag(
                "controllers",
                "*,-node-ipam-controller,-node-route-controller,-service-lb-controller,-cloud-node-lifecycle-controller",
            ),
        ]);
        args
    }

    fn scheduler(&self) -> Vec<String> {
        let mut args = self.client_of_api(&self.admin_kubeconfig);
        args.extend([flag("leader-elect", "false"), flag("secure-port", 0)]);
        args
    }

    fn sandbox_controller(&self) -> Vec<String> {
        let metrics = self.ports.controller_metrics.number();
        let health = self.ports.controller_health.number();
        let mut args = vec![
            flag("kubeconfig", self.controller_kubeconfig.display()),
            "--extensions".to_owned(),
            flag("enable-webhook", self.conversion),
            flag("leader-elect", "false"),
            flag("metrics-bind-address", format!("127.0.0.1:{metrics}")),
            flag("health-probe-bind-address", format!("127.0.0.1:{health}")),
            // Five minutes else: too long to see a pool member replaced that is not ready.
            flag("sandbox-warm-pool-readiness-grace-period", "10s"),
        ];
        if self.conversion {
            args.extend([
                flag("webhook-port", self.ports.conversion.number()),
                // Its own certificate would be for a Service.
                flag("manage-webhook-certs", "false"),
                flag("webhook-cert-dir", self.dir.join("certificates").display()),
                flag("webhook-cert-name", "apiserver.crt"),
                flag("webhook-key-name", "apiserver.key"),
            ]);
        }
        args
    }

    fn nats(&self) -> Vec<String> {
        vec![
            "--jetstream".to_owned(),
            flag("store_dir", self.dir.join("nats").display()),
            flag("addr", "127.0.0.1"),
            flag("port", self.ports.nats.number()),
            flag("name", nats_name(&self.dir)),
        ]
    }

    /// Hundreds of pods at once should wait for what is tested, not for the client's own limits.
    fn client_of_api(&self, kubeconfig: &Path) -> Vec<String> {
        vec![
            flag("kubeconfig", kubeconfig.display()),
            flag("kube-api-qps", 500),
            flag("kube-api-burst", 1000),
        ]
    }
}

/// By which a server is known to be this testbed's.
pub(crate) fn nats_name(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or(dir.as_os_str());
    name.to_string_lossy().into_owned()
}

fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}
