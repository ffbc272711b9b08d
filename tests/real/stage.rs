//! The control plane with the real node, which all tests of this binary share.

use reveille_testbed::{Nodes, Options, Testbed};
use tokio::sync::OnceCell;

use crate::support::cluster::{Cluster, Setup};
use crate::support::plane::Plane;

/// Two activators, two scalers and a nats-server, in a namespace of the real node's control plane.
pub(crate) async fn cluster() -> Cluster {
    Setup::default().on(&plane().await).start().await
}

/// A namespace without any of Reveille: upstream's controller alone.
pub(crate) async fn bare() -> Cluster {
    Setup::default()
        .parts(0, 0)
        .on(&plane().await)
        .start()
        .await
}

/// Ends with this process.
async fn plane() -> Plane {
    static REAL: OnceCell<Testbed> = OnceCell::const_new();
    let testbed = REAL
        .get_or_init(|| async {
            let options = Options {
                nodes: Nodes::Real,
                ..Options::default()
            };
            Testbed::start(options).await.unwrap()
        })
        .await;
    Plane {
        kubeconfig: testbed.facts().kubeconfig(),
        audit_log: testbed.audit_log(),
    }
}
