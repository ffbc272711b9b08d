//! Processes as the kernel shows them, and the one handle that no test leaves running.

use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::manifests::MARKER;

/// Time between SIGTERM and SIGKILL of what a test leaves behind.
const LEAVE: Duration = Duration::from_secs(10);

/// A child that is waited for by a thread, so that nobody has to poll, and ended on drop.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    exit: Exit,
}

/// Where the waiting thread puts down how a child ended.
#[derive(Clone, Debug, Default)]
struct Exit(Arc<(Mutex<Option<ExitStatus>>, Condvar)>);

impl Process {
    /// Takes over a child.
    pub(crate) fn of(mut child: Child) -> Self {
        let pid = child.id();
        let exit = Exit::default();
        let told = exit.clone();
        std::thread::spawn(move || told.tell(child.wait().unwrap()));
        Self { pid, exit }
    }

    /// Its id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal, unless it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.wait(Duration::ZERO).is_none() {
            // It may have ended since; then there is nothing to tell.
            let _ = kill(Pid::from_raw(self.pid.cast_signed()), signal);
        }
    }

    /// Waits for its end on the calling thread.
    pub(crate) fn wait(&self, longest: Duration) -> Option<ExitStatus> {
        self.exit.wait(longest)
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self, longest: Duration) -> Option<ExitStatus> {
        let exit = self.exit.clone();
        tokio::task::spawn_blocking(move || exit.wait(longest))
            .await
            .unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
        if self.wait(LEAVE).is_none() {
            self.signal(Signal::SIGKILL);
            self.wait(LEAVE);
        }
    }
}

impl Exit {
    fn tell(&self, status: ExitStatus) {
        *self.0.0.lock().unwrap() = Some(status);
        self.0.1.notify_all();
    }

    fn wait(&self, longest: Duration) -> Option<ExitStatus> {
        let status = self.0.0.lock().unwrap();
        *self
            .0
            .1
            .wait_timeout_while(status, longest, |status| status.is_none())
            .unwrap()
            .0
    }
}

/// Ids of the living agents of the test with this marker; zombies don't live.
pub(crate) fn agents(marker: &str) -> Vec<u32> {
    let wanted = format!("{MARKER}={marker}");
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|all| {
                all.split(|byte| *byte == 0)
                    .any(|one| one == wanted.as_bytes())
            })
        })
        .collect()
}

/// Ends them.
pub(crate) fn kill_agents(marker: &str) {
    for pid in agents(marker) {
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
}

/// From now on the process, and what it starts, can write to no file: a full disk without a disk.
/// `false` gives the room back.
pub(crate) fn fill_disk(pid: u32, full: bool) {
    let limit = if full {
        "--fsize=0:"
    } else {
        "--fsize=unlimited:"
    };
    let status = Command::new("prlimit")
        .args(["--pid", &pid.to_string(), limit])
        .status()
        .unwrap();
    assert!(status.success(), "prlimit (util-linux) failed");
}

/// Whether the process takes the signal itself (proc(5), `SigCgt`).
pub(crate) fn catches(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal as i32 - 1)) != 0)
}

/// Resident memory in KiB.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Processor time used so far.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name in parentheses may hold spaces; user and system time are fields 14 and 15 of all.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// Open file descriptors.
pub(crate) fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
}

/// Threads.
pub(crate) fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .count()
}
