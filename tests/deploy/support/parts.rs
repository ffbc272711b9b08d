//! The components, as their ServiceAccounts.

use reveille_testbed::{Testbed, Who};

use super::HOME;
use super::child::Running;
use crate::nats::Nats;

/// One activator and one scaler.
pub(crate) struct Parts {
    pub(crate) activator: Running,
    pub(crate) scaler: Running,
}

impl Parts {
    /// Both, for one namespace. Without a server of NATS wakes go by the API.
    pub(crate) async fn start(bed: &Testbed, namespace: &str, nats: Option<&Nats>) -> Self {
        let scaler = Self::reveille(bed, "scaler", namespace, nats, &["--activators", "one"]).await;
        let api = format!("http://{}", scaler.address("admin").await);
        let flags = ["--listen", "127.0.0.1:0", "--settle", "0s", "--name", "one"];
        let flags = [&flags[..], &["--scaler-api", &api]].concat();
        let activator = Self::reveille(bed, "activator", namespace, nats, &flags).await;
        Self { activator, scaler }
    }

    /// One of them, with its ServiceAccount's rights.
    pub(crate) async fn reveille(
        bed: &Testbed,
        component: &str,
        namespace: &str,
        nats: Option<&Nats>,
        flags: &[&str],
    ) -> Running {
        let name = format!("reveille-{component}");
        let who = Who::ServiceAccount {
            namespace: HOME,
            name: &name,
        };
        let kubeconfig = bed.kubeconfig(who).await.unwrap();
        let url = nats.map(|nats| nats.url(component));
        let url: Vec<&str> = url.iter().flat_map(|url| ["--nats", url]).collect();
        let of_both = [component, "--kubeconfig", kubeconfig.to_str().unwrap()];
        let of_both = [&of_both[..], &["--watch-namespace", namespace]].concat();
        let admin = ["--admin", "127.0.0.1:0"];
        let admin = if flags.contains(&admin[0]) {
            &[]
        } else {
            &admin[..]
        };
        // Without NATS nobody leads, and the lease is the other case's.
        let lease = if nats.is_some() {
            "reveille-scaler"
        } else {
            "none"
        };
        let home = ["--lease-namespace", HOME, "--lease-name", lease];
        let home = if component == "scaler" {
            &home[..]
        } else {
            &[]
        };
        Running::reveille(&[&of_both[..], admin, &url, home, flags].concat())
    }
}
