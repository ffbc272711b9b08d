//! One process of a container, as the leader of a group of its own.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::environment::Invocation;
use super::group::Group;
use super::logs::Log;

/// How long the rest of a pipe is waited for once its writers are gone; only a process that left its
/// group can still hold it.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// After this long without success a group that does not die of SIGKILL is worth a line.
const UNKILLABLE: Duration = Duration::from_secs(10);

/// A started process with what it started.
pub(super) struct Process {
    child: Child,
    pid: Pid,
    group: Group,
    outputs: JoinSet<()>,
}

impl Process {
    /// Starts `invocation` with its output going to `log`, or nowhere.
    ///
    /// # Errors
    /// One sentence that says which command could not be run, and why.
    pub(super) fn spawn(
        invocation: &Invocation,
        search: &[PathBuf],
        log: Option<&Log>,
    ) -> Result<Self, String> {
        let Some((name, args)) = invocation.command.split_first() else {
            return Err("there is no command".to_owned());
        };
        let program = find(name, search, invocation)?;
        let output = || {
            if log.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            }
        };
        let mut command = Command::new(&program);
        command
            .args(args)
            .env_clear()
            .envs(&invocation.env)
            .stdin(Stdio::null())
            .stdout(output())
            .stderr(output())
            .process_group(0)
            // Only for a panic of ours: every other end goes through the group.
            .kill_on_drop(true);
        if let Some(dir) = &invocation.working_dir {
            command.current_dir(dir);
        }
        let mut child = command
            .spawn()
            .map_err(|error| why(&error, name, invocation))?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        let pid = pid.expect("a child that was not waited for has a PID");
        let mut outputs = JoinSet::new();
        if let Some(log) = log {
            if let Some(pipe) = child.stdout.take() {
                outputs.spawn(log.clone().drain(pipe));
            }
            if let Some(pipe) = child.stderr.take() {
                outputs.spawn(log.clone().drain(pipe));
            }
        }
        Ok(Self {
            child,
            pid,
            group: Group::led_by(pid),
            outputs,
        })
    }

    pub(super) const fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for the leader's end. Cancel-safe.
    pub(super) async fn exited(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// SIGTERM to the group, SIGKILL when `overdue` is over; returns when no member is alive.
    pub(super) async fn end(mut self, overdue: impl Future<Output = ()>) -> io::Result<ExitStatus> {
        self.group.signal(Signal::SIGTERM);
        let polite = tokio::select! {
            biased; // an end in the last moment is an end
            status = self.dead() => Some(status),
            () = overdue => None,
        };
        match polite {
            Some(status) => {
                self.last_words().await;
                status
            }
            None => self.kill().await,
        }
    }

    /// After the leader's own end: the rest of its group goes with it, as with a container's first process.
    pub(super) async fn sweep(self) {
        // The status was read before.
        let _ = self.kill().await;
    }

    async fn kill(mut self) -> io::Result<ExitStatus> {
        self.group.signal(Signal::SIGKILL);
        let status = match tokio::time::timeout(UNKILLABLE, self.dead()).await {
            Ok(status) => status,
            Err(_) => {
                let group = self.pid.as_raw();
                tracing::warn!(
                    group,
                    "process group {group} does not die of SIGKILL; waiting on"
                );
                self.dead().await
            }
        };
        self.last_words().await;
        status
    }

    async fn dead(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.group.emptied().await;
        status
    }

    async fn last_words(&mut self) {
        let drained = async { while self.outputs.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WORDS, drained).await.is_err() {
            self.outputs.shutdown().await;
        }
    }
}

/// A name with a slash is a path, from the working directory; any other is searched for.
fn find(name: &str, search: &[PathBuf], invocation: &Invocation) -> Result<PathBuf, String> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let path = invocation
        .env
        .get("PATH")
        .map(String::as_str)
        .unwrap_or_default();
    let folders = search.iter().cloned().chain(std::env::split_paths(path));
    folders.map(|folder| folder.join(name)).find(|file| executable(file)).ok_or_else(|| {
        format!("command {name:?} is not on this machine's PATH; the image is not pulled, so install it or write its path")
    })
}

fn executable(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn why(error: &io::Error, name: &str, invocation: &Invocation) -> String {
    match &invocation.working_dir {
        Some(dir) if !Path::new(dir).is_dir() => {
            format!("command {name:?} cannot start: workingDir {dir:?} is no folder")
        }
        _ => format!("command {name:?} cannot start: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::local::{group, proc};

    fn shell(script: &str, marker: &str) -> Invocation {
        let env = BTreeMap::from([
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
            (
                super::super::environment::POD_UID.to_owned(),
                marker.to_owned(),
            ),
        ]);
        Invocation {
            command: ["sh", "-c", script].map(str::to_owned).into(),
            env,
            working_dir: None,
        }
    }

    async fn spoken(log: &Path, what: &str) {
        let wait = async {
            while !std::fs::read_to_string(log)
                .unwrap_or_default()
                .contains(what)
            {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait)
            .await
            .expect(what);
    }

    #[tokio::test]
    async fn a_polite_process_ends_at_sigterm_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Log::new(path.clone(), None);
        let script = "trap 'echo bye; exit 3' TERM; sleep 1000 & echo up; while :; do wait; done";
        let process = Process::spawn(&shell(script, "polite"), &[], Some(&log)).unwrap();
        let group = process.pid().as_raw();
        spoken(&path, "up").await;
        let status = process
            .end(tokio::time::sleep(Duration::from_secs(20)))
            .await
            .unwrap();
        assert_eq!(status.code(), Some(3));
        spoken(&path, "bye").await;
        let left = proc::pids()
            .into_iter()
            .filter_map(proc::stat)
            .any(|stat| stat.group == group && stat.alive);
        assert!(!left, "the whole group is gone");
    }

    #[tokio::test]
    async fn a_deaf_process_is_killed_after_its_grace() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Log::new(path.clone(), None);
        let process = Process::spawn(
            &shell("trap '' TERM; echo up; while :; do sleep 1; done", "deaf"),
            &[],
            Some(&log),
        )
        .unwrap();
        spoken(&path, "up").await;
        let status = process
            .end(tokio::time::sleep(Duration::from_millis(50)))
            .await
            .unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9)
        );
    }

    #[tokio::test]
    async fn a_process_that_left_its_group_is_found_by_its_environment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Log::new(path.clone(), None);
        let mut process = Process::spawn(
            &shell("setsid sleep 1000 & echo up; exit 0", "stray-test"),
            &[],
            Some(&log),
        )
        .unwrap();
        spoken(&path, "up").await;
        process.exited().await.unwrap();
        process.sweep().await;
        let strays = group::Strays::default();
        strays.end("stray-test").await;
        assert!(!group::marked().contains_key("stray-test"));
    }

    #[tokio::test]
    async fn a_missing_command_says_so() {
        let missing = Invocation {
            command: vec!["no-such-agent".to_owned()],
            ..shell("", "missing")
        };
        let error = Process::spawn(&missing, &[], None).err().unwrap();
        assert!(
            error.contains("no-such-agent") && error.contains("PATH"),
            "{error}"
        );
        let nowhere = Invocation {
            working_dir: Some("/no/such/folder".to_owned()),
            ..shell("", "missing")
        };
        let error = Process::spawn(&nowhere, &[], None).err().unwrap();
        assert!(error.contains("/no/such/folder"), "{error}");
    }
}
