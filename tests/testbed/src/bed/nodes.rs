//! What runs the pods.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bed::folder::MARKER;
use crate::bed::recipes::Plan;
use crate::facts::Facts;
use crate::options::{Nodes, Options};
use crate::{node, real};

/// Name of the real node.
pub(crate) const REAL: &str = "real-0";

/// The nodes of a testbed.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    names: Vec<String>,
    agents: JoinSet<()>,
    shutdown: CancellationToken,
    real: Option<real::Node>,
}

impl Fleet {
    /// Starts them. A real node is then ready, agents are soon.
    pub(crate) async fn start(
        options: &Options,
        plan: &Plan,
        facts: &Facts,
        client: &Client,
    ) -> Result<Self> {
        match options.nodes {
            Nodes::None => Ok(Self::default()),
            Nodes::Agent(count) => {
                let mut fleet = Self::default();
                for number in 0..count {
                    fleet.agent(format!("agent-{number}"), options, plan, client);
                }
                Ok(fleet)
            }
            Nodes::Real => Self::real(options, plan, facts, client).await,
        }
    }

    /// Their names.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Ends them with all their pods' processes.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        while self.agents.join_next().await.is_some() {}
        if let Some(node) = self.real {
            node.stop().await;
        }
    }

    fn agent(&mut self, name: String, options: &Options, plan: &Plan, client: &Client) {
        let config = node::Config {
            node_name: name.clone(),
            state_dir: plan.dir.join("nodes").join(&name),
            path_dirs: path_dirs(options, plan),
            // Pods' processes are found by the mark where this process was killed.
            env: plan
                .env
                .iter()
                .cloned()
                .chain([(MARKER.to_owned(), plan.dir.display().to_string())])
                .collect(),
        };
        let run = node::run(client.clone(), config, self.shutdown.clone());
        self.names.push(name.clone());
        self.agents.spawn(async move {
            if let Err(error) = run.await {
                tracing::error!(node = name, %error, "node {name} ended: {error}");
            }
        });
    }

    async fn real(options: &Options, plan: &Plan, facts: &Facts, client: &Client) -> Result<Self> {
        let beside = path_dirs(options, plan);
        let reveille = beside
            .iter()
            .map(|folder| folder.join("reveille"))
            .find(|path| path.exists())
            .context("reveille is missing: run cargo build -p reveille")?;
        let config = real::Config {
            kubeconfig: facts.kubeconfig_of("node"),
            client: client.clone(),
            node_name: REAL.to_owned(),
            dir: plan.dir.join("nodes").join(REAL),
            kubelet: tokio::task::spawn_blocking(kubelet).await??,
            reveille,
        };
        Ok(Self {
            names: vec![REAL.to_owned()],
            real: Some(real::start(config).await?),
            ..Self::default()
        })
    }
}

fn path_dirs(options: &Options, plan: &Plan) -> Vec<PathBuf> {
    if options.path_dirs.is_empty() {
        plan.launcher
            .parent()
            .map(PathBuf::from)
            .into_iter()
            .collect()
    } else {
        options.path_dirs.clone()
    }
}

/// Only a real node needs it, so it is built when the first one starts.
fn kubelet() -> Result<PathBuf> {
    let output = Command::new(crate::programs::SCRIPT)
        .args(["--path", "kubelet"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run tests/tools.sh")?;
    if !output.status.success() {
        bail!("tests/tools.sh --path kubelet failed");
    }
    Ok(String::from_utf8(output.stdout)?.trim().into())
}
