//! The folder of a testbed: locked while it lives, swept away by the next one where it was killed.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// In the environment of all that belongs to a testbed, with its folder as the value.
pub(crate) const MARKER: &str = "REVEILLE_TESTBED";
const PREFIX: &str = "reveille-testbed-";
/// A folder that something still writes to is removed anew so often.
const TRIES: usize = 100;

/// A folder that is this process's own, removed when dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The kernel lets go of it when this process ends, however it ends.
    _lock: File,
}

impl Folder {
    /// A fresh one among temporary files. Folders of testbeds that were killed are removed first.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn temporary() -> io::Result<Self> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        // Under another name until it is locked, lest somebody sweeps it.
        let new = tempfile::Builder::new()
            .prefix(&format!(".{PREFIX}"))
            .tempdir_in(&parent)?;
        let lock = lock(new.path())?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        let path = parent.join(format!("{PREFIX}{}", &id[..8]));
        std::fs::rename(new.keep(), &path)?;
        Ok(Self { path, _lock: lock })
    }

    /// This very one; what a killed testbed left in it is removed.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] where a testbed lives in it.
    pub fn at(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        match lock(path) {
            // Locked while it goes: nobody else may take it meanwhile.
            Ok(_lock) => clear(path),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        DirBuilder::new().mode(0o700).create(path)?;
        Ok(Self {
            _lock: lock(path)?,
            path: path.to_owned(),
        })
    }

    /// Whether a testbed lives in a folder.
    #[must_use]
    pub fn lives(path: &Path) -> bool {
        lock(path).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        clear(&self.path);
    }
}

/// The folder itself is locked, so that it counts as taken until it is gone.
fn lock(folder: &Path) -> io::Result<File> {
    let file = File::open(folder)?;
    file.try_lock()?;
    Ok(file)
}

/// Removes what killed testbeds left.
fn sweep(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let left = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if left && lock(&entry.path()).is_ok() {
            clear(&entry.path());
        }
    }
}

/// Ends what belongs to a folder and removes it. Somebody may be doing the same; what is gone is gone.
fn clear(folder: &Path) {
    let mut outcome = Ok(());
    for _ in 0..TRIES {
        for pid in marked(folder) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        outcome = std::fs::remove_dir_all(folder);
        match &outcome {
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            // What is being killed may still have made a file.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            _ => break,
        }
    }
    if let Err(error) = outcome {
        tracing::warn!(%error, folder = %folder.display(), "cannot remove {}: {error}", folder.display());
    }
}

/// Ids of the processes that belong to a testbed.
fn marked(folder: &Path) -> Vec<i32> {
    let wanted = format!("{MARKER}={}", folder.display());
    let ours = |pid: &i32| {
        pid.cast_unsigned() != std::process::id()
            && std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|all| {
                all.split(|byte| *byte == 0)
                    .any(|one| one == wanted.as_bytes())
            })
    };
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(ours)
        .collect()
}
