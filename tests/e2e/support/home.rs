//! The folder of one test: manifests, state, and whatever else it puts down.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::manifests::Manifests;

/// Removed when dropped, so it is declared before what uses it and outlives every restart.
#[derive(Debug)]
pub(crate) struct Home {
    folder: TempDir,
    manifests: PathBuf,
}

impl Home {
    /// An empty home.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("reveille-e2e-")
            .tempdir()
            .unwrap();
        let manifests = folder.path().join("manifests");
        Self { folder, manifests }
    }

    /// A home with manifests.
    pub(crate) fn with(manifests: &Manifests) -> Self {
        let home = Self::new();
        std::fs::create_dir(home.manifests()).unwrap();
        std::fs::write(
            home.manifests().join("all.yaml"),
            manifests.yaml(&home.marker()),
        )
        .unwrap();
        home
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder given as `-f`.
    pub(crate) fn manifests(&self) -> PathBuf {
        self.manifests.clone()
    }

    /// The folder given as `--state-dir`.
    pub(crate) fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Takes the manifests from elsewhere.
    pub(crate) fn read_from(&mut self, folder: &str) {
        self.manifests = folder.into();
    }

    /// Lets gated agents start.
    pub(crate) fn open_gate(&self) {
        std::fs::write(self.path().join("gate"), "").unwrap();
    }

    /// In the environment of every agent of this test, and of no other's.
    pub(crate) fn marker(&self) -> String {
        self.path().display().to_string()
    }
}
