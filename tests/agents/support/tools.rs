//! Where the programs are installed, as `tools.sh` says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// What is installed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tools {
    /// What programs need that need no browser.
    #[allow(dead_code, reason = "of the other test")]
    Programs,
    /// What those need that are used in one.
    #[allow(dead_code, reason = "of the other test")]
    Browsers,
}

impl Tools {
    /// Where each is, by the name of its variable; installed when first asked for.
    pub(crate) fn places(self) -> &'static BTreeMap<String, String> {
        static PLACES: OnceLock<BTreeMap<String, String>> = OnceLock::new();
        PLACES.get_or_init(|| {
            let what = match self {
                Self::Programs => "programs",
                Self::Browsers => "browsers",
            };
            let output = Command::new(folder().join("tools.sh"))
                .arg(what)
                .stderr(Stdio::inherit())
                .output()
                .unwrap();
            assert!(output.status.success(), "tools.sh: {}", output.status);
            let lines = String::from_utf8(output.stdout).unwrap();
            let pairs = lines.lines().filter_map(|line| line.split_once('='));
            pairs
                .map(|(name, place)| (name.to_owned(), place.to_owned()))
                .collect()
        })
    }
}

/// The folder of all this.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agents")
}
