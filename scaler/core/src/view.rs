//! What is seen of a target, and the policy that governs it. Level, not edge: a whole picture each time.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// A target as the watch shows it. Neither Sandbox nor claim: it is gone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// The Sandbox, unless the claim is unbound or released.
    pub sandbox: Option<SandboxView>,
    /// The claim that stands for it.
    pub claim: Option<ClaimView>,
    /// The present pod, not one that is being deleted.
    pub pod: Option<PodView>,
    /// The policy; without one it is never put to sleep.
    pub policy: Option<Policy>,
}

/// A Sandbox.
#[derive(Clone, Debug, PartialEq)]
pub struct SandboxView {
    /// UID of the object.
    pub uid: Arc<str>,
    /// Wakes and sleeps written on it so far.
    pub epoch: u64,
    /// Desired state.
    pub mode: Mode,
    /// Operator's pin.
    pub hold: Option<Hold>,
    /// The busy lease that stands on it; it ends with the epoch.
    pub busy_until: Option<Instant>,
    /// Time since a scaler woke it, if that is the last that one wrote on it.
    pub woken: Option<Duration>,
    /// Instant of expiry.
    pub expires: Option<Instant>,
    /// It is being deleted.
    pub deleting: bool,
    /// An unclaimed member of a warm pool.
    pub pool_member: bool,
    /// It has volumes, so a replica cannot stand in for it.
    pub has_volumes: bool,
    /// What no waiting will mend.
    pub fault: Option<Fault>,
    /// Time since it was created.
    pub age: Duration,
}

/// A claim.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimView {
    /// UID of the object.
    pub uid: Arc<str>,
    /// Wakes and sleeps written on it so far.
    pub epoch: u64,
    /// Put to sleep by being released; a wake binds it again.
    pub released: bool,
    /// It is being deleted.
    pub deleting: bool,
    /// It is put to sleep as it is, whatever the strategy.
    pub stays_bound: bool,
    /// Why it cannot be bound.
    pub fault: Option<Fault>,
    /// Time since it was created.
    pub age: Duration,
}

/// A pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodView {
    /// UID of the pod.
    pub uid: Arc<str>,
    /// It has an address.
    pub addressed: bool,
    /// Its Ready condition.
    pub ready: bool,
    /// Its Ready condition comes of a probe that connected, so that it proves that it answers.
    pub proven_by_ready: bool,
    /// Why it will not come up.
    pub fault: Option<Fault>,
}

impl PodView {
    /// Whether it has ended for good (pod phases `Failed` and `Succeeded`): it is replaced by a sleep and a
    /// wake, and by nothing else.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let is_end = |fault: &Fault| matches!(&*fault.reason, "PodFailed" | "PodSucceeded");
        self.fault.as_ref().is_some_and(is_end)
    }
}

/// Desired state of a Sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Awake.
    Running,
    /// Asleep.
    Suspended,
}

/// An operator's pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Keep awake.
    Awake,
    /// Keep asleep.
    Asleep,
}

/// A reason in one word and a message for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// CamelCase, as Kubernetes' condition reasons.
    pub reason: Arc<str>,
    /// One sentence for operators, perhaps in the cluster's own words: it may name what is no client's business.
    pub message: Arc<str>,
    /// One sentence for clients, in our own words.
    pub for_clients: Arc<str>,
}

impl Fault {
    /// A fault of these words, which are our own.
    #[must_use]
    pub fn new(reason: &str, message: impl Into<Arc<str>>) -> Self {
        let message = message.into();
        Self {
            reason: reason.into(),
            for_clients: Arc::clone(&message),
            message,
        }
    }

    /// A fault that somebody else puts into words: clients are told `for_clients` instead.
    #[must_use]
    pub fn quoting(reason: &str, message: impl Into<Arc<str>>, for_clients: &str) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
            for_clients: for_clients.into(),
        }
    }
}

/// The rules of one ScaledSandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Quiet time before a sleep.
    pub cooldown: Duration,
    /// Time after creation before the first sleep.
    pub initial_cooldown: Duration,
    /// Time after each wake before a sleep.
    pub minimum_uptime: Duration,
    /// How long a request waits for a wake; a wake that could not even be written has failed by then.
    pub wake_deadline: Duration,
    /// Time a wake that is under way may take. Counts as no less than `wake_deadline`.
    pub progress_deadline: Duration,
    /// How it is woken.
    pub strategy: Strategy,
    /// Time between two questions to the agent whether it is busy; `None`: it is not asked.
    pub busy_period: Option<Duration>,
    /// Questions in a row that may get no usable answer before it is put to sleep all the same.
    pub busy_failure_limit: u32,
    /// Whether a request may wake it.
    pub http: bool,
    /// Neither wake nor put to sleep.
    pub paused: bool,
}

impl Policy {
    /// Time a wake that is under way may take.
    #[must_use]
    pub fn progress(&self) -> Duration {
        self.progress_deadline.max(self.wake_deadline)
    }
}

impl Default for Policy {
    /// The defaults of a ScaledSandbox.
    fn default() -> Self {
        Self {
            cooldown: Duration::from_secs(300),
            initial_cooldown: Duration::ZERO,
            minimum_uptime: Duration::from_secs(10),
            wake_deadline: Duration::from_secs(60),
            progress_deadline: Duration::from_secs(600),
            strategy: Strategy::Restore,
            busy_period: None,
            busy_failure_limit: 10,
            http: true,
            paused: false,
        }
    }
}

/// Restore the same Sandbox, or bind a warm replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Same UID, name and volumes; a new pod.
    Restore,
    /// Sleep releases the claim, wake binds a warm replica.
    Bind,
}

/// What the objects ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Desired {
    /// There is neither Sandbox nor claim.
    Gone,
    /// A Sandbox that is Suspended.
    Suspended,
    /// A claim that was released.
    Released,
    /// A claim that its controller is binding.
    Unbound,
    /// A Sandbox that is Running.
    Running,
}

impl Desired {
    /// Whether a wake has something to write.
    #[must_use]
    pub const fn is_asleep(self) -> bool {
        matches!(self, Self::Suspended | Self::Released)
    }
}

impl View {
    /// What the objects ask for.
    #[must_use]
    pub fn desired(&self) -> Desired {
        match (&self.sandbox, &self.claim) {
            (_, Some(claim)) if claim.released => Desired::Released,
            (Some(sandbox), _) if sandbox.mode == Mode::Suspended => Desired::Suspended,
            (Some(_), _) => Desired::Running,
            (None, Some(_)) => Desired::Unbound,
            (None, None) => Desired::Gone,
        }
    }

    /// The fence as activators know it: the Sandbox's epoch, the claim's while there is no Sandbox.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        let claim = || self.claim.as_ref().map_or(0, |claim| claim.epoch);
        self.sandbox
            .as_ref()
            .map_or_else(claim, |sandbox| sandbox.epoch)
    }

    /// UID of the object whose name the target bears.
    #[must_use]
    pub fn identity(&self) -> Option<&Arc<str>> {
        let claim = self.claim.as_ref().map(|claim| &claim.uid);
        claim.or_else(|| self.uid())
    }

    /// UID of the Sandbox.
    #[must_use]
    pub fn uid(&self) -> Option<&Arc<str>> {
        self.sandbox.as_ref().map(|sandbox| &sandbox.uid)
    }

    /// Time since the object whose name the target bears was created.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let sandbox = || self.sandbox.as_ref().map(|sandbox| sandbox.age);
        self.claim.as_ref().map(|claim| claim.age).or_else(sandbox)
    }

    /// What is wrong with the Sandbox, or with the claim.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        let claim = || self.claim.as_ref().and_then(|claim| claim.fault.as_ref());
        let sandbox = self.sandbox.as_ref();
        sandbox
            .and_then(|sandbox| sandbox.fault.as_ref())
            .or_else(claim)
    }

    /// Whether sleep means to release the claim.
    #[must_use]
    pub fn sleeps_by_release(&self) -> bool {
        let binds = |policy: Policy| policy.strategy == Strategy::Bind;
        let claim = self.claim.as_ref();
        self.policy.is_some_and(binds) && claim.is_some_and(|claim| !claim.stays_bound)
    }

    /// Operator's pin.
    #[must_use]
    pub fn hold(&self) -> Option<Hold> {
        self.sandbox.as_ref().and_then(|sandbox| sandbox.hold)
    }

    /// Why it is not ours to wake or put to sleep at all, if so.
    #[must_use]
    pub fn blocked(&self, now: Instant) -> Option<Blocked> {
        if self.claim.as_ref().is_some_and(|claim| claim.deleting) {
            return Some(Blocked::Deleting);
        }
        let sandbox = self.sandbox.as_ref()?;
        let expired = sandbox.expires.is_some_and(|expires| now >= expires)
            || sandbox
                .fault
                .as_ref()
                .is_some_and(|fault| &*fault.reason == "SandboxExpired");
        match () {
            () if sandbox.deleting => Some(Blocked::Deleting),
            () if sandbox.pool_member => Some(Blocked::PoolOwned),
            () if expired => Some(Blocked::Expired),
            () => None,
        }
    }
}

/// Why a sandbox is not ours to touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// It is being deleted.
    Deleting,
    /// An unclaimed member of a warm pool.
    PoolOwned,
    /// Its `shutdownTime` has passed.
    Expired,
}
