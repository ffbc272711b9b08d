//! What is running now, on disk, so that whoever comes after a `kill -9` of ours can end it.
//!
//! The file of a pod is written before its first process, named by the pod's UID, which every process of
//! the pod has in its environment; so there is no moment in which a process exists that could not be
//! found. The leaders of its groups are added as they start, with their start times, since a process may
//! overwrite its environment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{group, proc};

/// Longest grace of an orphan: its start-up waits for it, and nobody waits for its answer.
const LONGEST_GRACE: Duration = Duration::from_secs(10);

/// Step between two looks at ending orphans.
const STEP: Duration = Duration::from_millis(10);

/// How long SIGKILL may take before the start-up goes on to say that it cannot.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// What runs of one pod.
pub(super) struct RunRecord {
    path: PathBuf,
    content: Mutex<Content>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Content {
    boot: String,
    grace: u64,
    /// PID and start time of group leaders.
    leaders: Vec<(i32, u64)>,
}

impl RunRecord {
    /// Says that processes of this pod may exist from now on.
    pub(super) fn create(folder: &Path, pod: &str, grace: Duration) -> std::io::Result<Self> {
        let content = Content {
            boot: proc::boot_id(),
            grace: grace.as_secs(),
            leaders: Vec::new(),
        };
        let record = Self {
            path: folder.join(pod),
            content: Mutex::new(content),
        };
        record.write(&record.content.lock())?;
        Ok(record)
    }

    /// A leader that was started. A failure to write leaves the environment to find it by.
    pub(super) fn started(&self, leader: Pid) {
        let Some(stat) = proc::stat(leader) else {
            return;
        };
        let mut content = self.content.lock();
        content.leaders.push((leader.as_raw(), stat.start));
        if let Err(error) = self.write(&content) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "cannot record a running process in {path}, so it is not ended for you if this process is killed: {error}");
        }
    }

    /// A leader whose group is gone.
    pub(super) fn ended(&self, leader: Pid) {
        self.content
            .lock()
            .leaders
            .retain(|(pid, _)| *pid != leader.as_raw());
    }

    /// Nothing of the pod is left.
    pub(super) fn remove(self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "cannot remove {path}, the record of a pod that ended: {error}");
        }
    }

    fn write(&self, content: &Content) -> std::io::Result<()> {
        std::fs::write(&self.path, serde_json::to_vec(content)?)
    }
}

/// Ends every recorded process of a predecessor, and waits until it is gone. Answers how many pods had
/// any; `Err` tells a PID that does not die.
pub(super) async fn end_all(folder: &Path) -> Result<usize, Pid> {
    let pods = recorded(folder);
    if pods.is_empty() {
        return Ok(0);
    }
    let alive = living(&pods);
    let count = alive
        .iter()
        .filter(|(_, targets)| !targets.is_empty())
        .count();
    for target in alive.iter().flat_map(|(_, targets)| targets) {
        target.signal(Signal::SIGTERM);
    }
    let grace = pods
        .iter()
        .map(|(_, content)| Duration::from_secs(content.grace))
        .max()
        .unwrap_or_default();
    gone(&pods, grace.min(LONGEST_GRACE)).await;
    let killed_by = Instant::now() + KILLED_WITHIN;
    loop {
        let left: Vec<Target> = living(&pods)
            .into_iter()
            .flat_map(|(_, targets)| targets)
            .collect();
        let Some(first) = left.first() else { break };
        if Instant::now() > killed_by {
            return Err(first.pid());
        }
        for target in &left {
            target.signal(Signal::SIGKILL);
        }
        tokio::time::sleep(STEP).await;
    }
    for (uid, _) in &pods {
        // A record that stays is looked at again by the next start.
        let _ = std::fs::remove_file(folder.join(uid));
    }
    Ok(count)
}

/// Waits until none lives, at most `within`.
async fn gone(pods: &[(String, Content)], within: Duration) {
    let until = Instant::now() + within;
    while living(pods).iter().any(|(_, targets)| !targets.is_empty()) && Instant::now() < until {
        tokio::time::sleep(STEP).await;
    }
}

fn recorded(folder: &Path) -> Vec<(String, Content)> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let uid = entry.file_name().into_string().ok()?;
            // Torn by the kill: the name alone finds its processes.
            let content = std::fs::read(entry.path()).ok();
            let content = content
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .unwrap_or_default();
            Some((uid, content))
        })
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Group(Pid),
    One(Pid),
}

impl Target {
    const fn pid(self) -> Pid {
        match self {
            Self::Group(pid) | Self::One(pid) => pid,
        }
    }

    fn signal(self, signal: Signal) {
        // It may have ended meanwhile.
        let _ = match self {
            Self::Group(group) => killpg(group, signal),
            Self::One(pid) => kill(pid, signal),
        };
    }
}

/// What is alive of each pod: whole groups whose leader or a marked member lives, and marked strays.
fn living(pods: &[(String, Content)]) -> Vec<(String, Vec<Target>)> {
    let boot = proc::boot_id();
    let marked = group::marked();
    pods.iter()
        .map(|(uid, content)| {
            let mut targets = Vec::new();
            for (leader, start) in content.leaders.iter().filter(|_| content.boot == boot) {
                let leader = Pid::from_raw(*leader);
                if proc::stat(leader).is_some_and(|stat| stat.alive && stat.start == *start) {
                    targets.push(Target::Group(leader));
                }
            }
            for pid in marked.get(uid).into_iter().flatten() {
                let led = proc::stat(*pid).map(|stat| stat.group);
                let recorded = content
                    .leaders
                    .iter()
                    .any(|(leader, _)| Some(*leader) == led);
                let target = match led {
                    Some(group) if recorded && content.boot == boot => {
                        Target::Group(Pid::from_raw(group))
                    }
                    _ => Target::One(*pid),
                };
                if !targets.contains(&target) {
                    targets.push(target);
                }
            }
            (uid.clone(), targets)
        })
        .collect()
}
