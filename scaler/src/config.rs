//! What the scaler is told at start. Plain values; who reads flags and environment is the binary.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::leader::Leader;

/// Settings of one scaler.
#[derive(Clone, Debug)]
pub struct Config {
    /// Activators that must be heard before anything is put to sleep, by the name they report.
    /// One that appears must be heard before the next sleep; one that leaves counts until it is silent.
    pub members: watch::Receiver<Vec<Arc<str>>>,
    /// Whether the one activator runs in this process. Its silence is then the slowness of both, and
    /// nothing to log.
    pub is_beside_its_activator: bool,
    /// Whether all watches run, those of the members included. While they do not, nothing is put to sleep.
    pub current: watch::Receiver<bool>,
    /// Whether a sandbox that no ScaledSandbox governs may be woken. It is never put to sleep.
    pub wake_unmanaged: bool,
    /// Time a wake of such a sandbox may take.
    pub unmanaged_wake_deadline: Duration,
    /// Time a wake of such a sandbox may take once it is under way.
    pub unmanaged_progress_deadline: Duration,
    /// A member that has not reported for so long is silent. They report every second.
    pub member_silence: Duration,
    /// Time for all members to answer a drain.
    pub drain_timeout: Duration,
    /// How long a member keeps its gate closed without hearing more. Must exceed
    /// `drain_timeout` + `write_timeout`, so that no sleep lands behind a gate that opened by itself.
    pub drain_hold: Duration,
    /// Time for one write; also the server's own limit on it.
    pub write_timeout: Duration,
    /// Writes per second in the long run: wakes go before sleeps, sleeps before status.
    pub writes_per_second: u32,
    /// Writes that may go at once after a pause.
    pub write_burst: u32,
    /// Time for one question to an agent's busy path.
    pub busy_timeout: Duration,
    /// Who decides about sleep.
    pub leader: Leader,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            members: fixed_members([Arc::from("standalone")]),
            is_beside_its_activator: false,
            current: watch::channel(true).1,
            wake_unmanaged: true,
            unmanaged_wake_deadline: Duration::from_secs(60),
            unmanaged_progress_deadline: Duration::from_secs(600),
            member_silence: Duration::from_secs(3),
            drain_timeout: Duration::from_millis(500),
            drain_hold: Duration::from_secs(10),
            write_timeout: Duration::from_secs(4),
            writes_per_second: 50,
            write_burst: 100,
            busy_timeout: Duration::from_secs(2),
            leader: Leader::always(),
        }
    }
}

/// Members that never change.
pub fn fixed_members(names: impl IntoIterator<Item = Arc<str>>) -> watch::Receiver<Vec<Arc<str>>> {
    watch::channel(names.into_iter().collect()).1
}
