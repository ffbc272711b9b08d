//! The folder of everything that outlives this process.
//!
//! ```text
//! <state-dir>/lock                                held while a Reveille runs; names its PID
//!             objects.jsonl                       who is who, who sleeps, which claim has what (journal)
//!             run/<pod uid>                       what is running now, for the one after a kill -9
//!             volumes/<namespace>/<vct>-<sandbox> volumes, until their Sandbox is deleted
//!             scratch/<pod uid>/<volume>          emptyDirs, until their pod ends
//!             logs/<namespace>/<sandbox>/<container>.log   until their Sandbox is deleted
//!             trash/                              deleted volumes on their way out
//! ```

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use reveille_crds::SandboxKey;

use super::Error;

/// The folder, locked.
pub(super) struct StateDir {
    root: PathBuf,
    /// The lock ends with this process, however that ends.
    _lock: Flock<File>,
}

impl StateDir {
    /// Creates the folder if it is missing, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let fail = |error: std::io::Error| Error::StateDir {
            path: path.to_owned(),
            error,
        };
        // What agents wrote is nobody else's to read.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(fail)?;
        // Agents run in folders of their own, so what they are told must be absolute.
        let root = path.canonicalize().map_err(fail)?;
        let lock = root.join("lock");
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock)
            .map_err(fail)?;
        let mut holder = String::new();
        Read::by_ref(&mut file)
            .take(32)
            .read_to_string(&mut holder)
            .map_err(fail)?;
        let mut file =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| Error::InUse {
                path: root.clone(),
                pid: holder.trim().to_owned(),
            })?;
        let write = |file: &mut File| {
            file.set_len(0)?;
            std::io::Seek::rewind(file)?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(fail)?;
        for folder in ["run", "volumes", "scratch", "logs", "trash"] {
            std::fs::create_dir_all(root.join(folder)).map_err(fail)?;
        }
        Ok(Self { root, _lock: file })
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.root.join("objects.jsonl")
    }

    pub(super) fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    pub(super) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    pub(super) fn volume(&self, sandbox: &SandboxKey, template: &str) -> PathBuf {
        self.volumes()
            .join(sandbox.namespace())
            .join(format!("{template}-{}", sandbox.name()))
    }

    pub(super) fn scratch(&self, pod: &str) -> PathBuf {
        self.root.join("scratch").join(pod)
    }

    pub(super) fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    pub(super) fn log(&self, namespace: &str, pod: &str, container: &str) -> PathBuf {
        let folder = self.logs(namespace, pod);
        folder.join(format!("{container}.log"))
    }

    /// Folder of the logs of one pod's containers.
    pub(super) fn logs(&self, namespace: &str, pod: &str) -> PathBuf {
        self.root.join("logs").join(namespace).join(pod)
    }

    /// Takes a volume out of the way at once; what is in the trash is deleted when there is time.
    pub(super) fn discard(&self, volume: &Path) {
        let target = self.trash().join(uuid::Uuid::new_v4().to_string());
        match std::fs::rename(volume, target) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let path = volume.display();
                tracing::warn!(%path, %error, "cannot move {path} to the trash, so it stays: {error}")
            }
        }
    }

    /// Takes the emptyDirs of all pods out of the way: at a start there are no pods.
    pub(super) fn discard_scratch(&self) {
        let Ok(entries) = std::fs::read_dir(self.root.join("scratch")) else {
            return;
        };
        for entry in entries.filter_map(Result::ok) {
            self.discard(&entry.path());
        }
    }
}

/// Deletes what is in a folder. Blocking, and as long as the folder is large.
pub(super) fn empty(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        let deleted = if path.is_dir() && !path.is_symlink() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        if let Err(error) = deleted {
            let path = path.display();
            tracing::warn!(%path, %error, "cannot delete {path}, which nobody needs: {error}");
        }
    }
}
