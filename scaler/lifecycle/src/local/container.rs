//! One container: start it, probe it, start it again, end it.

use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::board::{Board, Slot};
use super::environment::{Invocation, PortMap};
use super::logs::Log;
use super::mounts::Mounts;
use super::orphans::RunRecord;
use super::probe::{Probe, Site};
use super::process::Process;
use super::stop::Stop;

/// Exit code of a container that could not be started, as the kubelet has it.
const START_ERROR: i32 = 128;

/// When a container that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    OnFailure,
    Never,
}

impl Restart {
    const fn applies(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

/// How a container's life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Succeeded,
    Failed,
    Stopped,
}

/// What runs one container.
pub(super) struct Runner<'a> {
    pub(super) name: String,
    pub(super) slot: Slot,
    pub(super) restart: Restart,
    pub(super) invocation: Invocation,
    pub(super) log: Log,
    pub(super) board: &'a Board,
    pub(super) record: &'a RunRecord,
    pub(super) search: &'a [std::path::PathBuf],
    pub(super) probes: Probes,
    /// Of the pod.
    pub(super) stop: &'a Stop,
    /// Of the pod, for an end that nobody asked for.
    pub(super) grace: Duration,
    /// Cancelled when it has started: its startup probe, if it has one, succeeded.
    pub(super) started: CancellationToken,
    /// Span of its sandbox, for log lines.
    pub(super) sandbox: String,
    pub(super) log_path: String,
}

/// The probes of one container.
#[derive(Default)]
pub(super) struct Probes {
    startup: Option<Probe>,
    readiness: Option<Probe>,
    liveness: Option<Probe>,
}

impl Probes {
    pub(super) fn new(
        container: &Container,
        (address, ports): (Ipv4Addr, &[PortMap]),
        invocation: &Invocation,
        mounts: &Mounts,
        search: &[std::path::PathBuf],
    ) -> Self {
        let site = Site {
            container,
            address,
            ports,
            invocation,
            mounts,
            search,
        };
        let probe = |spec: &Option<_>| spec.as_ref().and_then(|spec| Probe::new(spec, &site));
        Self {
            startup: probe(&container.startup_probe),
            readiness: probe(&container.readiness_probe),
            liveness: probe(&container.liveness_probe),
        }
    }
}

impl Runner<'_> {
    /// Runs until it ends for good, or until `end`: then SIGTERM, the grace, SIGKILL. No process of the
    /// container's group is alive when this returns. Not cancel-safe.
    pub(super) async fn run(&self, end: &CancellationToken) -> Ended {
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now().into_std();
            let since = Time(Timestamp::now());
            let (ended, run) = match Process::spawn(&self.invocation, self.search, Some(&self.log))
            {
                Ok(process) => {
                    let (status, stopped) = self.live(process, end).await;
                    let ended = terminated(status, since);
                    if stopped {
                        self.board.terminated(self.slot, ended);
                        return Ended::Stopped;
                    }
                    self.tell(ended.exit_code);
                    (ended, true)
                }
                Err(error) => {
                    let (sandbox, container) = (&self.sandbox, &self.name);
                    tracing::warn!(%sandbox, %container, %error, "container {container} of {sandbox} cannot start: {error}");
                    (not_started(error, since), false)
                }
            };
            if run && !self.restart.applies(ended.exit_code) {
                let code = ended.exit_code;
                self.board.terminated(self.slot, ended);
                return if code == 0 {
                    Ended::Succeeded
                } else {
                    Ended::Failed
                };
            }
            let delay = backoff.ended(began, Instant::now().into_std());
            if !self.wait(ended, run, delay, end).await {
                return Ended::Stopped;
            }
        }
    }

    fn tell(&self, code: i32) {
        let (sandbox, container, log) = (&self.sandbox, &self.name, &self.log_path);
        if code == 0 {
            tracing::debug!(%sandbox, %container, code, "container ended");
        } else {
            tracing::warn!(%sandbox, %container, code, %log, "container {container} of {sandbox} ended with exit code {code}; see {log}");
        }
    }

    /// Waits out the back-off; false if `end` came first.
    async fn wait(
        &self,
        ended: ContainerStateTerminated,
        run: bool,
        delay: Duration,
        end: &CancellationToken,
    ) -> bool {
        let code = ended.exit_code;
        let message = ended.message.clone().unwrap_or_default();
        match (run, delay.is_zero()) {
            (true, true) => self.board.restarting(self.slot, ended),
            (true, false) => {
                let message = format!(
                    "back-off {}s restarting failed container={}: it exited with code {code}",
                    delay.as_secs(),
                    self.name
                );
                self.board
                    .waiting(self.slot, "CrashLoopBackOff", message, Some(ended));
            }
            (false, _) => self
                .board
                .waiting(self.slot, "CreateContainerError", message, None),
        }
        // What never started gets no second try at once: nothing has changed since.
        let delay = if run {
            delay
        } else {
            delay.max(Duration::from_secs(10))
        };
        tokio::select! {
            biased; // an end beats a start
            () = end.cancelled() => {
                let code = if run { code } else { START_ERROR };
                self.board.terminated(self.slot, ContainerStateTerminated { exit_code: code, ..ContainerStateTerminated::default() });
                false
            }
            () = tokio::time::sleep(delay) => true,
        }
    }

    /// From a started process to its end; says whether `end` was the cause.
    async fn live(
        &self,
        mut process: Process,
        end: &CancellationToken,
    ) -> (std::io::Result<ExitStatus>, bool) {
        let leader = process.pid();
        self.record.started(leader);
        self.board.running(self.slot);
        let own_end = tokio::select! {
            biased; // an end of its own is told as such, even in the moment of a stop
            status = process.exited() => Some(status),
            () = end.cancelled() => None,
            reason = self.health() => {
                let (sandbox, container) = (&self.sandbox, &self.name);
                tracing::warn!(%sandbox, %container, %reason, "ending container {container} of {sandbox}, which is not healthy: {reason}");
                None
            }
        };
        let (status, stopped) = match own_end {
            Some(status) => {
                process.sweep().await;
                (status, end.is_cancelled())
            }
            None => (process.end(self.overdue()).await, end.is_cancelled()),
        };
        self.record.ended(leader);
        (status, stopped)
    }

    /// Waits until a process that was told to end must be killed.
    async fn overdue(&self) {
        if self.stop.has_begun() {
            return self.stop.overdue().await;
        }
        tokio::select! {
            () = tokio::time::sleep(self.grace) => {}
            () = self.stop.overdue() => {}
        }
    }

    /// Probes; returns the reason when the container must be ended.
    async fn health(&self) -> String {
        if let Some(startup) = &self.probes.startup
            && let Err(reason) = startup.startup().await
        {
            return reason;
        }
        self.started.cancel();
        let readiness = async {
            match &self.probes.readiness {
                None => self.board.ready(self.slot, true),
                Some(probe) => {
                    self.board.started(self.slot);
                    probe
                        .readiness(|ready| self.board.ready(self.slot, ready))
                        .await;
                }
            }
            std::future::pending::<String>().await
        };
        let liveness = async {
            match &self.probes.liveness {
                None => std::future::pending().await,
                Some(probe) => probe.liveness().await,
            }
        };
        tokio::select! {
            reason = readiness => reason,
            reason = liveness => reason,
        }
    }
}

fn terminated(status: std::io::Result<ExitStatus>, since: Time) -> ContainerStateTerminated {
    let (code, signal) = match &status {
        Ok(status) => (
            status
                .code()
                .or_else(|| status.signal().map(|signal| 128 + signal)),
            status.signal(),
        ),
        Err(_) => (None, None),
    };
    let exit_code = code.unwrap_or(255);
    ContainerStateTerminated {
        exit_code,
        signal,
        reason: Some(if exit_code == 0 { "Completed" } else { "Error" }.to_owned()),
        started_at: Some(since),
        finished_at: Some(Time(Timestamp::now())),
        ..ContainerStateTerminated::default()
    }
}

fn not_started(message: String, since: Time) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: START_ERROR,
        reason: Some("StartError".to_owned()),
        message: Some(message),
        started_at: Some(since),
        ..ContainerStateTerminated::default()
    }
}
