//! Reads the same YAML as Kubernetes, and says what to write instead where it cannot be run here.
//!
//! Files are read in the order given, folders in the order of their names. All that is wrong is told at
//! once, each with its file, document and field. What this machine would have to act on and does not
//! know is an error; what only a cluster acts on (images, resources, security contexts, network
//! policies) is kept and ignored.

mod beginning;
mod document;
mod object;
mod pod;
mod read;
mod references;
mod volumes;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reveille_crds::scaled_sandbox::{FieldError, ScaledSandboxSpec};

pub use crate::object::Object;

/// One thing wrong with one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the folder where no file is at fault.
    pub file: Arc<Path>,
    /// Number of the document in its file, from 1; 0 where the whole file is at fault.
    pub document: usize,
    /// Path of the field, as `spec.containers[0].command`; may be empty.
    pub field: String,
    /// What is wrong and what to write.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.document > 0 {
            write!(f, ", document {}", self.document)?;
        }
        if !self.field.is_empty() {
            write!(f, ", {}", self.field)?;
        }
        write!(f, ": {}", self.text)
    }
}

/// Everything wrong with the manifests, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(pub Vec<Problem>);

impl std::error::Error for Errors {}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// A typo in a generated fleet is told as often as it takes to see the pattern.
        const SHOWN: usize = 50;
        for (index, problem) in self.0.iter().take(SHOWN).enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

/// What is wrong with the spec of a policy, as far as who loads it can tell.
pub type PolicyCheck = fn(&ScaledSandboxSpec) -> Vec<FieldError>;

/// Reads files, and folders with all below them (`*.yaml`, `*.yml`, `*.json`). Policies are held against
/// `policy` ([`reveille_crds::scaled_sandbox::validate`], or more). A Sandbox that does not say
/// `operatingMode` begins asleep where a request would wake it.
///
/// # Errors
/// Everything wrong with the manifests, at once.
pub fn load(paths: &[PathBuf], policy: PolicyCheck) -> Result<Vec<Object>, Errors> {
    let mut report = Report::new(policy);
    let (mut loaded, mut silent) = (Vec::new(), BTreeSet::new());
    read::documents(paths, &mut report, |document, report| {
        object::objects(document, (&mut loaded, &mut silent), report);
    });
    references::check(&loaded, &mut report);
    if report.problems.is_empty() {
        beginning::settle(&mut loaded, &silent);
        Ok(loaded.into_iter().map(|(_, object)| object).collect())
    } else {
        Err(Errors(report.problems))
    }
}

/// Where a document stands.
#[derive(Clone, Debug)]
struct Place {
    file: Arc<Path>,
    document: usize,
}

/// Collects problems.
struct Report {
    problems: Vec<Problem>,
    policy: PolicyCheck,
}

impl Report {
    const fn new(policy: PolicyCheck) -> Self {
        Self {
            problems: Vec::new(),
            policy,
        }
    }

    fn add(&mut self, place: &Place, field: impl Into<String>, text: impl Into<String>) {
        self.problems.push(Problem {
            file: Arc::clone(&place.file),
            document: place.document,
            field: field.into(),
            text: text.into(),
        });
    }
}

#[cfg(test)]
mod tests;
