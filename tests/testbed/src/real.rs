//! A real node: kubelet, containerd and runc, as root, in namespaces of their own (`real/node.sh`).
//!
//! ```text
//!   this machine                                │ the node's namespaces
//!   API server on 127.0.0.1 ◀─ forward ─ 10.231.1.1 ══ veth ══ 10.231.1.2   kubelet, containerd
//!   tests, activators ─────── route to 10.231.0.0/24 ──┘  └─ bridge 10.231.0.1 ── pods 10.231.0.10 …
//! ```
//!
//! The API server stays on loopback, as without a node: the node's connections to it are forwarded here.
//! Pods are reached from this machine at their own addresses. The script lives as long as the pipe to
//! its standard input, so the node goes with this process, however that ends.

mod forward;
mod scripts;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use kube::{Api, Client};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::bed::process::tail;
use crate::node::volumes;

/// Longest wait for the node before this one to end, for the namespaces and the network.
const CONNECT: Duration = Duration::from_secs(90);
/// Longest wait from there to a Ready node: images are imported, containerd and kubelet start.
const READY: Duration = Duration::from_secs(60);
/// Longest wait for its end: the kills, and the cgroups that empty themselves.
const END: Duration = Duration::from_secs(30);
/// Between two looks at the Node.
const LOOK: Duration = Duration::from_millis(100);
/// Where the folders of volumes are, in the node's own file system.
const VOLUMES: &str = "/run/volumes";

/// What a real node is made from.
#[derive(Clone)]
pub struct Config {
    /// Of user `system:node:<name>`.
    pub kubeconfig: PathBuf,
    /// The administrator's.
    pub client: Client,
    /// Name of the Node object.
    pub node_name: String,
    /// Its own folder: logs, and the images it starts with.
    pub dir: PathBuf,
    /// The program.
    pub kubelet: PathBuf,
    /// The program that goes into the image `reveille:0.1.0`.
    pub reveille: PathBuf,
}

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("the real node: {0}")]
    Io(#[from] io::Error),
    /// A script failed; it said why on standard error.
    #[error("{0} failed")]
    Script(PathBuf),
    /// The kubeconfig for the kubelet cannot be read or written.
    #[error("the kubelet's kubeconfig: {0}")]
    Kubeconfig(String),
    /// It ended, or did not become ready; with the ends of its logs.
    #[error("the real node {0}")]
    NotReady(String),
}

/// A running node. Dropping it ends it as well, but does not wait.
#[derive(Debug)]
pub struct Node {
    lifeline: ChildStdin,
    script: JoinHandle<()>,
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

/// Starts one and waits until it is ready: three seconds, and a minute or two of building the first time.
///
/// # Errors
/// Where a tool is missing, this process is not root, or the node does not become ready.
pub async fn start(config: Config) -> Result<Node, Error> {
    tokio::fs::create_dir_all(&config.dir).await?;
    let files = scripts::prepare(&config).await?;
    let mut child = spawn(&config, &files)?;
    let lifeline = child.stdin.take().expect("stdin is piped");
    connected(&mut child, &config).await?;

    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(forward::run(
        forward::listen().await?,
        files.api_server,
        shutdown.clone(),
    ));
    tasks.spawn(volumes::provision(
        config.client.clone(),
        VOLUMES.into(),
        shutdown.clone(),
    ));
    // In any order: a node that has ended is never ready.
    tokio::select! {
        ready = timeout(READY, ready(&config)) => {
            ready.map_err(|_| not_ready(&config, "did not become ready"))?;
        }
        _ = child.wait() => return Err(not_ready(&config, "ended before it was ready")),
    }
    let (name, ended) = (config.node_name, shutdown.clone());
    let script = tokio::spawn(async move {
        let status = child.wait().await;
        if !ended.is_cancelled() {
            let logs = config.dir.display();
            tracing::error!(?status, "node {name} ended; its logs are in {logs}");
            // Its address is for the next node.
            ended.cancel();
        }
    });
    Ok(Node {
        lifeline,
        script,
        tasks,
        shutdown,
    })
}

impl Node {
    /// Takes it down with all its pods, and waits until nothing of it is left on this machine.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        drop(self.lifeline);
        if timeout(END, self.script).await.is_err() {
            tracing::error!("the real node does not end");
        }
        while self.tasks.join_next().await.is_some() {}
    }
}

fn spawn(config: &Config, files: &scripts::Files) -> Result<Child, Error> {
    Ok(Command::new(scripts::path("node.sh"))
        .arg(&config.node_name)
        .args([
            &files.kubeconfig,
            &files.tools,
            &config.kubelet,
            &files.images,
            &config.dir,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(config.dir.join("node.log"))?)
        .process_group(0) // a Ctrl-C is for us: the script ends when we say so
        .spawn()?)
}

/// Waits for the script's word that the network is there.
async fn connected(child: &mut Child, config: &Config) -> Result<(), Error> {
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    match timeout(CONNECT, lines.next_line()).await {
        Ok(Ok(Some(line))) if line == "connected" => Ok(()),
        Ok(_) => Err(not_ready(config, "ended before it had a network")),
        Err(_) => Err(not_ready(config, "has no network")),
    }
}

/// Waits until its kubelet says that it is ready.
async fn ready(config: &Config) {
    let nodes: Api<core::Node> = Api::all(config.client.clone());
    loop {
        // An API server that is away is asked again; the caller has the deadline.
        if let Ok(Some(node)) = nodes.get_opt(&config.node_name).await {
            let conditions = node.status.and_then(|status| status.conditions);
            let is_ready = |condition: &core::NodeCondition| {
                condition.type_ == "Ready" && condition.status == "True"
            };
            if conditions.unwrap_or_default().iter().any(is_ready) {
                return;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn not_ready(config: &Config, what: &str) -> Error {
    let log = |name: &str| format!("\n--- {name}\n{}", tail(&config.dir.join(name)));
    let logs: String = ["node.log", "containerd.log", "kubelet.log"]
        .into_iter()
        .filter(|name| Path::exists(&config.dir.join(name)))
        .map(log)
        .collect();
    Error::NotReady(format!("{what}{logs}"))
}
