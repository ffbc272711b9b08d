//! What the watch says about a target, cut down to what decides where a request goes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::lot::Ending;
use crate::wake::Steps;

/// The present word of the watch on one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Wakes and sleeps written by Reveille so far.
    pub epoch: u64,
    /// UID of the Sandbox that stands for it.
    pub uid: Option<Arc<str>>,
    /// Where it stands.
    pub state: State,
    /// Whether it is to be awake, whatever is in the way.
    pub is_wanted: bool,
    /// UID of the live pod there is, be the target wanted or not, with an address or without.
    pub pod: Option<Arc<str>>,
    /// What its policy says about waiting.
    pub limits: Limits,
}

/// Where a target stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The watch has not told yet. Requests park and ask for a wake.
    Unknown,
    /// Wanted asleep.
    Asleep,
    /// Wanted awake, no pod with an address yet.
    Waking,
    /// Wanted awake, with the pod that stands for it.
    Awake(Pod),
    /// Not awake, and no wake can change that.
    Blocked(Denial),
}

/// Whether what the watch has said is up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It may not be: the watch does not run.
    Blind,
    /// The watch runs, without a gap since then.
    Since(Instant),
}

/// The pod that stands for an awake target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// UID of the pod.
    pub uid: Arc<str>,
    /// Its address.
    pub address: IpAddr,
    /// Its Ready condition.
    pub ready: bool,
    /// Whether Ready alone proves that it answers (it has a readiness probe, or the policy says so).
    pub proven_by_ready: bool,
    /// It was created so lately that it may never have answered yet.
    pub is_recent: bool,
}

/// What a policy says about waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most requests parked at a time.
    pub max_requests: u32,
    /// Longest wait of one request.
    pub max_wait: Duration,
    /// Most released and unanswered requests while the lot empties; 0 starts slow.
    pub release_concurrency: u32,
    /// How long a request waits for a wake; the wake goes on after it.
    pub wake_deadline: Duration,
    /// Time a wake may take while its pod makes progress; a pod that has never answered is young until
    /// then. Counts as no less than `wake_deadline`.
    pub progress_deadline: Duration,
    /// Steps between repeated Wakes.
    pub wake_steps: Steps,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_requests: 1000,
            max_wait: Duration::from_secs(55),
            release_concurrency: 0,
            wake_deadline: Duration::from_secs(60),
            progress_deadline: Duration::from_secs(600),
            wake_steps: Steps::default(),
        }
    }
}

impl Limits {
    /// Longest wait of a request that does not ask for less.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.max_wait.min(self.wake_deadline)
    }

    /// Longest time a wake goes on.
    #[must_use]
    pub fn progress(&self) -> Duration {
        self.progress_deadline.max(self.wake_deadline)
    }
}

/// Why a request is not going to be released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Refused, or failed.
    pub kind: DenialKind,
    /// One CamelCase word.
    pub reason: Arc<str>,
    /// One sentence for the client.
    pub message: Arc<str>,
    /// Time after which a retry may help.
    pub retry_after: Option<Duration>,
}

/// What holds up a wake that goes on, as its scaler tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delay {
    /// One CamelCase word.
    pub reason: Arc<str>,
    /// One sentence for the client.
    pub message: Arc<str>,
}

/// The two sorts of [`Denial`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialKind {
    /// It will not be woken.
    Refused,
    /// A wake was tried and failed.
    Failed,
}

impl DenialKind {
    /// How a ticket ends by it.
    #[must_use]
    pub const fn ending(self) -> Ending {
        match self {
            Self::Refused => Ending::Refused,
            Self::Failed => Ending::Failed,
        }
    }
}
