//! A part's process.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::bed::folder::MARKER;
use crate::launch;
use crate::part::Part;

/// Between a part's end and the news of it: a part that cannot live is not started in a spin.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest piece of a log shown in an error, in bytes.
const SHOWN: usize = 4_000;

/// How to start a part.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) part: Part,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) log: PathBuf,
    /// The testbed's folder, by which its processes are known.
    pub(crate) dir: PathBuf,
    /// The `testbed` binary, which becomes the program.
    pub(crate) launcher: PathBuf,
    /// All of its environment but the marker.
    pub(crate) env: Vec<(String, String)>,
}

/// A part ended, a second ago.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) part: Part,
    pub(crate) pid: u32,
}

/// A part that was started.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    /// How it ended.
    status: watch::Receiver<Option<String>>,
    waiter: JoinHandle<()>,
}

impl Process {
    /// Starts one. `ends` hears of its end; the bound of that channel is the owner's.
    pub(crate) fn start(recipe: &Recipe, ends: mpsc::Sender<End>) -> Result<Self> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&recipe.log)
            .with_context(|| format!("cannot write {}", recipe.log.display()))?;
        let mut child = Command::new(&recipe.launcher)
            .arg(launch::COMMAND)
            .arg(std::process::id().to_string())
            .arg(&recipe.program)
            .args(&recipe.args)
            .env_clear()
            .envs(recipe.env.iter().map(|(name, value)| (name, value)))
            .env(MARKER, &recipe.dir)
            .current_dir(&recipe.dir)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", recipe.launcher.display()))?;
        let pid = child.id().context("the process has no id")?;
        let (told, status) = watch::channel(None);
        let part = recipe.part;
        let waiter = tokio::spawn(async move {
            let text = match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            told.send_replace(Some(text));
            sleep(PAUSE).await;
            // The owner may be gone, and with it the need to know.
            let _ = ends.send(End { part, pid }).await;
        });
        Ok(Self {
            pid,
            status,
            waiter,
        })
    }

    /// Its id, and its group's.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, if it has.
    pub(crate) fn status(&self) -> Option<String> {
        self.status.borrow().clone()
    }

    /// Sends a signal to it and all its children, unless it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.status().is_none() {
            // It may have ended since.
            let _ = killpg(Pid::from_raw(self.pid.cast_signed()), signal);
        }
    }

    /// Whether all of its threads are stopped by a signal.
    pub(crate) fn is_stopped(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid));
        threads.into_iter().flatten().flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            // The state follows the name, which is in parentheses. A thread that is gone does nothing.
            stat.rsplit_once(") ")
                .is_none_or(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X']))
        })
    }

    /// SIGKILL, and its end.
    pub(crate) async fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        // The waiter can only have told.
        let _ = self.status.wait_for(Option::is_some).await;
        // What it has left to do is to tell its end, which is known here.
        self.waiter.abort();
        let _ = (&mut self.waiter).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// The end of a log, for people.
pub(crate) fn tail(log: &Path) -> String {
    let Ok(bytes) = std::fs::read(log) else {
        return format!("{} cannot be read", log.display());
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut start = text.len().saturating_sub(SHOWN);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].trim_end().to_owned()
}
