//! The start of a control plane, in the order that takes the least time.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use kube::Client;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::bed::nodes::{self, Fleet};
use crate::bed::ports::{Port, Ports};
use crate::bed::process::tail;
use crate::bed::recipes::{AUDIT_POLICY, Plan};
use crate::bed::{Bed, Setup, access, install, probe};
use crate::facts::Facts;
use crate::options::Options;
use crate::part::Part;

/// A part whose port was taken meanwhile tries so many others.
const PORTS: usize = 5;
/// Six parts, each restarted at most once a second, and read at once.
const ENDS: usize = 64;
/// Handed on to the parts.
const KEPT: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

impl Bed {
    /// Lays down all that the parts read.
    pub(super) fn prepare(setup: Setup) -> Result<Self> {
        let dir = setup.folder.path().to_owned();
        for folder in ["log", "kubeconfig", "certificates", "nodes"] {
            let folder = dir.join(folder);
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let ports = Ports::reserve(loopback)?;
        let facts = Facts {
            pid: std::process::id(),
            api_url: String::new(),
            nats_url: String::new(),
            conversion_port: 0,
            kubectl: setup.programs.kubectl().to_owned(),
            dir: dir.clone(),
        };
        let env = setup.environment.iter();
        let env = env.filter(|(name, _)| KEPT.contains(&name.as_str()));
        let plan = Plan {
            ports,
            audit: setup.options.audit,
            conversion: setup.options.conversion,
            programs: setup.programs,
            admin_kubeconfig: facts.kubeconfig(),
            controller_kubeconfig: facts.kubeconfig_of(install::ACCOUNT),
            env: env.map(|(n, v)| (n.clone(), v.clone())).collect(),
            launcher: setup.executable,
            dir,
        };
        let users = users();
        access::write_tokens(&plan.tokens(), &users)?;
        access::write_keys(&plan.key(), &plan.public_key())?;
        fs::write(plan.audit_policy(), AUDIT_POLICY)?;
        let (sender, ends) = mpsc::channel(ENDS);
        Ok(Self {
            facts,
            users,
            plan,
            running: HashMap::new(),
            sender,
            ends,
            fleet: Fleet::default(),
            _folder: setup.folder,
        })
    }

    /// Starts everything and waits until it serves.
    pub(super) async fn bring_up(&mut self, options: &Options) -> Result<()> {
        let begun = Instant::now();
        // They need nobody.
        self.spawn(Part::Nats)?;
        self.spawn(Part::Etcd)?;
        self.first(Part::Etcd).await?;
        self.spawn(Part::ApiServer)?;
        self.first(Part::ApiServer).await?;
        self.first(Part::Nats).await?;
        self.facts.nats_url = format!("nats://127.0.0.1:{}", self.plan.ports.nats.number());
        let client = self.client("testbed").await?;
        tracing::info!("kube-apiserver is ready after {:?}", begun.elapsed());

        // They start while the rest is laid down.
        self.spawn(Part::ControllerManager)?;
        self.spawn(Part::Scheduler)?;
        let node_client = self.client("testbed-node").await?;
        self.fleet = Fleet::start(options, &self.plan, &self.facts, &node_client).await?;
        let manifests = self.plan.programs.manifests().to_owned();
        let roles = install::roles(&client, &manifests);
        tokio::try_join!(install::crds(&client, &manifests), roles)?;
        tracing::info!("CRDs are established after {:?}", begun.elapsed());
        if options.controller {
            self.start_controller(&client).await?;
            tracing::info!("the controller acts after {:?}", begun.elapsed());
        }
        access::default_account(&client, "default").await?;
        for node in self.fleet.names() {
            let what = format!("node {node} is not ready");
            self.until(&what, Part::ApiServer, || probe::node(&client, node))
                .await?;
        }
        tracing::info!("everything serves after {:?}", begun.elapsed());
        Ok(())
    }

    async fn start_controller(&mut self, client: &Client) -> Result<()> {
        let (namespace, name) = (install::NAMESPACE, install::ACCOUNT);
        let kubeconfig = access::of_service_account(client, &self.facts, namespace, name).await?;
        fs::rename(kubeconfig, &self.plan.controller_kubeconfig)?;
        self.spawn(Part::SandboxController)?;
        self.first(Part::SandboxController).await?;
        if self.plan.conversion {
            self.facts.conversion_port = self.plan.ports.conversion.number();
        }
        let sleeper = probe::Sleeper::lay_down(client, namespace).await?;
        let what = "the controller does not act on Sandboxes";
        self.until(what, Part::SandboxController, || sleeper.seen())
            .await?;
        sleeper.remove().await
    }

    /// Waits until a part serves that never did, with other ports where one was taken.
    async fn first(&mut self, part: Part) -> Result<()> {
        for _ in 1..PORTS {
            match self.serves(part).await {
                Ok(()) => return Ok(()),
                Err(error) if !taken(&tail(&self.facts.log(part))) => return Err(error),
                Err(_) => {}
            }
            tracing::info!(%part, "a port of {part} was taken meanwhile, trying another");
            self.plan.ports.renew(part)?;
            fs::remove_file(self.facts.log(part))?;
            self.kill(part).await;
            self.spawn(part)?;
        }
        self.serves(part).await
    }
}

impl Ports {
    /// Others for a part.
    fn renew(&mut self, part: Part) -> Result<()> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        match part {
            Part::Etcd => {
                self.etcd = Port::reserve(loopback)?;
                self.etcd_peer = Port::reserve(loopback)?;
            }
            Part::ApiServer => self.api = Port::reserve(loopback)?,
            Part::SandboxController => {
                self.controller_metrics = Port::reserve(loopback)?;
                self.controller_health = Port::reserve(loopback)?;
                self.conversion = Port::reserve(loopback)?;
            }
            Part::Nats => self.nats = Port::reserve(loopback)?,
            Part::ControllerManager | Part::Scheduler => {}
        }
        Ok(())
    }
}

fn taken(log: &str) -> bool {
    log.contains("address already in use")
}

fn users() -> Vec<access::User> {
    vec![
        access::User::new("admin", "admin", "system:masters"),
        access::User::new(access::NOBODY, access::NOBODY, ""),
        access::User::new(
            "node",
            &format!("system:node:{}", nodes::REAL),
            "system:nodes",
        ),
    ]
}
