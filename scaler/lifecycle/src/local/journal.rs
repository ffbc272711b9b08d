//! Who is who, on disk: UIDs, modes, epochs, bindings.
//!
//! Append-only, one JSON object a line, the last one of an object counts; written at once with every
//! change, so a `kill -9` loses nothing, and rewritten whole (to a new file, then renamed) at each start
//! and when it has grown to a multiple of what it says. What is in it beyond the manifests is kept: a
//! manifest that is taken away and put back finds its sandbox, its mode and its volume again.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reveille_crds::SandboxKey;
use reveille_crds::claim::SandboxClaim;
use reveille_crds::sandbox::{PodTemplate, Sandbox};
use serde::{Deserialize, Serialize};

use super::Error;
use crate::store::{ClaimObject, Kind, SandboxObject, Store, Stored};

/// Version of the lines below.
const VERSION: u32 = 1;

/// Growth at which it is rewritten: rare enough to cost nothing on average, and bounded.
const GROWTH: u64 = 4;
const SMALL: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "camelCase")]
enum Line {
    Version {
        version: u32,
    },
    Template {
        hash: String,
        template: Box<PodTemplate>,
    },
    Sandbox {
        key: SandboxKey,
        template: String,
        object: Box<Sandbox>,
    },
    Claim {
        key: SandboxKey,
        released: bool,
        object: Box<SandboxClaim>,
    },
    SandboxGone {
        key: SandboxKey,
    },
    ClaimGone {
        key: SandboxKey,
    },
}

/// What a journal says.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) sandboxes: BTreeMap<SandboxKey, SandboxObject>,
    pub(super) claims: BTreeMap<SandboxKey, ClaimObject>,
}

/// The open journal.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes up to the end of the last whole line.
    length: u64,
    /// Length after the last rewriting.
    compact: u64,
    /// Hash of the last line of each object.
    written: HashMap<(Kind, SandboxKey), u64>,
    /// Templates in the file, by their address; kept, so that no other gets it.
    templates: HashMap<usize, (Arc<PodTemplate>, String)>,
    /// Remembered objects that no manifest speaks of now.
    dormant: Memory,
    failing: bool,
    /// Changes were lost while the disk was full, and could be written now.
    stale: bool,
}

impl Memory {
    /// Reads a journal; a missing one remembers nothing.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => {
                return Err(Error::StateDir {
                    path: path.to_owned(),
                    error,
                });
            }
        };
        let mut memory = Self::default();
        let mut templates: HashMap<String, Arc<PodTemplate>> = HashMap::new();
        let mut lines = text
            .split_inclusive(|byte| *byte == b'\n')
            .enumerate()
            .peekable();
        while let Some((index, line)) = lines.next() {
            let damaged = |text: String| Error::Damaged {
                path: path.to_owned(),
                line: index + 1,
                text,
            };
            match serde_json::from_slice(line) {
                Ok(parsed) => memory.take(parsed, &mut templates).map_err(damaged)?,
                // The kill came in the middle of the last write: that change was told to nobody.
                Err(_) if lines.peek().is_none() && !line.ends_with(b"\n") => {}
                Err(error) => return Err(damaged(format!("damaged: {error}"))),
            }
        }
        Ok(memory)
    }

    /// What a store holds.
    pub(super) fn of(store: &Store) -> Self {
        fn all<T: Stored>(store: &Store) -> BTreeMap<SandboxKey, T> {
            let keys = store.keys::<T>().into_iter();
            keys.filter_map(|key| Some((key.clone(), T::clone(&*store.get::<T>(&key)?))))
                .collect()
        }
        Self {
            sandboxes: all(store),
            claims: all(store),
        }
    }

    fn take(
        &mut self,
        line: Line,
        templates: &mut HashMap<String, Arc<PodTemplate>>,
    ) -> Result<(), String> {
        match line {
            Line::Version { version: VERSION } => {}
            Line::Version { version } => {
                return Err(format!("version {version} is not known to this Reveille"));
            }
            Line::Template { hash, template } => {
                templates.insert(hash, Arc::from(template));
            }
            Line::Sandbox {
                key,
                template,
                object,
            } => {
                let template = templates
                    .get(&template)
                    .ok_or("a sandbox without its template")?;
                self.sandboxes.insert(
                    key,
                    SandboxObject {
                        sandbox: *object,
                        template: Arc::clone(template),
                    },
                );
            }
            Line::Claim {
                key,
                released,
                object,
            } => {
                self.claims.insert(
                    key,
                    ClaimObject {
                        claim: *object,
                        released,
                    },
                );
            }
            Line::SandboxGone { key } => {
                self.sandboxes.remove(&key);
            }
            Line::ClaimGone { key } => {
                self.claims.remove(&key);
            }
        }
        Ok(())
    }
}

impl Journal {
    /// Begins a new journal in place of the old one, with what is present and what is only remembered.
    pub(super) fn create(path: PathBuf, present: &Memory, dormant: Memory) -> io::Result<Self> {
        let file = File::open("/dev/null")?;
        let mut journal = Self {
            path,
            file,
            length: 0,
            compact: 0,
            written: HashMap::new(),
            templates: HashMap::new(),
            dormant,
            failing: false,
            stale: false,
        };
        journal.rewrite(present)?;
        Ok(journal)
    }

    /// Records a Sandbox, or that it is gone. Writes nothing if nothing of it changed.
    pub(super) fn sandbox(&mut self, key: &SandboxKey, object: Option<&SandboxObject>) {
        let id = (Kind::Sandbox, key.clone());
        match object {
            None if !self.written.contains_key(&id) => {}
            None => self.append(id, &[], &Line::SandboxGone { key: key.clone() }),
            Some(object) => {
                let mut lines = Vec::new();
                let line = self.sandbox_line(key, object, &mut lines);
                self.append(id, &lines, &line);
            }
        }
    }

    /// Records a claim, or that it is gone. Writes nothing if nothing of it changed.
    pub(super) fn claim(&mut self, key: &SandboxKey, object: Option<&ClaimObject>) {
        let id = (Kind::Claim, key.clone());
        match object {
            None if !self.written.contains_key(&id) => {}
            None => self.append(id, &[], &Line::ClaimGone { key: key.clone() }),
            Some(object) => {
                let line = claim_line(key, object);
                self.append(id, &[], &line);
            }
        }
    }

    /// Whether it should be rewritten: it has grown, or something is missing in it.
    pub(super) const fn wants_rewrite(&self) -> bool {
        self.stale || (self.length > SMALL && self.length > GROWTH * self.compact)
    }

    /// Writes what is, and what is dormant, in place of all that was.
    pub(super) fn rewrite(&mut self, present: &Memory) -> io::Result<()> {
        let mut text = encode(&Line::Version { version: VERSION })?;
        let mut written = HashMap::new();
        self.templates.clear();
        let dormant = std::mem::take(&mut self.dormant);
        for memory in [&dormant, present] {
            for (key, object) in &memory.sandboxes {
                let mut before = Vec::new();
                let line = self.sandbox_line(key, object, &mut before);
                for template in &before {
                    text.extend(encode(template)?);
                }
                put(&mut text, &mut written, (Kind::Sandbox, key.clone()), &line)?;
            }
            for (key, object) in &memory.claims {
                put(
                    &mut text,
                    &mut written,
                    (Kind::Claim, key.clone()),
                    &claim_line(key, object),
                )?;
            }
        }
        self.dormant = dormant;
        let new = self.path.with_extension("new");
        // It holds what pods have in their environment.
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&text)?;
        file.sync_data()?;
        std::fs::rename(&new, &self.path)?;
        self.file = file;
        self.length = text.len() as u64;
        self.compact = self.length;
        self.stale = false;
        self.written = written;
        Ok(())
    }

    fn sandbox_line(
        &mut self,
        key: &SandboxKey,
        object: &SandboxObject,
        before: &mut Vec<Line>,
    ) -> Line {
        let address = Arc::as_ptr(&object.template).addr();
        let hash = match self.templates.get(&address) {
            Some((_, hash)) => hash.clone(),
            None => {
                // A template that does not serialize has the hash of nothing, and cannot be written anyway.
                let hash = format!(
                    "{:016x}",
                    hash(&serde_json::to_vec(&*object.template).unwrap_or_default())
                );
                self.templates
                    .insert(address, (Arc::clone(&object.template), hash.clone()));
                before.push(Line::Template {
                    hash: hash.clone(),
                    template: Box::new(PodTemplate::clone(&object.template)),
                });
                hash
            }
        };
        let mut sandbox = object.sandbox.clone();
        sandbox.status = None;
        sandbox.metadata.resource_version = None;
        Line::Sandbox {
            key: key.clone(),
            template: hash,
            object: Box::new(sandbox),
        }
    }

    fn append(&mut self, id: (Kind, SandboxKey), before: &[Line], line: &Line) {
        if let Err(error) = self.try_append(id, before, line) {
            if !self.failing {
                let path = self.path.display();
                tracing::error!(%path, %error, "cannot record a change in {path}, so after a restart it is forgotten: {error}");
            }
            self.failing = true;
            for line in before {
                if let Line::Template { hash, .. } = line {
                    self.templates.retain(|_, (_, known)| known != hash);
                }
            }
            // Half a line would damage the next one. If even this fails, so does the next write.
            let _ = self.file.set_len(self.length);
            let _ = io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.length));
        }
    }

    fn try_append(
        &mut self,
        id: (Kind, SandboxKey),
        before: &[Line],
        line: &Line,
    ) -> io::Result<()> {
        let text = encode(line)?;
        let hash = hash(&text);
        if self.written.get(&id) == Some(&hash) {
            return Ok(());
        }
        let mut all = Vec::new();
        for line in before {
            all.extend(encode(line)?);
        }
        all.extend(text);
        self.file.write_all(&all)?;
        self.length += all.len() as u64;
        self.stale |= std::mem::take(&mut self.failing);
        if matches!(line, Line::SandboxGone { .. } | Line::ClaimGone { .. }) {
            self.written.remove(&id);
        } else {
            self.written.insert(id, hash);
        }
        Ok(())
    }
}

fn claim_line(key: &SandboxKey, object: &ClaimObject) -> Line {
    let mut claim = object.claim.clone();
    claim.status = None;
    claim.metadata.resource_version = None;
    Line::Claim {
        key: key.clone(),
        released: object.released,
        object: Box::new(claim),
    }
}

fn put(
    text: &mut Vec<u8>,
    written: &mut HashMap<(Kind, SandboxKey), u64>,
    id: (Kind, SandboxKey),
    line: &Line,
) -> io::Result<()> {
    let bytes = encode(line)?;
    written.insert(id, hash(&bytes));
    text.extend(bytes);
    Ok(())
}

fn encode(line: &Line) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
