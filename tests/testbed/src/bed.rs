//! The control plane itself, held by one process.

pub(crate) mod access;
mod folder;
mod install;
mod nodes;
mod ports;
mod probe;
pub(crate) mod process;
mod recipes;
mod start;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

pub use crate::bed::folder::Folder;
use crate::bed::nodes::Fleet;
use crate::bed::process::{End, Process, tail};
use crate::bed::recipes::{Plan, nats_name};
use crate::facts::Facts;
use crate::options::Options;
use crate::part::Part;
use crate::programs::Programs;

/// Longest wait for one part to serve. Generous: machines that build and test have little time to spare.
const SERVES: Duration = Duration::from_secs(170);
/// Between two looks at a part that starts.
const LOOK: Duration = Duration::from_millis(10);

/// What a control plane is made from.
#[derive(Debug)]
pub struct Setup {
    /// What to start.
    pub options: Options,
    /// Where the programs are.
    pub programs: Programs,
    /// Where all its state goes.
    pub folder: Folder,
    /// The `testbed` binary: starts the parts, and lies beside `reveille`.
    pub executable: PathBuf,
    /// Our own environment.
    pub environment: BTreeMap<String, String>,
}

/// A control plane. Only [`stop`](Self::stop) ends it in order; its parts die with this process anyway.
#[derive(Debug)]
pub struct Bed {
    facts: Facts,
    /// Who may connect, besides ServiceAccounts.
    users: Vec<access::User>,
    plan: Plan,
    running: HashMap<Part, Process>,
    sender: mpsc::Sender<End>,
    ends: mpsc::Receiver<End>,
    fleet: Fleet,
    /// Last, so that it is removed after all that writes to it.
    _folder: Folder,
}

impl Bed {
    /// Starts everything and waits until it serves.
    ///
    /// # Errors
    /// The first part that does not start, with the end of its log.
    pub async fn start(setup: Setup) -> Result<Self> {
        let options = setup.options.clone();
        let mut bed = Self::prepare(setup)?;
        let outcome = bed.bring_up(&options).await;
        match outcome.and_then(|()| bed.facts.write()) {
            Ok(()) => Ok(bed),
            Err(error) => {
                bed.stop().await;
                Err(error)
            }
        }
    }

    /// Where it has what.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The living parts.
    #[must_use]
    pub fn processes(&self) -> Vec<(Part, u32)> {
        let living = self.running.iter().filter(|(_, p)| p.status().is_none());
        let mut all: Vec<_> = living.map(|(part, p)| (*part, p.pid())).collect();
        all.sort_unstable();
        all
    }

    /// Ends a part; it stays down until it is started again.
    pub async fn kill(&mut self, part: Part) {
        if let Some(process) = self.running.remove(&part) {
            process.kill().await;
        }
    }

    /// Starts a part that is down, and waits until it serves.
    ///
    /// # Errors
    /// Where it does not start, with the end of its log.
    pub async fn start_part(&mut self, part: Part) -> Result<()> {
        if !self.running.contains_key(&part) {
            self.spawn(part)?;
        }
        self.serves(part).await
    }

    /// Stops a part until [`thaw`](Self::thaw). Returns once it does nothing any more: SIGSTOP reaches one
    /// thread, and the others go on until that one gets to run.
    pub async fn freeze(&self, part: Part) {
        if let Some(process) = self.running.get(&part) {
            process.signal(Signal::SIGSTOP);
            while process.status().is_none() && !process.is_stopped() {
                sleep(LOOK).await;
            }
        }
    }

    /// Lets a frozen part go on.
    pub fn thaw(&self, part: Part) {
        if let Some(process) = self.running.get(&part) {
            process.signal(Signal::SIGCONT);
        }
    }

    /// Starts again whatever ends though nobody asked for it. Cancel-safe.
    pub async fn keep(&mut self) {
        let Some(End { part, pid }) = self.ends.recv().await else {
            return;
        };
        let known = self.running.get(&part).filter(|p| p.pid() == pid);
        let Some(status) = known.and_then(Process::status) else {
            return;
        };
        tracing::warn!(%part, pid, status, "{part} ended by itself ({status}) and is started again");
        self.running.remove(&part);
        if let Err(error) = self.spawn(part) {
            tracing::error!(%part, error = format!("{error:#}"), "cannot start {part} again: {error:#}");
        }
    }

    /// Ends everything and removes the folder.
    pub async fn stop(mut self) {
        let fleet = std::mem::take(&mut self.fleet);
        let processes: Vec<Process> = self.running.drain().map(|(_, process)| process).collect();
        // Nodes first: what they end should not be taken for a failure by anybody.
        fleet.stop().await;
        futures_util::future::join_all(processes.into_iter().map(Process::kill)).await;
    }

    fn spawn(&mut self, part: Part) -> Result<()> {
        let process = Process::start(&self.plan.recipe(part), self.sender.clone())?;
        self.running.insert(part, process);
        Ok(())
    }

    /// Waits until a part serves.
    async fn serves(&mut self, part: Part) -> Result<()> {
        let ports = &self.plan.ports;
        let what = format!("{part} does not serve");
        match part {
            Part::Etcd => {
                let port = ports.etcd.number();
                self.until(&what, part, || probe::http(port, "/health"))
                    .await
            }
            Part::ApiServer => {
                let key = self.plan.certificate().with_extension("key");
                let url = format!("https://127.0.0.1:{}", ports.api.number());
                self.until(&what, part, async || probe::written(&key))
                    .await?;
                if self.facts.api_url != url {
                    self.facts.api_url = url;
                    let certificate = self.plan.certificate();
                    access::write_kubeconfigs(&self.facts, &certificate, &self.users)?;
                }
                let client = self.client("testbed").await?;
                self.until(&what, part, || probe::api(&client)).await
            }
            Part::SandboxController => {
                let port = ports.controller_health.number();
                self.until(&what, part, || probe::http(port, "/readyz"))
                    .await
            }
            Part::Nats => {
                let (port, name) = (ports.nats.number(), nats_name(&self.plan.dir));
                self.until(&what, part, || probe::nats(port, &name)).await
            }
            // They listen nowhere. To live is all they can show at once.
            Part::ControllerManager | Part::Scheduler => self.lives(part),
        }
    }

    /// Looks until there is something to see, as long as the part lives.
    async fn until<F: Future<Output = bool>>(
        &self,
        what: &str,
        part: Part,
        mut look: impl FnMut() -> F,
    ) -> Result<()> {
        let deadline = Instant::now() + SERVES;
        while !look().await {
            self.lives(part).with_context(|| what.to_owned())?;
            if Instant::now() >= deadline {
                let log = tail(&self.facts.log(part));
                bail!("{what} after {SERVES:?}; the end of the log of {part}:\n{log}");
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    fn lives(&self, part: Part) -> Result<()> {
        let Some(process) = self.running.get(&part) else {
            bail!("{part} is down");
        };
        let Some(status) = process.status() else {
            return Ok(());
        };
        let log = tail(&self.facts.log(part));
        bail!("{part} ended ({status}); the end of its log:\n{log}");
    }

    async fn client(&self, user_agent: &str) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.facts.kubeconfig())?;
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        config.headers.push((
            http::header::USER_AGENT,
            http::HeaderValue::from_str(user_agent)?,
        ));
        Ok(Client::try_from(config)?)
    }
}
