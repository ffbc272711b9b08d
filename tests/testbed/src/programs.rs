//! Where the programs are that a testbed is made of.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::part::Part;

/// Installs what is missing and prints where everything is.
pub(crate) const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tools.sh");

/// Where each program is.
#[derive(Clone, Debug)]
pub struct Programs {
    paths: HashMap<String, PathBuf>,
}

impl Programs {
    /// As `tests/tools.sh` names them: `lookup` gives environment variables, and where one is missing the
    /// script is run, which may build for minutes.
    ///
    /// # Errors
    /// Where the script fails; it has then said why on stderr.
    pub fn find(lookup: impl Fn(&str) -> Option<PathBuf>) -> Result<Self> {
        let names: Vec<String> = wanted().collect();
        let given = names
            .iter()
            .filter_map(|name| Some((name.clone(), lookup(name)?)));
        let mut paths: HashMap<String, PathBuf> = given.collect();
        if paths.len() < names.len() {
            for (name, path) in from_script()? {
                paths.entry(name).or_insert(path);
            }
        }
        for name in names {
            match paths.get(&name) {
                Some(path) if path.exists() => {}
                Some(path) => bail!(
                    "{name}={} does not exist: run tests/tools.sh",
                    path.display()
                ),
                None => bail!("tests/tools.sh does not say where {name} is"),
            }
        }
        Ok(Self { paths })
    }

    /// As [`find`](Self::find) looks them up, for another process.
    pub(crate) fn environment(&self) -> &HashMap<String, PathBuf> {
        &self.paths
    }

    /// Of a part.
    pub(crate) fn of(&self, part: Part) -> &Path {
        &self.paths[&variable(part.program())]
    }

    /// The client.
    pub(crate) fn kubectl(&self) -> &Path {
        &self.paths[&variable("kubectl")]
    }

    /// Upstream's `k8s/` folder: CRDs and roles.
    pub(crate) fn manifests(&self) -> &Path {
        &self.paths[MANIFESTS]
    }
}

const MANIFESTS: &str = "AGENT_SANDBOX_MANIFESTS";

fn wanted() -> impl Iterator<Item = String> {
    let parts = Part::ALL.into_iter().map(Part::program);
    parts
        .chain(["kubectl"])
        .map(variable)
        .chain([MANIFESTS.to_owned()])
}

fn variable(program: &str) -> String {
    format!("{}_BIN", program.to_uppercase().replace('-', "_"))
}

fn from_script() -> Result<HashMap<String, PathBuf>> {
    let output = Command::new(SCRIPT)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {SCRIPT}"))?;
    if !output.status.success() {
        bail!("tests/tools.sh failed; what it said is above");
    }
    let text = String::from_utf8(output.stdout).context("tests/tools.sh")?;
    let line = |line: &str| {
        let (name, path) = line.split_once('=')?;
        Some((name.to_owned(), path.into()))
    };
    Ok(text.lines().filter_map(line).collect())
}
