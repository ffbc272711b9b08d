//! The control plane that the tests of this binary share, and those that a test breaks.

use std::path::PathBuf;

use reveille_testbed::{Options, Testbed};

/// Where a control plane is to be found.
#[derive(Clone, Debug)]
pub(crate) struct Plane {
    /// The administrator's kubeconfig.
    pub(crate) kubeconfig: PathBuf,
    /// Requests, one JSON line each.
    pub(crate) audit_log: PathBuf,
}

impl Plane {
    /// The one for all tests. It ends with this process.
    pub(crate) async fn shared() -> Self {
        Self::of(Testbed::shared().await.unwrap())
    }

    /// One for a test that breaks it.
    pub(crate) async fn own() -> (Testbed, Self) {
        let testbed = Testbed::start(Options::default()).await.unwrap();
        let plane = Self::of(&testbed);
        (testbed, plane)
    }

    fn of(testbed: &Testbed) -> Self {
        Self {
            kubeconfig: testbed.facts().kubeconfig(),
            audit_log: testbed.audit_log(),
        }
    }
}
