//! From paths to documents.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::document;
use super::{Place, Report};

/// Largest manifest file: far above a fleet of 10,000 sandboxes (about 10 MB), far below memory.
const MAX_FILE: u64 = 64 << 20;

/// Deepest folder below one given; also what ends a circle of mounts.
const MAX_DEPTH: usize = 32;

/// One parsed document.
pub(super) struct Document {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// Calls `each` with one document after the other; only one is in memory.
pub(super) fn documents(
    paths: &[PathBuf],
    report: &mut Report,
    mut each: impl FnMut(Document, &mut Report),
) {
    let mut files = Vec::new();
    for path in paths {
        let before = (files.len(), report.problems.len());
        collect(path, 0, &mut files, report);
        if (files.len(), report.problems.len()) == before {
            let text = "no *.yaml, *.yml or *.json in this folder";
            report.add(&whole(path), "", text);
        }
    }
    let mut seen = std::collections::HashSet::new();
    files.retain(|file| seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())));
    for file in &files {
        read(file, report, &mut each);
    }
}

fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>, report: &mut Report) {
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) => return report.add(&whole(path), "", format!("cannot be read: {error}")),
    };
    if !meta.is_dir() {
        return files.push(path.to_owned());
    }
    if depth >= MAX_DEPTH {
        return report.add(
            &whole(path),
            "",
            format!("more than {MAX_DEPTH} folders deep"),
        );
    }
    let mut entries: Vec<PathBuf> = match std::fs::read_dir(path) {
        Ok(entries) => entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .collect(),
        Err(error) => return report.add(&whole(path), "", format!("cannot be read: {error}")),
    };
    entries.sort_unstable();
    for entry in entries {
        let hidden = entry
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let manifest = entry
            .extension()
            .and_then(OsStr::to_str)
            .is_some_and(|extension| ["yaml", "yml", "json"].contains(&extension));
        // A linked folder is not entered: it may lead back up.
        let folder = entry.is_dir() && !entry.is_symlink();
        if !hidden && (folder || (manifest && entry.is_file())) {
            collect(&entry, depth + 1, files, report);
        }
    }
}

fn read(file: &Path, report: &mut Report, each: &mut impl FnMut(Document, &mut Report)) {
    let place = whole(file);
    let mut text = String::new();
    let opened = std::fs::File::open(file)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text));
    if let Err(error) = opened {
        report.add(&place, "", format!("cannot be read as UTF-8 text: {error}"));
        return;
    }
    if text.len() as u64 > MAX_FILE {
        report.add(
            &place,
            "",
            format!("larger than {} MiB; split it", MAX_FILE >> 20),
        );
        return;
    }
    for (number, part) in document::split(&text).into_iter().enumerate() {
        let place = Place {
            file: Arc::clone(&place.file),
            document: number + 1,
        };
        match document::parse(&part) {
            Ok(None) => {}
            Ok(Some(value)) => each(Document { place, value }, report),
            Err(text) => report.add(&place, "", text),
        }
    }
}

fn whole(path: &Path) -> Place {
    Place {
        file: path.into(),
        document: 0,
    }
}
