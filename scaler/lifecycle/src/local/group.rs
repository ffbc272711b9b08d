//! Process groups: signalling one, and knowing when nothing of it is left.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::time::Instant;

use super::environment::POD_UID;
use super::proc;

/// First and longest step between two looks at a group that is ending.
const FIRST_STEP: Duration = Duration::from_millis(1);
const LONGEST_STEP: Duration = Duration::from_millis(100);

/// Looks by `kill(2)` alone before `/proc` is asked whether only zombies are left: those that the
/// machine's init never reaps would be waited for forever.
const CHEAP_LOOKS: u32 = 4;

/// The group of the process that leads it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    id: Pid,
}

impl Group {
    /// `leader` was started as the leader of a group of its own.
    pub(super) const fn led_by(leader: Pid) -> Self {
        Self { id: leader }
    }

    /// Signals every member. A group that is gone is no error.
    pub(super) fn signal(self, signal: Signal) {
        match killpg(self.id, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => {
                let group = self.id.as_raw();
                tracing::warn!(group, %signal, %error, "cannot send {signal} to process group {group}: {error}")
            }
        }
    }

    /// Waits until no member is alive. Cancel-safe.
    ///
    /// The number of a group stays reserved while it has members, so this never waits for a stranger
    /// that got the number later: the first look that finds nobody is the last one.
    pub(super) async fn emptied(self) {
        let mut step = FIRST_STEP;
        for look in 0_u32.. {
            if killpg(self.id, None) == Err(Errno::ESRCH)
                || (look >= CHEAP_LOOKS && self.only_zombies())
            {
                return;
            }
            tokio::time::sleep(step).await;
            step = (step * 2).min(LONGEST_STEP);
        }
    }

    fn only_zombies(self) -> bool {
        let members = proc::pids()
            .into_iter()
            .filter_map(proc::stat)
            .filter(|stat| stat.group == self.id.as_raw());
        !members.into_iter().any(|stat| stat.alive)
    }
}

/// Processes that left their group but kept the environment of their pod.
///
/// One look at `/proc` serves everybody who asked before it began, so a thousand pods that end together
/// cost a few looks, not a thousand.
#[derive(Clone, Default)]
pub(super) struct Strays {
    /// Held while looking, which is what makes the others wait for the next look.
    last: Arc<tokio::sync::Mutex<Option<Look>>>,
}

struct Look {
    began: Instant,
    by_pod: HashMap<String, Vec<Pid>>,
}

impl Strays {
    /// Kills what is left of the pod, until nothing is. A process that both left its group and cleared
    /// its environment is not found.
    pub(super) async fn end(&self, pod: &str) {
        let mut step = FIRST_STEP;
        loop {
            let found = self.of(pod).await;
            if found.is_empty() {
                return;
            }
            for pid in found {
                tracing::debug!(
                    pod,
                    pid = pid.as_raw(),
                    "killing a process that left its group"
                );
                // It may have ended meanwhile.
                let _ = kill(pid, Signal::SIGKILL);
            }
            tokio::time::sleep(step).await;
            step = (step * 2).min(LONGEST_STEP);
        }
    }

    async fn of(&self, pod: &str) -> Vec<Pid> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if last.as_ref().is_none_or(|look| look.began < asked) {
            let began = Instant::now();
            // The look cannot panic; were it to, nobody would be found, as with an unreadable /proc.
            let by_pod = tokio::task::spawn_blocking(marked)
                .await
                .unwrap_or_default();
            *last = Some(Look { began, by_pod });
        }
        last.as_ref()
            .and_then(|look| look.by_pod.get(pod))
            .cloned()
            .unwrap_or_default()
    }
}

/// Living processes by the pod that their environment names.
pub(super) fn marked() -> HashMap<String, Vec<Pid>> {
    let mut found: HashMap<String, Vec<Pid>> = HashMap::new();
    for pid in proc::pids() {
        if let Some(pod) = proc::variable(pid, POD_UID)
            && proc::stat(pid).is_some_and(|stat| stat.alive)
        {
            found.entry(pod).or_default().push(pid);
        }
    }
    found
}
